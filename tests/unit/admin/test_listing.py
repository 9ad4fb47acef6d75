"""Tables: what a query asks, how pages follow each other, and that nothing from outside gets through."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from broker.admin.web.listing import CAP, Column, Filter, Listing, Table
from broker.admin.web.words import Sentence

WORD = Sentence("Now")
TABLE = Table(
    path="/rows",
    region="rows",
    title=WORD,
    columns=(Column(name="at", title=WORD, sortable=True), Column(name="what", title=WORD)),
    filters=(
        Filter(name="q", title=WORD, kind="search"),
        Filter(name="day", title=WORD, kind="date"),
        Filter(name="state", title=WORD, kind="choice", choices=(("held", WORD), ("done", WORD))),
    ),
    sort="-at",
    size=3,
)


def page(rows: range, query: dict[str, str]) -> Listing[int]:
    """A page of numbers, each its own key, as a store would find them."""
    asked = TABLE.ask(query)
    left = [row for row in rows if not asked.after or row > int(asked.after)]
    return asked.filled(left[: TABLE.size + 1], min(len(rows), CAP + 1), str)


def query_of(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


def test_pages_follow_each_other_and_lead_back() -> None:
    rows = range(1, 9)
    first = page(rows, {"q": "ct 1", "state": "held"})
    assert (list(first.rows), first.previous) == ([1, 2, 3], "")
    second = page(rows, query_of(first.following))
    assert list(second.rows) == [4, 5, 6]
    third = page(rows, query_of(second.following))
    assert (list(third.rows), third.following) == ([7, 8], "")
    assert page(rows, query_of(third.previous)).rows == second.rows
    assert query_of(second.previous) == {"q": "ct 1", "state": "held"}


def test_the_way_back_has_an_end() -> None:
    rows, link = range(1, 200), "/rows"
    for _ in range(40):
        link = page(rows, query_of(link)).following
    assert query_of(link)["after"].count(",") == 24
    assert list(page(rows, query_of(link)).rows) == [121, 122, 123]


def test_exactly_one_page_has_no_next() -> None:
    assert page(range(1, 4), {}).following == ""
    assert list(page(range(1, 1), {}).rows) == []


@pytest.mark.parametrize(("rows", "counted", "capped"), [(0, 0, False), (CAP, CAP, False), (CAP + 5, CAP, True)])
def test_counts_end_at_a_limit(rows: int, counted: int, capped: bool) -> None:
    listing = page(range(rows), {})
    assert (listing.counted, listing.capped) == (counted, capped)


@pytest.mark.parametrize("after", ["1,2,<script>", "' or 1=1", "x" * 81, ",", "1,,2", "\0", "é"])
def test_a_key_that_no_page_gave_leads_to_the_first_page(after: str) -> None:
    assert TABLE.ask({"after": after}).after == ""


def test_a_filter_that_cannot_be_used_is_told_and_filters_nothing() -> None:
    asked = TABLE.ask({"q": "x" * 201, "day": "1.12.2026", "state": "lost", "other": "x"})
    assert asked.values == {}
    assert sorted(asked.errors) == ["day", "q", "state"]
    assert TABLE.ask({"q": "  ", "day": "2026-12-01", "state": "done"}).values == {"day": "2026-12-01", "state": "done"}


def test_columns_sort_and_turn() -> None:
    asked = TABLE.ask({"after": "7"})
    assert asked.direction("at") == "descending"
    assert asked.turned("at") == "/rows?sort=at"
    up = TABLE.ask(query_of(asked.turned("at")))
    assert (up.sort, up.direction("at"), up.turned("at")) == ("at", "ascending", "/rows")
    assert TABLE.ask({"sort": "what"}).sort == "-at"
    assert TABLE.ask({"sort": "-what; drop"}).sort == "-at"
