"""Believes what trusted proxies say of a request: from which address it came, and whether over HTTPS.

Anybody can send these headers, so those of others are not looked at (OWASP ASVS 5.0 §4.1.3, §15.3.4).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

MOST = 20  # addresses of one chain that are looked at


class TrustedProxies:
    """The addresses of proxies before the web: single ones and networks."""

    def __init__(self, proxies: Sequence[str]) -> None:
        """`proxies`: such as `10.1.2.3` or `fd00::/64`."""
        self._networks = [ipaddress.ip_network(proxy) for proxy in proxies]

    def has(self, address: str) -> bool:
        """Whether an address, or the /64 that stands for one, is that of a proxy."""
        try:
            ip = ipaddress.ip_interface(address.partition("%")[0]).ip
        except ValueError:
            return False
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._networks)

    def caller(self, chain: Sequence[str], proxy: str) -> str:
        """Who called the first proxy of ours: the last address of `X-Forwarded-For` that is no proxy's.

        What is no address counts as said by nobody: the proxy that passed it on is then the caller.
        """
        known = proxy
        for address in reversed(chain[-MOST:]):
            if not _is_address(address):
                break
            known = address
            if not self.has(address):
                break
        return known


class Forwarded:
    """ASGI middleware: sets `client` and `scheme` of a request that a trusted proxy passes on."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer = (scope.get("client") or ("",))[0]
        if scope["type"] == "http" and self._proxies.has(peer):
            chain = [part.strip() for value in _values(scope, b"x-forwarded-for") for part in value.split(",")]
            scope["client"] = (self._proxies.caller(chain, peer), 0)
            said = [part.strip().lower() for value in _values(scope, b"x-forwarded-proto") for part in value.split(",")]
            if said and said[-1] in ("http", "https"):
                scope["scheme"] = said[-1]
        await self._app(scope, receive, send)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
