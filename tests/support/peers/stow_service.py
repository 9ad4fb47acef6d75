"""A DICOMweb service by the library's own HTTP server, which fails as a test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["StowPost"], object]


class StowPost:
    """One request: its headers in lower case, its parts, and how to answer."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self._handler, self.body = handler, body
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.path = handler.path

    @property
    def file(self) -> bytes:
        """The DICOM file in the one part."""
        boundary = self.headers["content-type"].partition('boundary="')[2].partition('"')[0].encode()
        before, first, end = self.body.split(b"--" + boundary)
        assert (before, end) == (b"", b"--\r\n")
        head, _, content = first.partition(b"\r\n\r\n")
        assert head == b"\r\nContent-Type: application/dicom"
        return content.removesuffix(b"\r\n")

    @property
    def instance(self) -> str:
        """The SOP Instance UID of its file meta information."""
        meta = self.file[132:]
        start = meta.index(b"\x02\x00\x03\x00UI") + 8
        return meta[start : start + int.from_bytes(meta[start - 2 : start], "little")].rstrip(b"\0").decode()

    def say(self, status: int, body: bytes = b"", kind: str = "application/dicom+json", **headers: str) -> None:
        """Answer."""
        self._handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def store(self, warning: int = 0) -> None:
        """Say that it is stored."""
        item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [self.instance]}}
        item |= {"00081196": {"vr": "US", "Value": [warning]}} if warning else {}
        self.say(202 if warning else 200, json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode())

    def fail(self, reason: int, status: int = 409) -> None:
        """Say that it is not stored, and why."""
        item = {"00081155": {"vr": "UI", "Value": [self.instance]}, "00081197": {"vr": "US", "Value": [reason]}}
        self.say(status, json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode())


class StowService:
    """What came, and what is done: each of `script` once, then it stores. None breaks off within a request."""

    def __init__(self, script: list[Script | None]) -> None:
        self.script, self.posts, self.port = script, list[StowPost](), 0
        self.over = threading.Event()
        self.stored: dict[str, bytes] = {}
        self.scheme = "http"
        self.options = 200
        self.forgets = False  # of a file only its beginning is kept

    @property
    def url(self) -> str:
        """The base of the service."""
        return f"{self.scheme}://127.0.0.1:{self.port}/dicom-web"


@contextmanager
def stow_service(*script: Script | None, tls: ssl.SSLContext | None = None) -> Iterator[StowService]:
    """A service on a loopback port."""
    found = StowService(list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_OPTIONS(self) -> None:
            StowPost(self, b"").say(found.options)

        def do_POST(self) -> None:
            step = found.script.pop(0) if found.script else StowPost.store
            if step is None:
                self.rfile.read(100)
                self.close_connection = True
                return
            post = StowPost(self, self.body())
            found.posts.append(post)
            if step is StowPost.store:
                found.stored[post.instance] = post.file
            step(post)

        def body(self) -> bytes:
            left = int(self.headers["Content-Length"])
            if not found.forgets:
                return self.rfile.read(left)
            kept = self.rfile.read(min(left, 4096))
            left -= len(kept)
            while left and (piece := self.rfile.read(min(left, 65536))):
                left -= len(piece)
            return kept + piece[-40:]  # the end of the last part

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # a client that went

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            found.scheme = "https"
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.over.set()
            server.shutdown()
            thread.join()
