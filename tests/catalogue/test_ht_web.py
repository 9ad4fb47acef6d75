"""HT-04 to HT-08: what comes through the web door, and what is answered."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest
from support.orders.documents import order
from support.service.site import Site
from support.web.site_pages import PAGES

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
        told = answer.json()
        assert told.pop("reference")  # of its lines in the log
        assert told == {"title": title, "status": status, "detail": detail}
        assert http.post("/api/v1/orders", json=order(number)).status_code == 201


# --- HT-08, over every list ------------------------------------------------------------------------------------

SIZES = (10**9, 10**30, 0, -1, "1; DROP TABLE message")  # rows of a page
PLACES = (-5, 10**30, "1; DROP TABLE message", "' OR ''='", "[", "\x00")  # where a page begins
ORDERS = {"sort": "1; --", "order_by": "raw", "order": "(SELECT 1)"}  # columns that nobody has
RAW = re.compile(r"sqlalche|psycopg|\bselect\b.{0,200}\bfrom\b|syntax error|traceback|operationalerror", re.I | re.S)
# GETs without numbers of ours in their paths that answer no list, and need more than is asked here
# an explanation, a file, and files that go by their names, which may be any text
NO_LISTS = {"/api/v1/worklist/explain", "/api/v1/audit/export", "/api/v1/fsck/files"}


class ListRoute(NamedTuple):
    """A route that answers rows, by page or by body. `sizes` and `places`: its parameters that bound a page."""

    method: str
    path: str
    sizes: tuple[str, ...]
    places: tuple[str, ...]

    def ask(self, http: httpx.Client, given: Mapping[str, Any]) -> httpx.Response:
        """Ask for rows."""
        if self.method == "get":
            return http.get(self.path, params=dict(given))
        text = json.dumps(self.needed() | dict(given))
        return http.post(self.path, content=text, headers={"Content-Type": "application/json"})

    def needed(self) -> dict[str, Any]:
        """What it does not go without."""
        return {"device": "CT01"} if self.path.endswith("/worklist/ask") else {}


@pytest.fixture(scope="module")
def lists(web: Site) -> list[ListRoute]:
    """All of REST that take the size of a page or its place, by the OpenAPI document; there are exams to list."""
    with client(web) as http:
        for number in range(81, 85):
            assert http.post("/api/v1/orders", json=order(number)).status_code == 201
        document = http.get("/api/openapi.json").json()
    schemas = document["components"]["schemas"]
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "get":
                names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            else:
                body = re.search(r"schemas/(\w+)", json.dumps(operation.get("requestBody", {})))
                names = set(schemas[body[1]].get("properties", {})) if body else set()
            sizes, places = names & {"limit"}, names & {"after", "before", "offset", "since", "until"}
            if (sizes or places) and "{" not in path and path not in NO_LISTS:
                found.append(ListRoute(method, path, tuple(sorted(sizes)), tuple(sorted(places))))
    return found


def test_ht_08_pages_beyond_all_bounds_are_refused(lists: list[ListRoute], web: Site) -> None:
    """Each list says 422 to a size or a place that cannot be, and never what a database said of it."""
    assert len(lists) > 15
    assert {one.path for one in lists} >= {f"/api/v1/{noun}" for noun in ("messages", "mpps", "audit", "holds")}
    with client(web) as http:
        for one in lists:
            cases = [(name, size) for name in one.sizes for size in SIZES]
            cases += [(name, place) for name in one.places for place in PLACES]
            for name, value in cases:
                answer = one.ask(http, {name: value})
                assert answer.status_code in (400, 422), (one, name, value, answer.status_code)
                assert not RAW.search(answer.text), (one, name, value)
                assert "DROP" not in answer.text, (one, name, value)


def test_ht_08_an_unknown_column_to_sort_by_is_refused_or_changes_nothing(lists: list[ListRoute], web: Site) -> None:
    with client(web) as http:
        for one in lists:
            answer = one.ask(http, ORDERS)
            assert not RAW.search(answer.text), one
            assert "1; --" not in answer.text, one
            if answer.status_code == 200:  # an address with more in it than the route takes
                plain = one.ask(http, {})
                assert plain.status_code == 200
                if one.path not in ("/api/v1/audit", "/api/v1/status/rates"):  # they grow by being asked, by time
                    assert answer.json() == plain.json(), one
            else:
                assert answer.status_code == 422, one


PAGE_LISTS = sorted(
    {page.addresses[0].partition("?")[0] for page in PAGES if page.known and "{" not in page.addresses[0]}
    - {"/pulse", "/settings"}  # no rows of the database
)


def test_ht_08_pages_for_people_take_what_is_none_as_nothing(lists: list[ListRoute], web: Site) -> None:
    """What cannot be a place or an order is no place: the first page comes, in its usual order."""
    rows = re.compile(r"<tr\b")
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    listing = 0
    with httpx.Client(base_url=web.web, headers=headers, timeout=60) as http:
        for path in PAGE_LISTS:
            plain = http.get(path)
            if plain.status_code != 200 or "text/html" not in plain.headers["Content-Type"]:
                continue
            listing += 1
            for asked in (
                {"sort": "1; --"},
                {"after": "-1"},
                {"after": "9" * 40},
                {"after": "' OR ''='"},
                {"size": 10**9},
            ):
                answer = http.get(path, params=asked)
                assert answer.status_code == 200, (path, asked)
                if path != "/audit":  # each look at a list of patients is a row more there
                    assert len(rows.findall(answer.text)) == len(rows.findall(plain.text)), (path, asked)
                assert "1; --" not in answer.text, path
    assert listing > 15
    assert len(lists) > 15  # what they show was placed
