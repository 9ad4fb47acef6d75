"""A server that answers byte by byte: no step takes long, and the whole does not end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def dripping(first: bytes = b"") -> Iterator[int]:
    """Serve one connection: `first` at once, then a byte each 50 ms; the port."""
    over = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(first)
                while not over.wait(0.05):
                    line.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)  # whoever still waits for a connection
            thread.join()
