"""An HTTP server on a loopback port by the library's own, for peers that fail as a test says."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PeerHandler(BaseHTTPRequestHandler):
    """Keeps connections, and writes nothing into the output of the tests."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass  # a client that went


@contextmanager
def http_peer(
    handler: type[PeerHandler], over: threading.Event, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, int]]:
    """Serve; the scheme and the port. `over` is set before the server waits for its requests to end."""
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield "http" if tls is None else "https", server.server_address[1]
        finally:
            over.set()
            server.shutdown()
            thread.join()
