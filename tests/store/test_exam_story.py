"""The story of an exam: messages, changes, sightings, images, deliveries, news for the RIS; each with its source."""

from __future__ import annotations

import time
from datetime import UTC
from typing import Any

from sqlalchemy import insert, select
from support.orders.documents import order
from support.service.rest import application, asking

from broker.exams.entries import EntryKind, SourceKind, StoryEntry
from broker.exams.sightings import Sightings
from broker.exams.story import tell
from broker.model.lane import JobState
from broker.model.wording import in_english
from broker.settings import load
from broker.site.directory import Directory
from broker.status.causes import reason
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables
from broker.worklist.explain import memory, recall
from broker.worklist.explain.verdict import supposed

SECRET = b"s" * 32


def place(database: Database) -> int:
    with asking(application(database, load())) as client:
        return int(client.post("/orders", json=order(1)).json()["order"]["id"])


def story(database: Database, row: int = 1) -> list[StoryEntry]:
    looking = Sightings(directory=Directory(), settings=load(), secret=SECRET)
    told = database.read(tell, row, looking).result(20)
    assert told is not None
    return list(told.entries)


def said(entries: list[StoryEntry]) -> list[str]:
    return [entry.text.english(UTC, 0.0) for entry in entries]


def test_an_order_by_hand_and_its_end(database: Database) -> None:
    row = place(database)
    with asking(application(database, load())) as client:
        assert client.request("DELETE", f"/orders/{row}").status_code == 200
    entries = story(database, row)
    assert said(entries)[0] == "The order came."
    assert "The order was called off." in said(entries)
    assert any("was called off" in text and text.startswith("Step ") for text in said(entries))
    assert entries[0].kind is EntryKind.CHANGE
    assert entries[0].source is not None
    assert entries[0].source.kind is SourceKind.AUDIT
    looking = Sightings(directory=Directory(), settings=load(), secret=SECRET)
    assert database.read(tell, 99, looking).result(20) is None


def test_what_a_device_saw(database: Database) -> None:
    """The query came while the step was planned: it saw it, whatever became of the step since."""
    row = place(database)
    asked = supposed("CT01").recalled
    assert asked is not None
    at = time.time() + 1

    def remember(connection: Any) -> None:
        entry = {
            "at": at, "first": at, "times": 1, "count": 1, "status": "0000", "duration": 0.1, "comment": "",
            "asked": recall.encode(asked.query, SECRET),
        }  # fmt: skip
        memory.keep(connection, {("CT01", "10.0.0.1"): (1, [entry])}, at)

    database.submit(remember).result(20)
    seen = [entry for entry in story(database, row) if entry.kind is EntryKind.QUERY]
    assert said(seen) == ["CT01 asked for its worklist, and this exam fits what it asked."]
    assert seen[0].at == at


def test_images_deliveries_and_news(database: Database) -> None:
    row = place(database)
    now = time.time()

    def add(connection: Any) -> None:
        study = connection.execute(select(tables.requested_procedure.c.study_instance_uid)).scalar_one()
        event = connection.execute(select(tables.step_event.c.id)).scalars().first()
        blank = {"sop_class_uid": "1.2", "transfer_syntax_uid": "1.2", "series_instance_uid": "1.2.3",
                 "called_ae": "BROKER", "peer": "", "path": "", "data_offset": 0, "data_length": 1,
                 "digest": b"x", "rules_version": 1, "trace": "", "facts": "{}", "version": 1}  # fmt: skip
        for number, state in enumerate(("routed", "routed", "held"), 1):
            connection.execute(
                insert(tables.instance).values(
                    **blank,
                    id=number,
                    sop_instance_uid=f"1.2.{number}",
                    study_instance_uid=study,
                    calling_ae="CT01",
                    received_at=now + number,
                    state=state,
                    reason="no-rule-matched" if state == "held" else "",
                )
            )
        told = {"event": "completed", "order": row}
        new = [
            NewJob(kind="deliver", lane="deliver:pacs", subject=1, detail={}),
            NewJob(kind="deliver", lane="deliver:pacs", subject=2, detail={}),
            NewJob(kind="deliver", lane="deliver:cad", subject=2, detail={}),
            NewJob(kind="deliver", lane="deliver:old", subject=2, detail={}),
            NewJob(kind="feedback", lane="feedback:ris", subject=event, detail=told),
        ]
        jobs.enqueue(connection, new, now + 5)
        job = tables.job
        connection.execute(job.update().where(job.c.subject == 1).values(state=JobState.DONE, done_at=now + 9))
        warned = {"state": JobState.DONE, "done_at": now + 9, "last_error": "status-B000"}
        connection.execute(job.update().where(job.c.lane == "deliver:cad").values(**warned))
        made = {"state": JobState.DONE, "done_at": now + 9, "last_error": "converted-explicit-le-to-implicit-le"}
        connection.execute(job.update().where(job.c.lane == "deliver:old").values(**made))
        held = {"state": JobState.HELD, "last_error": "AE-207"}
        connection.execute(job.update().where(job.c.kind == "feedback").values(**held))

    database.submit(add).result(20)
    entries = story(database, row)
    by_text = dict(zip(said(entries), entries, strict=True))
    assert "2 images came from CT01." in by_text
    held = by_text["1 image from CT01 is held: a person must decide."]
    assert (held.code, held.source and held.source.kind) == ("no-rule-matched", "held-images")
    assert by_text["1 image was sent to pacs."].tone == "ok"
    assert "1 image waits for pacs." in by_text
    warned = by_text["1 image was sent to cad, not without a warning."]
    assert (warned.tone, in_english(reason(warned.code))) == (
        "warn", "it took it with a warning: it has changed values (status B000)",
    )  # fmt: skip
    made = by_text["1 image was sent to old."]
    assert (made.tone, in_english(reason(made.code))) == (
        "ok", "it took it converted from Explicit VR Little Endian to Implicit VR Little Endian",
    )  # fmt: skip
    news = by_text["ris did not take the news that the exam is completed: a person must decide."]
    assert (news.kind, news.code) == (EntryKind.FEEDBACK, "AE-207")
    assert news.source is not None
    assert (news.source.kind, news.source.key) == (SourceKind.HELD, "feedback:ris")


def test_rest_tells_it_in_english(database: Database) -> None:
    row = place(database)
    with asking(application(database, load())) as client:
        told = client.get(f"/orders/{row}/story")
        assert told.status_code == 200, told.text
        assert told.json()["document"]["patient"]["PatientID"] == "QZPAT1"
        assert told.json()["entries"][0]["text"] == "The order came."
        assert told.json()["worklists"][0]["shown"] is False
        assert client.get("/orders/999/story").status_code == 404
        found = client.post("/orders/find", json={"name": "kathe mull", "day": "20300312"}).json()
        assert [(exam["order"], exam["AccessionNumber"]) for exam in found["exams"]] == [(row, "A1")]
        assert (found["after"], found["total"], found["counted_all"], found["not_findable_yet"]) == (None, 1, True, 0)
        assert client.post("/orders/find", json={"name": "^"}).status_code == 422
        assert client.post("/orders/find", json={"day": "2030"}).status_code == 422
        assert client.post("/orders/find", json={"after": "x"}).status_code == 422
