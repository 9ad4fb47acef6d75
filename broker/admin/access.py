"""Lets requests in: open pages for all, the rest for the control socket and the admin token. Bounds every body."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.admin.problems import Problem, answer

OPEN = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/api/v1/status", "/api/docs"})
LOCAL_USER = "broker.local_user"  # of an ASGI scope: who calls over the control socket
DEPTH = 20  # of nested lists and objects in JSON
BODY_TIME = 30.0  # seconds for a whole body
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Access:
    """ASGI middleware: sets `request.state.actor`, refuses strangers (401) and bodies that are too big or too deep."""

    def __init__(self, app: ASGIApp, token: str, limit: int) -> None:
        """`token`: bearer token with the admin role, empty for none. `limit`: bytes of a body."""
        self._app = app
        self._token = token.encode()
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        actor = self._actor(scope)
        scope.setdefault("state", {})["actor"] = actor
        try:
            if not actor and scope["path"] not in OPEN and not scope["path"].startswith("/static/"):
                raise Problem(401, "A bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="broker"'})
            headers = {name.lower(): value for name, value in scope["headers"]}
            body = await self._body(headers, receive)
            if b"json" in headers.get(b"content-type", b""):
                _check_json(body)
        except Problem as problem:
            await answer(problem)(scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)

    def _actor(self, scope: Scope) -> str:
        """`cli:USER` over the control socket, `api` with the admin token, empty for a stranger."""
        local = scope.get(LOCAL_USER)
        if local:
            return f"cli:{local}"
        given = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        scheme, _, credentials = given.partition(b" ")
        good = hmac.compare_digest(credentials.strip(), self._token)
        return "api" if self._token and scheme.lower() == b"bearer" and good else ""

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body; raises Problem if it is too big, too slow or breaks off."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limit:
            raise Problem(413, f"At most {self._limit} bytes")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIME):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "The body is not complete")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._limit:
                        raise Problem(413, f"At most {self._limit} bytes")
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Problem(408, "The body did not arrive in time") from None


class _Replay:
    """Hands on a body that was read already, then whatever comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _check_json(body: bytes) -> None:
    """Refuse JSON in another encoding than UTF-8, and JSON nested too deep for its reader. Linear in the length."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "JSON is UTF-8") from None
    if b"\0" in body:  # UTF-16 and UTF-32, which readers guess
        raise Problem(400, "JSON is UTF-8")
    depth = 0
    for token in _TOKENS.finditer(body):
        first = token[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        if depth > DEPTH:
            raise Problem(400, f"JSON is nested deeper than {DEPTH}")
