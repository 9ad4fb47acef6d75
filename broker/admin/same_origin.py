"""Refuses changes that another website makes a browser ask for (OWASP ASVS 5.0 §3.5.1, §3.5.3).

A browser sends its cookies with whatever page asks. It also says by `Sec-Fetch-Site` from where it was asked, or, over
plain HTTP, by `Origin`. Programs with a token are not asked: no website can make a browser send one.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from broker import telemetry
from broker.admin.problems import Problem

_LOCAL = re.compile(r"/(?![/\\])[\x20-\x7e]{0,500}\Z")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(scope: Scope) -> None:
    """Raises Problem for a change that no page of ours asked for."""
    if scope["method"] in SAFE:
        return
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    reason = ""
    if site is not None and site != "same-origin":
        reason = "Another website asked for this"
    elif site is None and not _is_ours(headers.get("origin", ""), scope["scheme"], headers.get("host", "")):
        reason = "A change by a browser names its origin"
    if reason:
        peer = (scope.get("client") or ("",))[0]
        telemetry.logger().warning("web.refused", reason="other-site", peer=peer)
        raise Problem(403, reason)


def is_local(path: str) -> bool:
    """A path on this host, which no browser takes for another one: `//host` and `/\\host` are such (ASVS §3.7.2)."""
    return _LOCAL.match(path) is not None


def _is_ours(origin: str, scheme: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return bool(host) and (parts.scheme, parts.netloc.lower()) == (scheme, host.lower())
