"""A browser without a window: keeps cookies, says from where it asks, follows nothing by itself."""

from __future__ import annotations

from typing import Any, Self

import httpx
from fastapi import FastAPI

from support.loops import shortly

HOST = "broker.test"


class Visitor:
    """Asks the application itself, without a socket between."""

    def __init__(
        self, app: FastAPI, cookie: str = "", *, scheme: str = "http", address: str = "192.0.2.7", token: str = ""
    ) -> None:
        self._app, self._base, self._address = app, f"{scheme}://{HOST}", address
        self.cookies: dict[str, str] = {}
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        if cookie:
            self.cookies["__Host-broker_session" if scheme == "https" else "broker_session"] = cookie

    def ask(self, method: str, path: str, *, site: str = "same-origin", **more: Any) -> httpx.Response:
        """One request. `site`: what the browser says of who made it ask; empty for a program."""
        headers = {**self.headers, "User-Agent": "Firefox", **more.pop("headers", {})}
        if site:
            headers["Sec-Fetch-Site"] = site
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, client=(self._address, 1), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._base) as http:
                return await http.request(method, path, headers=headers, **more)

        answer = shortly(asked())
        for name, value in answer.cookies.items():
            self.cookies[name] = value
        for header in answer.headers.get_list("set-cookie"):
            if "Max-Age=0" in header:
                self.cookies.pop(header.partition("=")[0], None)
        return answer

    def get(self, path: str, **more: Any) -> httpx.Response:
        """A page, as from the address bar."""
        return self.ask("GET", path, **more)

    def post(self, path: str, form: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a form."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", **more.pop("headers", {})}
        return self.ask("POST", path, data=form or {}, headers=headers, **more)

    def elsewhere(self, address: str) -> Self:
        """The same browser at another address."""
        self._address = address
        return self
