"""A DICOM destination written from the byte tables alone, on blocking sockets and threads; free to misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from support.dicom import raw as wire
from support.dicom.raw import RawScu

ASSOCIATE_RQ, DATA, RELEASE_RQ = 1, 4, 5


class RawScp:
    """Listens on a loopback port; each connection is given to `serve` in a thread of its own."""

    def __init__(self, serve: Callable[[RawScu], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections: list[RawScu] = []
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(900)
            peer = RawScu.over(connection)
            self.connections.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: RawScu) -> None:
        try:
            self._serve(peer)
        except OSError:
            return  # closed under our hands, at the end of the test or by the broker
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.connections:
            try:
                peer.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in (self._thread, *self._threads):
            thread.join(10)
        assert self.errors == []


def proposed(body: bytes) -> list[tuple[str, str]]:
    """SOP class and first transfer syntax of each proposed context of an A-ASSOCIATE-RQ body."""
    found, position = [], 68
    while position < len(body):
        kind, size = body[position], int.from_bytes(body[position + 2 : position + 4], "big")
        if kind == 0x20:
            values, inner = [], position + 8
            while inner < position + 4 + size:
                length = int.from_bytes(body[inner + 2 : inner + 4], "big")
                values.append(body[inner + 4 : inner + 4 + length].decode())
                inner += 4 + length
            found.append((values[0], values[1]))
        position += 4 + size
    return found


def store_rsp(message_id: int, status: int = 0) -> bytes:
    """A C-STORE-RSP."""
    return wire.command(
        wire.element(0x0100, wire.us(0x8001)), wire.element(0x0120, wire.us(message_id)),
        wire.element(0x0800, wire.us(0x0101)), wire.element(0x0900, wire.us(status)),
    )  # fmt: skip


def receive(peer: RawScu, take: Callable[[bytes], None] = lambda part: None) -> tuple[int, int, int] | None:
    """One C-STORE-RQ with its data set: context, message ID, bytes; None if something else came.

    `take` gets each fragment of the data set, and may be slow.
    """
    total, message_id, context = 0, 0, 0
    while True:
        kind, body = peer.pdu()
        if kind != DATA:
            if kind == RELEASE_RQ:
                peer.send(b"\x06\0\0\0\0\x04\0\0\0\0")
            return None
        position = 0
        while position < len(body):
            size = int.from_bytes(body[position : position + 4], "big")
            context, control = body[position + 4], body[position + 5]
            part = body[position + 6 : position + 4 + size]
            position += 4 + size
            if control & 1:
                message_id = wire.us_of(part, 0x0110)
                continue
            total += len(part)
            take(part)
            if control & 2:
                return context, message_id, total
