"""HT-04 to HT-08: what comes through the web door, and what is answered."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.orders.documents import order
from support.service.site import Site

TOKEN = "a-token-of-the-catalogue-012345"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker for all of them."""
    with Site(tmp_path_factory.mktemp("web"), config={"web": {"port": 0, "admin_token": TOKEN}}) as running:
        yield running


@pytest.fixture
def http(web: Site) -> Iterator[httpx.Client]:
    with client(web) as made:
        yield made


def client(site: Site) -> httpx.Client:
    return httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


BODIES = {
    "depth": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "array depth": b"[" * 100_000 + b"]" * 100_000,
    "duplicate keys": b'{"PatientID": "1", "PatientID": "2"}',
    "not a number": b'{"PatientSize": NaN}',
    "infinity": b'{"PatientSize": -Infinity}',
    "a long array": b'{"procedures": [' + b"0," * 1_000_000 + b"0]}",
    "wrong types": json.dumps(order(1) | {"PatientID": {"a": 1}, "procedures": "none"}).encode(),
    "unknown fields": json.dumps(order(1) | {"NoSuchKeyword": "1"}).encode(),
    "no object": b"1",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BODIES)
def test_ht_04_json_that_cannot_be_is_refused_soon(kind: str, http: httpx.Client, web: Site) -> None:
    stored, began = web.rows("SELECT count(*) FROM service_request"), time.monotonic()
    answer = http.post("/api/v1/orders", content=BODIES[kind], headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422), answer.text[:300]
    assert time.monotonic() - began < 20
    assert "Traceback" not in answer.text
    assert web.rows("SELECT count(*) FROM service_request") == stored
    assert http.get("/health/live").status_code == 200


def test_ht_05_the_same_key_in_parallel_has_one_effect(web: Site) -> None:
    def place(number: int) -> tuple[int, Any]:
        with client(web) as one:
            answer = one.post("/api/v1/orders", json=order(number), headers={"Idempotency-Key": "parallel"})
            return answer.status_code, answer.json().get("order", {}).get("id")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(place, [51] * 8))
    assert {status for status, _ in answers} == {201}
    assert len({row for _, row in answers}) == 1
    assert place(52)[0] == 409  # the same key for something else
    assert web.rows("SELECT count(*) FROM scheduled_step WHERE accession IN ('A51', 'A52')") == [(1,)]


def test_ht_06_killed_after_the_commit_before_the_answer(web: Site, http: httpx.Client) -> None:
    web.faults.write_text("store.committed kill\n", encoding="ascii")
    with pytest.raises(httpx.TransportError):
        http.post("/api/v1/orders", json=order(61), headers={"Idempotency-Key": "killed"})
    assert web.process is not None
    assert web.process.wait(20) == -9
    web.faults.write_text("", encoding="ascii")
    web.start()
    with client(web) as again:
        answers = [
            again.post("/api/v1/orders", json=order(61), headers={"Idempotency-Key": "killed"}) for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert web.rows("SELECT count(*) FROM scheduled_step WHERE accession = 'A61'") == [(1,)]


@pytest.mark.parametrize(
    ("number", "fault", "status", "after", "title", "detail"),
    [
        (71, "ENOSPC", 507, "60", "Insufficient Storage", "the disk of the broker is full"),
        (72, "EIO", 503, "15", "Service Unavailable", "passing trouble"),
    ],
)
def test_ht_07_passing_trouble_says_when_to_come_again(
    web: Site, number: int, fault: str, status: int, after: str, title: str, detail: str
) -> None:
    with client(web) as http:
        web.faults.write_text(f"store.commit {fault}\n", encoding="ascii")
        try:
            answer = http.post("/api/v1/orders", json=order(number))
        finally:
            web.faults.write_text("", encoding="ascii")
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, after)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json() == {"title": title, "status": status, "detail": detail}
        assert http.post("/api/v1/orders", json=order(number)).status_code == 201


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/v1/messages", {"limit": 10**9}), ("/api/v1/messages", {"limit": -1}),
        ("/api/v1/messages", {"since": "1; DROP TABLE message"}), ("/api/v1/mpps", {"limit": 10**9}),
        ("/api/v1/mpps", {"before": -5}), ("/api/v1/mpps", {"before": 10**30}),
    ],
)  # fmt: skip
def test_ht_08_pages_beyond_all_bounds_are_refused(path: str, asked: dict[str, Any], web: Site) -> None:
    with client(web) as http:
        answer = http.get(path, params=asked)
    assert answer.status_code == 422
    assert "sql" not in answer.text.casefold()


def test_ht_08_an_unknown_column_to_sort_by_is_refused_or_changes_nothing(web: Site) -> None:
    asked = {"sort": "1; --", "order_by": "raw"}
    with client(web) as http:
        refused = http.get("/api/v1/messages", params=asked)
        answers = [http.get("/api/v1/mpps", params=more) for more in ({}, asked)]
    assert refused.status_code == 422
    assert "1; --" not in refused.text
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
