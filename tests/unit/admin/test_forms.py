"""Forms as browsers and others send them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Request

from broker.admin.problems import Problem
from broker.admin.web.forms import MOST_FIELDS, FormFields, read

FORM = "application/x-www-form-urlencoded"


def form(body: bytes, kind: str = FORM) -> FormFields:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    return asyncio.run(read(Request(scope, receive)))


def test_the_first_value_counts_without_blanks() -> None:
    fields = form(b"a=+M%C3%BCller+&a=2&b=&c", f"{FORM}; charset=UTF-8")
    assert [fields.get(name) for name in ("a", "b", "c", "d")] == ["Müller", "", "", ""]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=1", "", 415),
        (b"a=1", "multipart/form-data; boundary=x", 415),
        (b"a=%00", FORM, 400),
        (b"a%00=1", FORM, 400),
        (b"a=%ff", FORM, 400),
        (b"a=\xff", FORM, 400),
        (b"a&" * (MOST_FIELDS + 1), FORM, 400),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(Problem) as refused:
        form(body, kind)
    assert refused.value.status == status
