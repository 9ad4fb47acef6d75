"""Sets the headers that keep browsers from doing what no page of ours asks for, and the name of each request."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import correlation

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
            await send(message)

        correlation.begin(name)  # to the end of the task: a defect is told behind all middleware
        await self._app(scope, receive, named)
