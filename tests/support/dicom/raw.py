"""A DICOM sender written from the byte tables of PS3.8 and PS3.7 alone, on a blocking socket.

Independent of the broker's own codecs, and free to break every rule.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from support.dicom.objects import Encoded

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
RELEASE, ABORTED = b"\x05\0\0\0\0\x04\0\0\0\0", b"\x07\0\0\0\0\x04\0\0\0\0"


def item(kind: int, data: bytes) -> bytes:
    """An item of an association PDU."""
    return struct.pack(">BBH", kind, 0, len(data)) + data


def associate_rq(
    contexts: Sequence[tuple[str, str]], *, called: bytes = b"BROKER", calling: bytes = b"RAW", max_length: int = 131072
) -> bytes:
    """An A-ASSOCIATE-RQ proposing (abstract syntax, transfer syntax) pairs with ids 1, 3, 5 …"""
    body = struct.pack(">HH", 1, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, transfer) in enumerate(contexts):
        sub = bytes((2 * number + 1, 0, 0, 0)) + item(0x30, abstract.encode()) + item(0x40, transfer.encode())
        body += item(0x20, sub)
    body += item(0x50, item(0x51, struct.pack(">I", max_length)) + item(0x52, b"2.999.1") + item(0x55, b"RAW"))
    return struct.pack(">BBI", 1, 0, len(body)) + body


def associate_ac(request: bytes, *, max_length: int = 131072, answers: Sequence[tuple[int, str]] = ()) -> bytes:
    """An A-ASSOCIATE-AC to the body of a request: contexts 1, 3 … as (result, transfer syntax), all proposed ones
    with the first syntax of the request if none are given."""
    found = list(answers)
    position = 68
    while not answers and position < len(request):
        kind, _, length = struct.unpack_from(">BBH", request, position)
        if kind == 0x20:
            context = request[position + 8 : position + 4 + length]
            (size,) = struct.unpack_from(">H", context, 2)
            (length_of,) = struct.unpack_from(">H", context, 4 + size + 2)
            found.append((0, context[4 + size + 4 : 4 + size + 4 + length_of].decode()))
        position += 4 + length
    body = request[:4] + request[4:68] + item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (result, transfer) in enumerate(found):
        body += item(0x21, bytes((2 * number + 1, 0, result, 0)) + item(0x40, transfer.encode()))
    body += item(0x50, item(0x51, struct.pack(">I", max_length)) + item(0x52, b"2.999.1"))
    return struct.pack(">BBI", 2, 0, len(body)) + body


def element(tag: int, value: bytes) -> bytes:
    """An element of a command set."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, tag, len(value)) + value


def command(*elements: bytes) -> bytes:
    """A command set with its group length."""
    body = b"".join(elements)
    return element(0, struct.pack("<I", len(body))) + body


def us(value: int) -> bytes:
    """A US value."""
    return struct.pack("<H", value)


