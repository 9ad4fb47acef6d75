"""Sets the headers that keep browsers from doing what no page of ours asks for, and the name of each request."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import correlation
from broker.traces import spans
from broker.traces.spans import SpanKey, TracedStep

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer the Origin of our own forms would be null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # OWASP ASVS 5.0 §3.4, §14.3.2


STRICT = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")  # OWASP ASVS 5.0 §3.4.1

_UNMEASURED = ("/health/", "/metrics", "/static/")  # asked every few seconds, or with each page
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context 3.2


class Hardened:
    """ASGI middleware: sets HEADERS on every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault(*STRICT)
            await send(message)

        await self._app(scope, receive, hardened)


class Correlated:
    """ASGI middleware: gives each request a name, and tells it in `correlation.HEADER`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        name = correlation.mint()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(correlation.HEADER, name)
                spans.note(SpanKey.HTTP_STATUS, message["status"])
            await send(message)

        correlation.begin(name)  # to the end of the task: a defect is told behind all middleware
        with spans.span(None if scope["path"].startswith(_UNMEASURED) else TracedStep.HTTP) as span:
            try:
                await self._app(scope, receive, named)
            finally:
                if spans.measuring():
                    _describe(span, scope)


def _describe(span: spans.TraceSpan | spans.NoSpan, scope: Scope) -> None:
    """Tell the method and the route of a request, as the broker declares them; its path may name a patient.

    A caller's own trace is linked if `traceparent` has the right form. It decides neither our trace nor our share.
    """
    span.note(SpanKey.METHOD, spans.word(scope["method"], _METHODS))
    span.note(SpanKey.ROUTE, getattr(scope.get("route"), "path", "") or "none")
    if (found := _TRACEPARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))) and int(found[1], 16):
        span.follow(found[0])
