"""A worklist client that spends next to nothing: prepared bytes on a blocking socket, answers only counted."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, Self

from support.dicom.raw import EXPLICIT, RELEASE, WORKLIST, RawScu, command, element, p_data, pieces, us
from support.worklist.worklist import encoded

PENDING = (0xFF00, 0xFF01)


class Poller(RawScu):
    """An association for worklist queries, Explicit VR Little Endian."""

    @classmethod
    def open(cls, port: int, called: str, calling: str = "RAW") -> Self:
        """Connect and associate."""
        return cls.across(socket.create_connection(("127.0.0.1", port), 120), called, calling)

    @classmethod
    def across(cls, connection: socket.socket, called: str, calling: str = "RAW") -> Self:
        """Associate on a connection that stands."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = cls.over(connection)
        made._left = bytearray()
        kind, body = made.associate([(WORKLIST, EXPLICIT)], called=called.encode(), calling=calling.encode())
        assert kind == 2, kind
        assert body[body.index(b"\x21\0", 68) + 6] == 0, "the context was not accepted"
        return made

    def find(self, request: bytes) -> int:
        """Send a request made by `request`; how many answers came. Raises if the last status is no success."""
        self.socket.sendall(request)
        count = 0
        while (status := self._response()) in PENDING:
            count += 1
        assert status == 0, f"{status:04x}"
        return count

    def _response(self) -> int:
        """Status of the next response; its data set is read, not looked at."""
        status, data = -1, True
        while data:
            body = self._body()
            position = 0
            while position < len(body):
                length, _, control = struct.unpack_from(">IBB", body, position)
                if control & 1:
                    status, data = _status(body[position + 6 : position + 4 + length])
                elif control & 2:
                    data = False
                position += 4 + length
        return status

    def _body(self) -> bytes:
        """The next P-DATA-TF."""
        while len(self._left) < 6 or len(self._left) < 6 + int.from_bytes(self._left[2:6], "big"):
            piece = self.socket.recv(262_144)
            assert piece, "the peer closed the connection"
            self._left += piece
        assert self._left[0] == 4, self._left[0]
        end = 6 + int.from_bytes(self._left[2:6], "big")
        body = bytes(self._left[6:end])
        del self._left[:end]
        return body

    def end(self) -> None:
        """Release and close."""
        self.socket.sendall(RELEASE)
        assert self.pdu()[0] == 6
        self.close()


def _status(response: bytes) -> tuple[int, bool]:
    """Status of a response, and whether a data set follows."""
    position, status, data = 0, -1, True
    while position < len(response):
        _, tag, length = struct.unpack_from("<HHI", response, position)
        if tag in (0x0800, 0x0900):
            value = int.from_bytes(response[position + 8 : position + 10], "little")
            status, data = (status, value != 0x0101) if tag == 0x0800 else (value, data)
        position += 8 + length
    return status, data


def request(keys: Mapping[Any, Any], charset: str = "ISO_IR 192") -> bytes:
    """A C-FIND request ready to be sent."""
    asked = command(
        element(0x0002, WORKLIST.encode()), element(0x0100, us(0x20)), element(0x0110, us(1)), element(0x0700, us(0)),
        element(0x0800, us(1)),
    )  # fmt: skip
    data = encoded(dict(keys), implicit=False, charset=[charset])
    return p_data(1, asked, is_command=True) + b"".join(pieces(data))


def once(port: int, called: str, asked: bytes, calling: str = "RAW") -> tuple[int, float]:
    """One query on an association of its own: number of answers, and seconds from connect to the end of release."""
    began = time.perf_counter()
    poller = Poller.open(port, called, calling)
    count = poller.find(asked)
    poller.end()
    return count, time.perf_counter() - began
