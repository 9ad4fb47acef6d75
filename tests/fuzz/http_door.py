"""The web door with all routes on a database, over connections without a socket; each answer is read and judged."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import uvicorn
from support.service.rest import TOKEN, application

from broker.service.doors.web_gate import WebLimits
from broker.service.web import Server
from broker.settings import load
from fuzz.door import Door
from fuzz.hl7_messages import CANARY
from fuzz.http_cases import Requests
from fuzz.inline import InlineDatabase, Stream, is_gone

ANSWERED = 5.0  # virtual seconds in which a request is answered
_DOCUMENTS = re.compile(rb"/api/v1/(?:rules|nodes|site|mappings|messages/(?:test|replay))")
ALIVE = b"GET /health/live HTTP/1.1\r\nHost: broker\r\n\r\n"
Answer = tuple[int, dict[bytes, bytes], bytes]


class HttpDoor(Door):
    """`check` says a case to it."""

    NAME = "http"
    _threads = staticmethod(anyio.to_thread.run_sync)

    def serve(self, database: InlineDatabase) -> None:
        """Build the web server with all routes."""
        app = application(database, load(None))  # type: ignore[arg-type]
        self._server: uvicorn.Server = Server(app, WebLimits())._server
        self._server.config.load()

    def warm(self) -> None:
        """Read and write by REST, and draw the page that takes the longest for its first reader."""
        head = f"Host: broker\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
        post = (
            b"POST /api/v1/orders HTTP/1.1\r\n"
            + head
            + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )
        self.check(Requests((b"GET /api/v1/messages HTTP/1.1\r\n" + head + b"\r\n" + post,), "close", 2, True))
        self.check(Requests((b"GET /api/docs HTTP/1.1\r\n" + head + b"\r\n",), "close", 1, True))

    async def _run_sync(self, work: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return self.loop.aside(lambda: work(*args))

    def check(self, case: Requests) -> None:
        """Run a case. Raises AssertionError, or what a defect raises."""
        self.count_case()
        anyio.to_thread.run_sync = self._run_sync  # type: ignore[assignment]
        try:
            said = self.loop.run_until_complete(self._converse(case))
        finally:
            anyio.to_thread.run_sync = self._threads
        if case.reads:
            return
        found = answers(said, head=b"".join(case.says).startswith(b"HEAD "))
        if case.sound and case.end != "reset":
            assert complete(found, case.count), f"{len(found)} answers to {case.count} requests"
        documents = _DOCUMENTS.search(b"".join(case.says)) is not None
        for answer in found:
            judge(answer, documents=documents)

    async def _converse(self, case: Requests) -> bytes:
        connection = self._connect(case.reads)
        for piece in case.says:
            connection.arrive(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(ANSWERED)
        if case.end != "silence":
            connection.end(reset=case.end == "reset")
        assert await is_gone(connection), "a connection stays open"
        other = self._connect(0)
        other.arrive(ALIVE)
        await asyncio.sleep(ANSWERED)
        assert bytes(other.said).endswith(b"\r\n\r\nok\n"), "no health any more"
        other.end()
        await asyncio.sleep(ANSWERED)
        return bytes(connection.said)

    def _connect(self, reads: int) -> Stream:
        server = self._server
        made = server.config.http_protocol_class(
            config=server.config, server_state=server.server_state, app_state={}, _loop=self.loop
        )
        return Stream(made, reads=reads)  # type: ignore[arg-type]


def complete(found: list[Answer], count: int) -> bool:
    """All of `count` requests were answered, or the last answer refused one and said that the connection ends."""
    refused = bool(found) and found[-1][0] >= 400 and found[-1][1].get(b"connection") == b"close"
    return len(found) == count or (refused and len(found) < count)


def answers(said: bytes, *, head: bool) -> list[Answer]:
    """The final answers in what a server said (RFC 9112). Raises AssertionError for bytes that are none."""
    found: list[Answer] = []
    while said:
        top, blank, said = said.partition(b"\r\n\r\n")
        assert blank, "an answer that ends too early"
        line, *fields = top.split(b"\r\n")
        status = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", line)
        assert status, f"no status line: {line[:60]!r}"
        headers = {name.lower(): value for name, _, value in (field.partition(b": ") for field in fields)}
        assert len(headers) == len(fields), "a header twice"
        code = int(status[1])
        if code < 200:
            continue
        if head or code in (204, 304):
            body = b""
        elif b"chunked" in headers.get(b"transfer-encoding", b""):
            body, said = _chunked(said)
        elif b"content-length" in headers:
            size = int(headers[b"content-length"])
            assert len(said) >= size, "a body that ends too early"
            body, said = said[:size], said[size:]
        else:
            body, said = said, b""
        found.append((code, headers, body))
    return found


def _chunked(said: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, end, said = said.partition(b"\r\n")
        assert end, "a chunk that ends too early"
        length = int(size, 16)
        body += said[:length]
        assert said[length : length + 2] == b"\r\n", "a chunk of another size"
        said = said[length + 2 :]
        if not length:
            return body, said


def judge(answer: Answer, *, documents: bool) -> None:
    """No fault of ours, and a refusal in the form that is promised. Raises AssertionError.

    `documents`: the site's own were sent, whose names a refusal may quote.
    """
    status, headers, body = answer
    assert status < 500, f"{status}: {body[:300]!r}"
    assert b"Traceback" not in body, "a stack trace in an answer"
    if status >= 400 and body:
        assert headers.get(b"content-type") == b"application/problem+json", f"{status} without a problem document"
        assert json.loads(body)["status"] == status, "another status in the document"
        assert documents or CANARY.encode() not in body, "a value in a refusal"
        assert len(body) < 64 * 1024, "a long refusal"
