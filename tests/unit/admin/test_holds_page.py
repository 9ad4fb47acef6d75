"""The page of held work as HTTP serves it: pages, picked rows, all that match, and what changes nothing."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.service.rest import TOKEN, application
from support.web.held import hold_jobs, hold_object, hold_objects, object_states, states

from broker.admin.web.hold_words import told
from broker.routing.holding import Ending
from broker.settings import load
from broker.store.db.database import Database


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    opened = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    hold_jobs(opened, 120)
    yield opened
    opened.close()


def ask(database: Database, path: str, **form: str | list[str]) -> httpx.Response:
    """A GET, or a POST of a form whose answer is followed."""

    async def run() -> httpx.Response:
        known = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
        transport = httpx.ASGITransport(app=application(database, load(None)))
        client = httpx.AsyncClient(transport=transport, base_url="http://b", headers=known, follow_redirects=True)
        async with client as http:
            return await (http.post(path, data=form) if form else http.get(path))

    return asyncio.run(run())


def rows(answer: httpx.Response) -> list[str]:
    return re.findall(r'name="row" value="(\d+)"', answer.text)


def test_pages_lead_on_and_back(database: Database) -> None:
    seen, path = [], "/holds"
    while path:
        answer = ask(database, path)
        seen += rows(answer)
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == 120
    assert 'rel="prev"' in answer.text
    assert "<b>120</b> found" in answer.text


def test_picked_rows_are_tried_again(database: Database) -> None:
    first, second, *_ = rows(ask(database, "/holds"))
    answer = ask(database, "/holds/release", row=[first, second])
    assert "2 jobs are tried again." in answer.text
    assert states(database).count("ready") == 2
    assert "0 jobs are tried again." in ask(database, "/holds/release", row=first).text


def test_all_that_match_are_given_up_with_a_reason(database: Database) -> None:
    path = "/holds/discard?error=0xA700"
    assert "Say why, in 3 to 500 characters." in ask(database, path, every="120", reason="x").text
    assert "The list has changed" in ask(database, path, every="119", reason="sent by hand").text
    assert states(database).count("held") == 120
    assert "120 jobs were given up." in ask(database, path, every="120", reason="sent by hand").text
    assert states(database).count("discarded") == 120
    assert "Nothing matches" in ask(database, "/holds?error=0xA700").text
    assert "Nothing is held" in ask(database, "/holds").text


@pytest.mark.parametrize(
    "form",
    [{"x": "1"}, {"row": "x"}, {"row": "9" * 80}, {"every": "-1"}, {"every": "1e3"}, {"every": "²"}, {"row": "0"}],
)
def test_what_names_no_row_changes_nothing(database: Database, form: dict[str, str]) -> None:
    answer = ask(database, "/holds/release", **form)
    assert answer.status_code in (200, 422)
    assert set(states(database)) == {"held"}


# --- objects beside jobs -----------------------------------------------------------------------------------


@pytest.fixture
def mixed(database: Database) -> Database:
    hold_objects(database, 60)
    hold_jobs(database, 60)
    return database


def keys(answer: httpx.Response) -> list[str]:
    return re.findall(r'name="row" value="(\w+)"', answer.text)


@pytest.mark.parametrize(("path", "count"), [("/holds", 120), ("/holds/objects", 60)])
def test_pages_of_objects_lead_on_to_the_last(mixed: Database, path: str, count: int) -> None:
    seen: list[str] = []
    while path and len(seen) < 200:
        answer = ask(mixed, path)
        seen += keys(answer)
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == count


def test_objects_and_jobs_are_ended_together(mixed: Database) -> None:
    first = ask(mixed, "/holds?error=no-rule-matched")
    assert (len(keys(first)), "<b>60</b> found" in first.text) == (50, True)
    assert "no rule says where it goes" in first.text
    picked = [keys(first)[0], keys(ask(mixed, "/holds?error=0xA700"))[0]]
    answer = ask(mixed, "/holds/discard", row=picked, reason="phantom")
    assert "Jobs: 1. Objects on their way: 0. With their studies: 0. Waiting: 0. Discarded: 1." in answer.text
    assert (states(mixed).count("discarded"), object_states(mixed).count("discarded")) == (1, 1)
    assert "The list has changed" in ask(mixed, "/holds/release", every="119").text
    answer = ask(mixed, "/holds/release", every="118")
    assert "Jobs: 59. Objects on their way: 0. With their studies: 0. Waiting: 59." in answer.text
    assert (states(mixed).count("ready"), object_states(mixed).count("held")) == (59, 59)


def test_a_discard_is_undone_as_long_as_the_bytes_are_kept(mixed: Database) -> None:
    ask(mixed, "/holds/objects/discard", row=keys(ask(mixed, "/holds/objects"))[:3], reason="phantom")
    page = ask(mixed, "/holds/objects?state=discarded")
    assert "Kept until" in page.text
    first, second, _ = keys(page)
    assert "1 object was deleted." in ask(mixed, "/holds/objects/purge", row=first, reason="at once").text
    assert "1 object is not kept any more." in ask(mixed, "/holds/objects/undo", row=first, reason="too late").text
    assert "1 object waits." in ask(mixed, "/holds/objects/undo", row=second, reason="in time").text
    assert sorted(set(object_states(mixed))) == ["discarded", "held", "purged"]


def test_what_became_of_objects_is_told_of_each_ending() -> None:
    for ending in Ending:
        assert told(Counter({ending: 2})).values == {"n": 2}
    assert told(Counter({Ending.PURGED: 1, Ending.GONE: 2})).values["gone"] == 2


@pytest.mark.parametrize(
    ("path", "change"), [("/holds", "/holds/discard"), ("/holds/objects", "/holds/objects/discard")]
)
def test_a_study_is_looked_for_without_standing_in_the_address(mixed: Database, path: str, change: str) -> None:
    hold_object(mixed, 70, 1_796_094_900.0, "2026-12-01T08:00:00", StudyInstanceUID="2.999.70")
    found = ask(mixed, f"{path}/find", study="2.999.70", device="CT01")
    assert "<b>1</b> found" in found.text
    assert "2.999.70" not in str(found.url)
    assert "device=CT01" in str(found.url)
    assert 'value="2.999.70"' in found.text
    assert "<b>1</b> found" not in ask(mixed, f"{path}?study=2.999.70").text
    told = "This search is no longer known here"
    assert told not in found.text
    assert told in ask(mixed, f"{path}?find=of-somebody-else").text
    every = "121" if path == "/holds" else "61"
    lost = ask(mixed, f"{change}?find=of-somebody-else", every=every, reason="a phantom")
    assert (lost.status_code, "The list has changed" in lost.text) == (409, True)
    assert object_states(mixed).count("held") == 61
    assert ask(mixed, f"{change}?{found.url.query.decode()}", every="1", reason="a phantom").status_code == 200
    assert (object_states(mixed).count("discarded"), states(mixed).count("discarded")) == (1, 0)
