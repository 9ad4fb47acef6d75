"""JSON of the web means one thing or is refused, soon and with few words (HT-04)."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import Future
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from structlog.testing import capture_logs

from broker.accounts.roles import Principal
from broker.admin import problems
from broker.admin.access import Access
from broker.admin.bodies import ERRORS, BodyRoute
from broker.admin.callers import LOCAL_USER, Callers
from broker.admin.headers import Correlated
from broker.admin.problems import TOLD
from broker.correlation import HEADER
from broker.settings.sections import LimitsSection

LIMIT = 1 << 20


class NoTokens:
    """Nobody has a token."""

    def caller(self, credentials: bytes) -> Future[Principal | None]:
        future: Future[Principal | None] = Future()
        future.set_result(None)
        return future


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rows: list[int] = Field(default=[], max_length=500)
    text: str = ""


def app() -> Any:
    routes = APIRouter(route_class=BodyRoute)

    @routes.post("/")
    async def take(body: Body | None = None) -> Body:
        return body or Body(text="none")

    made = FastAPI()
    problems.handle(made)
    made.add_middleware(Correlated)
    made.include_router(routes)
    inner = Access(made, Callers("", NoTokens()), LimitsSection(web_body=LIMIT, web_bodies=10 * LIMIT))

    async def local(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, LOCAL_USER: "me"}, receive, send)

    return local


def post(content: bytes, kind: str = "application/json") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
            return await http.post("/", content=content, headers={"Content-Type": kind} if kind else {})

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_json_is_taken(kind: str) -> None:
    assert post(b'{"text": "a\\ud83d\\ude00\\\\ud800"}', kind).json()["text"] == "a\U0001f600\\ud800"
    assert post(b"", kind).json()["text"] == "none"
    assert post(b"null", kind).json()["text"] == "none"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/jsonx", "text/json", "application/x-www-form-urlencoded"]
)
def test_another_media_type_is_refused(kind: str) -> None:
    assert post(b'{"text": "a"}', kind).status_code == 415


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"x", b"{}{}", b'{"text": "a", "text": "b"}', b'{"text": NaN}', b'{"rows": [Infinity]}', b"-Infinity",
        b'{"rows": [1e400]}', b'{"rows": [' + b"1" * 5000 + b"]}", b'{"text": "\\ud800"}', b'{"\\udfff": 1}',
        b'{"text": "\\u0000"}', b'{"rows": [["a\\u0000"]]}', b'{"\\u0000": 1}',
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'"\xff"',
        '{"text": "a"}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_json_or_means_two_things_is_refused(content: bytes) -> None:
    answer = post(content)
    assert (answer.status_code, answer.headers["content-type"]) == (400, problems.MEDIA_TYPE)
    assert len(answer.content) < 300


def test_a_text_that_looks_like_nul_is_taken() -> None:
    assert post(b'{"text": "\\\\u0000"}').json()["text"] == "\\u0000"


def test_a_defect_is_answered_by_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where to look, and nothing else; the log has the same reference."""
    monkeypatch.setattr("broker.admin.bodies.read_json", lambda body: 1 / 0)
    with capture_logs() as logs:
        answer = post(b"{}")
    (line,) = [line for line in logs if line["event"] == "web.internal_error"]
    assert (answer.status_code, answer.headers["content-type"]) == (500, problems.MEDIA_TYPE)
    assert len(line["reference"]) == 12
    assert answer.json()["detail"] == f"Internal error, reference {line['reference']}"
    assert line["reference"] == answer.json()["reference"] == answer.headers[HEADER]
    assert "ZeroDivisionError" in line["error"]


def test_many_faults_are_told_in_few_words() -> None:
    """A field of eight bytes would be answered by sixty."""
    for count, told in ((10, 10), (TOLD + 50, TOLD), (ERRORS + 1, 0), (80_000, 0)):
        content = json.dumps({f"a{number}": 0 for number in range(count)}).encode()
        answer = post(content)
        assert (answer.status_code, len(answer.json().get("errors", []))) == (422, told)


@pytest.mark.parametrize(
    "content",
    [
        b'{"rows": [' + b"0," * 500_000 + b"0]}", b'{"rows": [' + b"[]," * 340_000 + b"0]}",
        b'"' + b'\\"' * 500_000 + b'"',
        b'{"rows": [' + b'"",' * 340_000 + b"0]}", b"[" + b"1.5," * 250_000 + b"0]",
    ],
)  # fmt: skip
def test_a_megabyte_of_json_takes_no_long_time(content: bytes) -> None:
    started = time.process_time()
    assert post(content).status_code == 422
    assert time.process_time() - started < 5  # a tenth of that where the heap is small
