"""Reads the `url` of a webhook node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebPlace:
    """Where an address leads to: host, port, and whether by TLS."""

    host: str
    port: int
    tls: bool


def place_of(url: str) -> WebPlace:
    """The place of an http or https address. Raises ValueError that says what is wrong."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("no address of http or https") from None
    if parts.scheme not in _PORTS or not host or port == 0:
        raise ValueError("no address of http or https")
    if "@" in parts.netloc:
        raise ValueError("without user and password: these have keys of their own")
    if parts.fragment:
        raise ValueError("without a fragment")
    return WebPlace(host, port or _PORTS[parts.scheme], parts.scheme == "https")


def _checked(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or re.search(r'[<>"{}|\\^`]', value):
        raise ValueError("an address is printable ASCII; other characters are written as %XX")
    place_of(value)
    return value


WebAddress = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_checked)]
