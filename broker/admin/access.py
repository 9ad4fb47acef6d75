"""Lets requests in: what is open for all, the rest for those who are known. Sends strangers to the sign-in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.accounts.roles import Principal
from broker.admin import problems
from broker.admin.bodies import aside
from broker.admin.callers import LOCAL_USER, Callers
from broker.admin.json_text import NO_NUL, check_json
from broker.admin.problems import Problem
from broker.admin.same_origin import SAFE, check_origin, is_local
from broker.model.audit import LOCAL
from broker.pace import AddressPace
from broker.seats import is_own, share_of
from broker.settings.sections import LimitsSection

OPEN = frozenset({"/health/live", "/health/ready", "/metrics"})
SIGN_IN = "/sign-in"
FOR_STRANGERS = (f"{SIGN_IN}/", "/first/", "/invite/")  # what is below the pages by which people come in
STRANGERS_BODY = 8 * 1024  # bytes of a form on one of these
_HOST = re.compile(rb"(?:[\w.~%!$&'()*+,;=-]{0,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{0,5})?", re.ASCII)  # RFC 3986 §3.2.2
BODY_TIME = 30.0  # seconds for a whole body


class Access:
    """ASGI middleware: refuses strangers and bodies too big; sets `.caller`, `.actor`, `.rights`, `.address` of
    `request.state`."""

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        limits: LimitsSection,
        answer: Callable[[Request, Problem], Response] = problems.answer,
    ) -> None:
        """`limits`: of bodies, and of who has no token. `answer` makes the answer of a refusal."""
        self._app = app
        self._answer = answer
        self._callers = callers
        self._limit = limits.web_body
        self._total = limits.web_bodies
        self._pace = AddressPace(limits.web_requests_per_second)
        self._held = 0  # bytes of the bodies of all requests that are being read or served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reading = _Reading()
        try:
            await self._serve(scope, receive, send, reading)
        finally:
            self._held -= reading.size

    async def _serve(self, scope: Scope, receive: Receive, send: Send, reading: _Reading) -> None:
        try:
            _check_head(scope)
            caller = await self._caller(scope)
            state = scope.setdefault("state", {})
            state["caller"], state["callers"] = caller, self._callers
            state["actor"], state["rights"] = (caller.actor, caller.rights) if caller else ("", frozenset())
            state["address"] = LOCAL if scope.get(LOCAL_USER) else (scope.get("client") or ("",))[0]
            if caller is None and (away := _sent_away(scope)) is not None:
                await away(scope, receive, send)
                return
            if _is_for_strangers(scope["path"]) if caller is None else caller.person is not None:
                check_origin(scope)
            if any(b"%00" in scope.get(part, b"") for part in ("raw_path", "query_string")):
                raise Problem(400, NO_NUL)
            headers = {name.lower(): value for name, value in scope["headers"]}
            body = await self._body(headers, receive, reading, self._limit if caller else _stranger_sends(scope))
            if any(b"json" in value.lower() for name, value in scope["headers"] if name.lower() == b"content-type"):
                await aside(check_json, body)
        except Problem as problem:
            if not reading.whole and _has_body(scope):
                problem.headers["Connection"] = "close"  # what is still to come is not worth its reading
            await self._answer(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)

    async def _take_turn(self, share: str) -> None:
        """Let a stranger wait, or raise Problem, if its address asks too often. This machine may be a proxy of many."""
        wait = 0.0 if is_own(share) else self._pace.wait(share)
        if wait is None:
            raise Problem(429, "Too many requests", headers={"Retry-After": "1", "Connection": "close"})
        if wait:
            await asyncio.sleep(wait)

    async def _caller(self, scope: Scope) -> Principal | None:
        """Who calls; None for a stranger. Raises Problem for one who asks too often."""
        caller = self._callers.at_once(scope)
        if caller is not None:
            return caller
        await self._take_turn(share_of((scope.get("client") or ("",))[0]))
        return None if _is_open(scope["path"]) else await self._callers.looked_up(scope)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive, reading: _Reading, limit: int) -> bytes:
        """The whole body; raises Problem if it is too big, too slow, breaks off, or there are too many."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise Problem(413, f"At most {limit} bytes")
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_TIME):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "The body is not complete")
                    parts.append(message.get("body", b""))
                    reading.size += len(parts[-1])
                    self._held += len(parts[-1])
                    if reading.size > limit:
                        raise Problem(413, f"At most {limit} bytes")
                    if self._held > self._total:
                        raise Problem(503, "too many bodies at once", headers={"Retry-After": "5"})
                    if not message.get("more_body", False):
                        reading.whole = True
                        return b"".join(parts)
        except TimeoutError:
            raise Problem(408, "The body did not arrive in time") from None


def _is_open(path: str) -> bool:
    """Everybody may ask for it, and it is the same for all."""
    return path in OPEN or path.startswith("/static/")


def _is_for_strangers(path: str) -> bool:
    return path == SIGN_IN or path.startswith(FOR_STRANGERS)


def _sent_away(scope: Scope) -> Response | None:
    """Where a stranger must go who asks for a page: to the sign-in. None if he may have it.

    The query is not carried along: it may name a patient. Raises Problem for REST, and for a part of a page: the page
    stays with all that was typed into it.
    """
    path: str = scope["path"]
    if _is_open(path) or _is_for_strangers(path):
        return None
    names = {name.lower() for name, _ in scope["headers"]}
    if path.startswith("/api/") or b"x-region" in names or b"authorization" in names:
        bearer = {"WWW-Authenticate": 'Bearer realm="broker"'}
        raise Problem(401, "A bearer token is needed, or a session: sign in", headers=bearer)
    known = scope["method"] in SAFE and path != "/" and is_local(path)
    return RedirectResponse(f"{SIGN_IN}?next={quote(path, safe='/')}" if known else SIGN_IN, 303)


def _stranger_sends(scope: Scope) -> int:
    """Bytes of a body that a stranger may send."""
    return STRANGERS_BODY if _is_for_strangers(scope["path"]) else 0


def _check_head(scope: Scope) -> None:
    """Raises Problem for a head that a proxy before us may understand in another way, or that is for a proxy.

    RFC 9112 §3.2, §6.3: a length beside chunks, a Host that is none, a target that is no path.
    """
    headers = dict(scope["headers"])
    reason = ""
    if b"transfer-encoding" in headers and b"content-length" in headers:
        reason = "A body has a length or comes in chunks"
    elif not scope["path"].startswith("/"):
        reason = "The target of a request is a path"
    elif not _HOST.fullmatch(headers.get(b"host", b"")):
        reason = "The Host is none"
    if reason:
        raise Problem(400, reason, headers={"Connection": "close"})


class _Reading:
    """Counts the bytes of one body. `whole`: all of them have been read."""

    size, whole = 0, False


def _has_body(scope: Scope) -> bool:
    """The head of a request tells of a body."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


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
