"""A webhook by the library's own HTTP server, which answers as a test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.peers.http_peer import PeerHandler, http_peer

Answer = tuple[int, dict[str, str]]  # status and headers


class Webhook:
    """What came, and what is answered: each of `script` once, then `usual`. Status 0 breaks off, -1 says nothing."""

    def __init__(self, *script: int | Answer, usual: int | Answer = 204) -> None:
        self.script, self.usual = list(script), usual
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []  # headers in lower case, and documents
        self.heads = 0
        self.port = 0
        self.done = threading.Event()  # the end of the test: who said nothing may go

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def keys(self) -> list[str]:
        """The numbers of the notices that came."""
        return [headers["idempotency-key"] for headers, _ in self.posts]

    def answer(self) -> Answer:
        """What is answered next."""
        chosen = self.script.pop(0) if self.script else self.usual
        return (chosen, {}) if isinstance(chosen, int) else chosen


@contextmanager
def webhook(*script: int | Answer, usual: int | Answer = 204, tls: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    """A webhook on a loopback port."""
    found = Webhook(*script, usual=usual)

    class Handler(PeerHandler):
        protocol_version = "HTTP/1.0"  # one request a connection

        def do_HEAD(self) -> None:
            found.heads += 1
            status, headers = found.answer()
            if status:
                self.answer(status, headers)
            else:
                self.close_connection = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = found.answer()
            found.posts.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
            if status == 0:
                self.close_connection = True
            elif status == -1:
                found.done.wait(30)
            else:
                self.answer(status, headers)

        def answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with http_peer(Handler, found.done, tls) as (_, found.port):
        yield found