def c_store_rq(sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    """A C-STORE-RQ command set."""
    return command(
        element(0x0002, sop_class.encode()), element(0x0100, us(1)), element(0x0110, us(message_id)),
        element(0x0700, us(0)), element(0x0800, us(1)), element(0x1000, sop_instance.encode()),
    )  # fmt: skip


def p_data(context_id: int, data: bytes, *, is_command: bool, last: bool = True) -> bytes:
    """A P-DATA-TF with one PDV."""
    control = (1 if is_command else 0) | (2 if last else 0)
    return struct.pack(">BBI", 4, 0, len(data) + 6) + struct.pack(">IBB", len(data) + 2, context_id, control) + data


def pieces(data: bytes, size: int = 16_000, *, context_id: int = 1) -> list[bytes]:
    """A whole data set as P-DATA-TF PDUs."""
    starts = range(0, len(data), size)
    return [p_data(context_id, data[n : n + size], is_command=False, last=n == starts[-1]) for n in starts]


def echo_rq(message_id: int = 1, context: int = 1) -> bytes:
    """A C-ECHO-RQ."""
    return p_data(context, message(0x0030, message_id, VERIFICATION), is_command=True)


def message(kind: int, message_id: int, sop_class: str, *, data: bool = False) -> bytes:
    """A command set of any request."""
    return command(
        element(0x0002, sop_class.encode()), element(0x0100, us(kind)),
        element(0x0110, us(message_id)), element(0x0800, us(1 if data else 0x0101)),
    )  # fmt: skip


def find_rq(message_id: int = 1, identifier: bytes = b"") -> bytes:
    """A C-FIND-RQ with its identifier."""
    return p_data(1, message(0x0020, message_id, WORKLIST, data=True), is_command=True) + p_data(
        1, identifier, is_command=False
    )


def cancel_rq(message_id: int = 1) -> bytes:
    """A C-CANCEL-RQ."""
    return p_data(
        1,
        command(
            element(0x0100, us(0x0FFF)), element(0x0120, us(message_id)),
            element(0x0800, us(0x0101)),
        ),
        is_command=True,
    )  # fmt: skip


def store_rq(uid: str = "1.2.3", message_id: int = 1, sop_class: str = CT) -> bytes:
    """A C-STORE-RQ without its data set."""
    return p_data(1, c_store_rq(sop_class, uid, message_id), is_command=True)


class RawScu:
    """A connection; speaks whole messages or any bytes."""

    def __init__(self, port: int, timeout: float = 30, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def over(cls, connection: socket.socket) -> Self:
        """Speak over a connection that stands."""
        made = cls.__new__(cls)
        made.socket = connection
        return made

    def associate(self, contexts: Sequence[tuple[str, str]], **names: bytes) -> tuple[int, bytes]:
        """Ask for an association; type and body of the answer."""
        self.socket.sendall(associate_rq(contexts, **names))  # type: ignore[arg-type]
        return self.pdu()

    def send(self, *parts: bytes) -> bool:
        """Send; False when the connection has ended."""
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU; (0, b"") when the peer closed or reset the connection."""
        header = self._exactly(6)
        if not header:
            return 0, b""
        return header[0], self._exactly(int.from_bytes(header[2:], "big"))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return b""
            if not piece:
                return b""
            data += piece
        return data

    def ended(self) -> tuple[int, bytes]:
        """What ends the connection: type and body of the last PDU but P-DATA; it must be closed afterwards."""
        kind, body = self.pdu()
        while kind == 4:
            kind, body = self.pdu()
        if kind:
            assert self.pdu() == (0, b"")
        return kind, body

    def store(self, thing: Encoded, *, context_id: int = 1, size: int = 16000) -> int | None:
        """C-STORE; the status, None when the connection ended instead."""
        try:
            self.socket.sendall(p_data(context_id, c_store_rq(thing.sop_class, thing.sop_instance), is_command=True))
            for part in pieces(thing.data, size, context_id=context_id):
                self.socket.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return None
        return self.status()

    def status(self) -> int | None:
        """Status of the next response, None when the connection ended instead."""
        found = self.answer()
        return None if found is None else found[1]

    def answer(self) -> tuple[int, int] | None:
        """Message ID and status of the next response, None when the connection ended instead."""
        kind, body = self.pdu()
        if kind != 4:
            return None
        return us_of(body[6:], 0x0120), status_of(body)

    def echo(self) -> int | None:
        """C-ECHO; the status."""
        self.send(echo_rq())
        return self.status()

    def release(self) -> int:
        """Ask for release; type of the answer."""
        self.send(RELEASE)
        return self.pdu()[0]

    def reset(self) -> None:
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close without a word."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def status_of(body: bytes) -> int:
    """Status in a P-DATA-TF body that begins with a response."""
    return us_of(body[6:], 0x0900)


def us_of(command: bytes, tag: int) -> int:
    """Value of a US element of a command set."""
    position = 0
    while position < len(command):
        _, found, length = struct.unpack_from("<HHI", command, position)
        if found == tag:
            return int.from_bytes(command[position + 8 : position + 8 + length], "little")
        position += 8 + length
    raise LookupError(f"no (0000,{tag:04x})")
