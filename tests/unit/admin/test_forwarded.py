"""What proxies say of a request is believed of trusted ones alone."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from support.loops import shortly

from broker.admin.forwarded import Forwarded, TrustedProxies

PROXY = "10.0.0.1"


def seen(peer: str, proxies: tuple[str, ...], **headers: str) -> tuple[str, str]:
    """Address and scheme of a request as the application sees it."""
    got: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.update(scope)

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "client": (peer, 1234), "scheme": "http", "headers": raw}
    shortly(Forwarded(app, TrustedProxies(proxies))(scope, None, None))  # type: ignore[arg-type]
    return got["client"][0], got["scheme"]


def test_headers_of_others_are_not_believed() -> None:
    told = {"x_forwarded_for": "198.51.100.7", "x_forwarded_proto": "https"}
    assert seen("192.0.2.9", (PROXY,), **told) == ("192.0.2.9", "http")
    assert seen(PROXY, (), **told) == (PROXY, "http")
    assert seen("anna", (PROXY,), **told) == ("anna", "http")  # over the control socket


@pytest.mark.parametrize(
    ("chain", "caller"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.5, 198.51.100.7", "198.51.100.7"),  # the first one was made up
        ("198.51.100.7, 10.0.0.2", "198.51.100.7"),  # two proxies of ours
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8::7", "2001:db8::7"),
        ("", PROXY),
        ("unknown", PROXY),
        ("198.51.100.7, nonsense", PROXY),
        ("198.51.100.7:4711", PROXY),
        ("evil, 10.0.0.2", "10.0.0.2"),
        (", ".join(["10.0.0.2"] * 5000), "10.0.0.2"),
    ],
)
def test_the_caller_is_the_last_one_whom_no_proxy_of_ours_is(chain: str, caller: str) -> None:
    assert seen(PROXY, ("10.0.0.0/24",), x_forwarded_for=chain)[0] == caller


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("ftp", "http"),
        ("", "http"),
    ],
)
def test_the_scheme_is_what_the_last_proxy_says(said: str, scheme: str) -> None:
    assert seen(PROXY, (PROXY,), x_forwarded_proto=said)[1] == scheme


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("10.0.0.1", True),
        ("10.0.0.9", False),
        ("::ffff:10.0.0.1", True),
        ("fd00::5", True),
        ("fd00::/64", True),
        ("x", False),
    ],
)
def test_which_addresses_are_proxies(address: str, known: bool) -> None:
    assert TrustedProxies(("10.0.0.1", "fd00::/64")).has(address) == known
