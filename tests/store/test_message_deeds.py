"""A person deals with messages: tries them again, processes them again, marks them, tells the RIS again; over HTTP."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from support.orders.journal import order_message, send
from support.service.rest import TOKEN, application, asking
from support.service.visitor import Visitor

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.model.lane import JobKind, JobState
from broker.model.message import JournalFilter, Refusal
from broker.orders.telling.feedback import Notice, OrderEvent
from broker.settings import load
from broker.store import jobs, overview
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.journal import listing
from broker.store.orders import reading
from broker.store.schema import tables

DRAFT = """name = "draft"
extends = "ihe"
[senders]
match = [{ application = "RIS" }]
[values.Modality]
TQQ9 = "CR"
"""
NODE = {
    "name": "ris",
    "kind": "hl7",
    "application": "RIS",
    "facility": "SITE",
    "host": "127.0.0.1",
    "port": 2576,
    "roles": ["ris"],
    "feedback": {"message": "ORM^O01", "version": "2.3.1", "events": ["completed"]},
}


class Desk(Visitor):
    """A browser of somebody with the admin token, beside the database: message 1 is taken, 2 is refused."""

    def __init__(self, database: Database) -> None:
        self.database = database
        send(database, order_message(1), order_message(2, modality="TQQ9"))
        self.app = application(database, load())
        super().__init__(self.app, token=TOKEN)

    def text(self, path: str) -> str:
        answer = self.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return answer.text

    def done(self, path: str, status: int = 303, **form: str) -> str:
        """Send a form; where it leads, or what it shows."""
        answer = self.post(path, form, headers={"Accept": "text/html"})
        assert answer.status_code == status, answer.text
        return answer.headers["location"] if status == 303 else answer.text

    def open(self) -> list[int]:
        page = self.database.read(listing.page, JournalFilter(refusal=Refusal.OPEN), None, 100).result(20)
        return [row.row for row in page.rows]

    def needs(self) -> int:
        midnight = datetime.now(load().zone()).replace(hour=0, minute=0, second=0).timestamp()
        return self.database.read(overview.counts, midnight, "20300101").result(20).refused

    def audited(self, *actions: str) -> list[tuple[str, int, Any]]:
        def look(connection: Connection) -> list[tuple[str, int, Any]]:
            t = tables.audit.c
            query = select(t.action, t.object_id, t.detail).where(t.action.in_(actions)).order_by(t.id)
            return [tuple(row) for row in connection.execute(query)]

        return self.database.read(look).result(20)

    def everything(self) -> dict[str, list[Any]]:
        """All rows of all tables but those that looks leave."""

        def look(connection: Connection) -> dict[str, list[Any]]:
            kept = [table for table in tables.METADATA.sorted_tables if table.name != "audit"]
            return {table.name: connection.execute(select(table)).all() for table in kept}  # type: ignore[misc]

        return self.database.read(look).result(20)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_dealt_with_it_waits_no_more_and_undone_it_waits_again(desk: Desk) -> None:
    assert (desk.open(), desk.needs()) == ([2], 1)
    assert "It waits for a person no more" in desk.text("/messages/2")
    desk.done("/messages/2/deal", reason="typed in by hand")
    assert (desk.open(), desk.needs()) == ([], 0)
    assert "typed in by hand" in desk.text("/messages/2")
    assert "typed in by hand" in desk.text("/messages?state=dealt")
    desk.done("/messages/2/undeal", reason="a mistake")
    assert (desk.open(), desk.needs()) == ([2], 1)
    assert desk.audited("message.dealt", "message.undealt") == [
        ("message.dealt", 2, '{"reason":"typed in by hand"}'),
        ("message.undealt", 2, '{"reason":"a mistake"}'),
    ]


def test_only_a_refused_message_is_dealt_with_and_only_with_a_reason(desk: Desk) -> None:
    before = desk.everything()
    for path, reason in (("/messages/1/deal", "why not"), ("/messages/2/deal", "x"), ("/messages/2/undeal", "no such")):
        desk.done(path, reason=reason)
    desk.done("/messages/77/deal", reason="why not")
    assert desk.everything() == before
    assert desk.audited("message.dealt", "message.undealt") == []


def test_picked_messages_are_dealt_with_together(desk: Desk) -> None:
    send(desk.database, order_message(3, modality="TQQ9"), order_message(4, modality="TQQ9"))
    assert desk.open() == [4, 3, 2]
    path = "/messages/deal?state=open"
    assert "Pick the rows first" in desk.done(path, 422, reason="typed in")
    assert "Say why" in desk.done(path, 422, row="3", reason="x")
    assert "The list has changed meanwhile" in desk.done(path, 409, every="2", reason="typed in")
    assert desk.open() == [4, 3, 2]
    assert desk.done(path, row="3", reason="typed in") == "/messages?state=open"
    assert desk.open() == [4, 2]
    desk.done(path, every="2", reason="typed in")
    assert desk.open() == []


def test_a_try_by_the_mapping_in_force_writes_nothing(desk: Desk) -> None:
    before = desk.everything()
    text = desk.text("/messages/2/try")
    assert "103" in text
    assert "This was a try: nothing was written." in text
    assert desk.everything() == before


def test_what_the_try_says_is_what_is_done(desk: Desk) -> None:
    before = desk.everything()
    tried = desk.done("/messages/2/try", 200, draft=DRAFT)
    assert "New worklist entry" in tried
    assert re.search(r"<b>Modality</b> <ins><span class=\"unseen\">after: </span>CR</ins>", tried)
    assert desk.everything() == before
    assert "Say why" in desk.done("/messages/2/apply", 422, draft=DRAFT, reason="x")
    assert desk.everything() == before
    assert desk.done("/messages/2/apply", draft=DRAFT, reason="mapping corrected") == "/messages/2"
    (order,) = [row for row in desk.everything()["service_request"] if row.accession == "A2"]
    loaded = desk.database.read(reading.load_order, order.id).result(20)
    assert loaded is not None
    assert [step.attributes["Modality"] for step in loaded.steps()] == ["CR"]
    assert (desk.open(), desk.needs()) == ([], 0)
    assert desk.audited("message.applied") == [("message.applied", 2, '{"reason":"mapping corrected"}')]
    shown = desk.text("/messages/2")
    assert "mapping corrected" in shown
    assert re.search(r"A2: created", re.sub(r"<[^>]+>", "", shown))


def test_a_try_shows_what_differs_from_what_is_stored(desk: Desk) -> None:
    send(desk.database, order_message(1, control_id="LATER", modality="MR"))
    tried = desk.text("/messages/1/try")
    assert "Worklist entry" in tried
    assert re.search(r"<b>Modality</b> <del>.*?MR</del> <ins>.*?CT</ins>", tried)


@pytest.mark.parametrize("draft", ["x = ", "name = 1", 'name = "d"\nextends = "nothing"'])
def test_a_draft_that_is_none_is_told_beside_it(desk: Desk, draft: str) -> None:
    before = desk.everything()
    for path in ("/messages/2/try", "/messages/2/apply"):
        assert 'id="draft-wrong"' in desk.done(path, 422, draft=draft, reason="why not")
    assert 'id="profile-wrong"' in desk.done("/messages/2/try", 422, profile="nothing")
    assert desk.everything() == before


def test_a_message_of_which_the_head_was_kept_cannot_be_tried(desk: Desk) -> None:
    cut = update(tables.message).where(tables.message.c.id == 2).values(note="head-of:99999")
    desk.database.execute(lambda connection: connection.execute(cut))
    assert "Only the beginning of this message was kept" in desk.text("/messages/2/try")
    assert desk.post("/messages/2/apply", {"reason": "why not"}).status_code == 404
    assert desk.get("/messages/77/try").status_code == 404


def told(database: Database, state: JobState, error: str = "") -> int:
    """A job that tells the RIS that order 1 is completed; its row."""
    notice = Notice(order=1, event=OrderEvent.COMPLETED, status="CM", result="R", control_id="OLD", at=1_900_000_000.0)

    def put(connection: Connection) -> int:
        job = NewJob(
            kind=JobKind.FEEDBACK, lane="feedback:ris", subject=1, detail=notice.document(), group_key="order:1"
        )
        jobs.enqueue(connection, [job], 1_900_000_000.0)
        ended = 1_900_000_001.0 if state is JobState.DONE else None
        values = {"state": state, "last_error": error, "done_at": ended, "failures": 3}
        connection.execute(update(tables.job).values(**values))
        return int(connection.execute(select(tables.job.c.id)).scalar_one())

    return database.execute(put)


@pytest.fixture
def ris(desk: Desk) -> Desk:
    with asking(desk.app) as api:
        assert api.post("/nodes", json={"node": [NODE]}).status_code == 201
    return desk


@pytest.mark.parametrize(
    ("state", "error", "word"),
    [(JobState.DONE, "", "heard"), (JobState.HELD, "AE-204", "held"), (JobState.READY, "", "waits")],
)
def test_did_the_ris_hear_that_it_is_done(ris: Desk, state: JobState, error: str, word: str) -> None:
    """Question 7 of the support questions."""
    told(ris.database, state, error)
    text = ris.text("/messages?exam=1")
    assert "What the RIS is told" in text
    assert word in text
    assert ("Send again…" in text) == (state is not JobState.READY)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.HELD, JobState.DISCARDED])
def test_the_ris_is_told_again_with_another_control_id(ris: Desk, state: JobState) -> None:
    job = told(ris.database, state)
    assert ris.done(f"/messages/feedback/{job}/again", reason="x", exam="1") == "/messages?exam=1"
    assert ris.everything()["job"][0].state == state
    assert ris.done(f"/messages/feedback/{job}/again", reason="it was restored") == "/messages?exam=1"
    (row,) = ris.everything()["job"]
    assert (row.state, row.failures, row.done_at) == (JobState.READY, 0, None)
    assert '"event":"completed"' in row.detail
    assert "OLD" not in row.detail
    ((action, order, detail),) = ris.audited("order.told-again")
    assert (action, order) == ("order.told-again", 1)
    assert "it was restored" in detail
    assert ris.done(f"/messages/feedback/{job}/again", reason="once more", exam="1") == "/messages?exam=1"
    assert len(ris.audited("order.told-again")) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_of_another_kind_is_not_sent_again(ris: Desk) -> None:
    told(ris.database, JobState.DONE)
    other = update(tables.job).values(kind="deliver")
    ris.database.execute(lambda connection: connection.execute(other))
    assert ris.done("/messages/feedback/1/again", reason="why not") == "/messages"
    assert ris.done("/messages/feedback/99/again", reason="why not", exam="x") == "/messages"


def test_rest_does_what_the_pages_do(ris: Desk) -> None:
    job = told(ris.database, JobState.HELD, "AE-204")
    with asking(ris.app) as api:
        assert api.post("/messages/dealt", json={"rows": [1, 2, 77], "note": "typed in"}).json() == {"dealt": 1}
        (one,) = api.get("/messages?state=dealt").json()
        assert (one["row"], one["dealt"]["actor"], one["dealt"]["note"]) == (2, "api", "typed in")
        assert api.post("/messages/2/undealt", json={"reason": "a mistake"}).status_code == 204
        assert api.post("/messages/2/undealt", json={"reason": "a mistake"}).status_code == 409
        (shown,) = api.get("/feedback/1").json()
        assert (shown["job"], shown["node"], shown["event"], shown["state"]) == (job, "ris", "completed", "held")
        assert api.post("/feedback/search", json={"AccessionNumber": "A1"}).json() == [shown]
        assert api.post("/feedback/search", json={"AccessionNumber": "A77"}).status_code == 404
        assert api.post(f"/feedback/{job}/again", json={"reason": "restored"}).status_code == 204
        assert api.post(f"/feedback/{job}/again", json={"reason": "restored"}).status_code == 409
        assert api.post("/messages/dealt", json={"rows": [2], "note": "x"}).status_code == 422
        body = {"rows": [2], "toml": DRAFT, "write": True, "reason": "mapping corrected"}
        (again,) = api.post("/messages/replay", json=body).json()
        assert (again["code"], again["new_steps"]) == ("AA", 1)
    assert ris.audited("message.applied") == [("message.applied", 2, '{"reason":"mapping corrected"}')]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", UserRole)
def test_who_may_do_what(desk: Desk, role: UserRole) -> None:
    visitor = Visitor(desk.app, token=desk.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text)
    messages, mappings = Right.MESSAGES in RIGHTS[role], Right.MAPPINGS in RIGHTS[role]
    assert visitor.get("/messages/2/try").status_code == (200 if messages and mappings else 403)
    for path, may in (("/messages/2/apply", messages and mappings), ("/messages/2/deal", messages)):
        assert (visitor.post(path, {"reason": "why not"}).status_code == 403) == (not may), path
    assert visitor.post("/messages/feedback/1/again", {"reason": "why not"}).status_code == (303 if messages else 403)


def test_each_try_is_a_row_of_the_trail(desk: Desk) -> None:
    desk.text("/messages/2/try")
    desk.app.state.audit.flush()
    ((action, row, detail),) = desk.audited("message.tried")
    assert (action, row) == ("message.tried", 2)
    assert "GET /messages/{row:int}/try" in detail
