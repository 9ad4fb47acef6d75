"""A RIS that listens: an MLLP receiver written from the framing rule alone, which answers as a script tells it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from support.service.site import CR, FS, VT


@dataclass
class Told:
    """One message as it came: its bytes, the number of its connection, when."""

    raw: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    def get(self, segment: str, number: int) -> str:
        """A field of the first segment of a name, as it stands on the wire (UTF-8, else Latin-1)."""
        try:
            text = self.raw.decode()
        except UnicodeDecodeError:
            text = self.raw.decode("latin-1")
        for line in text.split("\r"):
            if line.startswith(segment + "|"):
                fields = line.split("|")
                index = number - 1 if segment == "MSH" else number
                return fields[index] if index < len(fields) else ""
        return ""

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.get("MSH", 10)

    @property
    def status(self) -> str:
        """ORC-5."""
        return self.get("ORC", 5)


def acknowledgement(told: Told, code: str = "AA", control_id: str | None = None) -> bytes:
    """An ACK without its frame."""
    named = told.control_id if control_id is None else control_id
    return f"MSH|^~\\&|RIS|H|BROKER||20260312||ACK|A{named}|P|2.3.1\rMSA|{code}|{named}\r".encode()


def framed(message: bytes) -> bytes:
    """The frame of a message."""
    return VT + message + FS + CR


Script = Callable[[socket.socket, Told], bool | None]


def accept(peer: socket.socket, told: Told) -> None:
    """AA to everything."""
    peer.sendall(framed(acknowledgement(told)))


class Ris:
    """Listens until the end of the block. `script(connection, message)` answers; False closes the connection."""

    def __init__(self, script: Script = accept, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.script, self._tls = script, tls
        self.told: list[Told] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for open_ in (self._listener, *self._open):
            with contextlib.suppress(OSError):  # the other side was faster
                open_.shutdown(socket.SHUT_RDWR)
            open_.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def statuses(self) -> list[str]:
        """ORC-5 of everything told, in the order it came."""
        return [told.status for told in self.told]

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(peer)
            self.connections += 1
            self._start(self._talk, peer, self.connections)

    def _talk(self, peer: socket.socket, number: int) -> None:
        data = b""
        try:
            if self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_side=True)
            while piece := peer.recv(65536):
                data += piece
                while FS + CR in data:
                    message, _, data = data.partition(FS + CR)
                    told = Told(message.removeprefix(VT), number)
                    self.told.append(told)
                    if self.script(peer, told) is False:
                        return
        except OSError:
            return
        finally:
            peer.close()


def ris_node(port: int, *, name: str = "ris", application: str = "RIS", **feedback: object) -> str:
    """A `[[node]]` of site.toml that listens on a loopback port; `feedback` are keys of that table."""
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in feedback.items())
    return (
        f'[[node]]\nname = "{name}"\nkind = "hl7"\napplication = "{application}"\nhost = "127.0.0.1"\nport = {port}\n'
        f'roles = ["ris"]\n[node.feedback]\n{lines}\n'
    )


def toml(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(part) for part in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
