"""Which changes a browser may ask for: those that a page of ours asked for."""

from __future__ import annotations

from typing import Any

import pytest

from broker.admin.problems import Problem
from broker.admin.same_origin import check_origin, is_local

HOST = "broker.test:8080"


def asked(method: str = "POST", scheme: str = "http", **headers: str) -> dict[str, Any]:
    given = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value != "none"]
    return {"type": "http", "method": method, "scheme": scheme, "headers": raw}


def is_taken(scope: dict[str, Any]) -> bool:
    try:
        check_origin(scope)
    except Problem:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_may_come_from_anywhere(method: str) -> None:
    assert is_taken(asked(method, sec_fetch_site="cross-site", origin="http://evil.example"))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "BREW"])
def test_other_sites_change_nothing(method: str) -> None:
    assert not is_taken(asked(method, sec_fetch_site="cross-site", origin=f"http://{HOST}"))
    assert not is_taken(asked(method))


@pytest.mark.parametrize(
    ("site", "origin", "taken"),
    [
        ("same-origin", "http://evil.example", True),  # the browser says it, no page can
        ("same-origin", "null", True),
        ("same-site", f"http://{HOST}", False),
        ("cross-site", f"http://{HOST}", False),
        ("none", f"http://{HOST}", True),  # the header is left out
        ("", f"http://{HOST}", False),
        ("Same-Origin", f"http://{HOST}", False),
        ("none", "none", False),
        ("none", "null", False),
        ("none", "", False),
        ("none", f"https://{HOST}", False),
        ("none", "http://broker.test", False),
        ("none", f"http://{HOST}.evil.example", False),
        ("none", f"http://user@{HOST}", False),
        ("none", "http://BROKER.test:8080", True),
        ("none", "http://[::1", False),
        ("none", f"http://evil.example http://{HOST}", False),
    ],
)
def test_the_origin_is_ours(site: str, origin: str, taken: bool) -> None:
    assert is_taken(asked(sec_fetch_site=site, origin=origin)) == taken


def test_without_a_host_nothing_is_ours() -> None:
    assert not is_taken(asked(host="none", origin="http://"))
    assert not is_taken(asked(host="", origin="http://"))


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/", True), ("/nodes/ct1?x=1#y", True), ("/a//b", True), ("", False), ("nodes", False),
        ("//evil.example", False),
        ("/\\evil.example", False), ("/\t/evil.example", False), ("/\n", False), ("http://evil.example", False),
        ("javascript:alert(1)", False), ("/é", False), ("/" + "x" * 600, False), (" /", False),
    ],
)  # fmt: skip
def test_a_path_on_this_host_leads_nowhere_else(path: str, local: bool) -> None:
    assert is_local(path) == local
