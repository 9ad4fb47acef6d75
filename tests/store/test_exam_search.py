"""Finding exams by what people type, on both databases: names, numbers, days, stations, states, texts, pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from support.orders.documents import order
from support.service.rest import application, asking

from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.model.exam import ExamPage, Place
from broker.orders.lookup.patient_terms import words_of
from broker.orders.term_walk import make_findable
from broker.settings import load
from broker.store.db import documents
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.exams import leads, search

NAMES = (
    "Wałęsa^Lech",
    "Müller-Lüdenscheidt^Käthe",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "O'Neil^Mary^^Dr.",
    "Smith^Ann",
)


def exam(number: int, name: str, **more: Any) -> dict[str, Any]:
    """An order of a patient with a name; `step` and `patient` change what they say."""
    step, patient = more.pop("step", {}), more.pop("patient", {})
    made = order(number, step=step, **more)
    made["patient"] |= {"PatientName": name, **patient}
    return made


def place(database: Database, *orders: dict[str, Any]) -> None:
    with asking(application(database, load())) as client:
        for document in orders:  # one after the other: their numbers are in this sequence
            assert client.post("/orders", json=document).json()["outcome"] == "created"


def found(database: Database, after: Place | None = None, limit: int = 50, **wish: Any) -> list[str]:
    """Accession numbers of the exams that fit."""
    return [line.accession for line in page(database, after, limit, **wish).lines]


def page(database: Database, after: Place | None = None, limit: int = 50, **wish: Any) -> ExamPage:
    return database.read(finding.find, ExamWish(**wish), after, limit).result(30)


@pytest.fixture
def named(database: Database) -> Database:
    """A database with an exam for each name; the words of all patients are written."""
    place(database, *(exam(number, name) for number, name in enumerate(NAMES, 1)))
    assert make_findable(Pace(database)) == len(NAMES)
    return database


@pytest.mark.parametrize(
    ("typed", "accessions"),
    [
        ("walesa", ["A1"]),
        ("WAŁĘSA lech", ["A1"]),
        ("lech", ["A1"]),  # any component
        ("lech wal", ["A1"]),  # in any order
        ("Wałęsa^Lech", ["A1"]),
        ("Wałęsa, Lech", ["A1"]),
        ("muller", ["A2"]),
        ("lüden", ["A2"]),
        ("muller-ludenscheidt", ["A2"]),
        ("山田", ["A3"]),
        ("太", ["A3"]),
        ("山田太郎", ["A3"]),
        ("やまだ", ["A3"]),
        ("oneil", []),
        ("o'neil", ["A4"]),
        ("neil mary", ["A4"]),
        ("alesa", []),  # beginnings only
        ("walesa ann", []),
        ("%", []),
        ("_", []),
    ],
)
def test_names(named: Database, typed: str, accessions: list[str]) -> None:
    assert found(named, name=typed) == accessions


def test_numbers_and_identifiers(database: Database) -> None:
    filler = "FillerOrderNumberImagingServiceRequest"
    place(database, exam(1, "A^B", **{filler: "F77"}), exam(21, "C^D"), exam(22, "E^F"))
    assert found(database, number="A2") == ["A22", "A21"]
    assert found(database, number="A21") == ["A21"]
    assert found(database, number="F77") == ["A1"]
    assert found(database, number="F7") == []
    assert found(database, number="PL22") == ["A22"]
    assert found(database, patient_id="QZPAT2") == ["A22", "A21"]
    assert found(database, patient_id="QZPAT1") == ["A1"]
    assert found(database, born="19760229") == ["A22", "A21", "A1"]
    assert found(database, born="19760228") == []
    assert found(database, born="19760229", name="c d") == ["A21"]


def test_what_is_said_of_steps_is_said_of_one(database: Database) -> None:
    both = exam(1, "A^B")
    first = both["procedures"][0]["steps"][0]
    both["procedures"][0]["steps"].append(
        {**first, "Modality": "MR", "ScheduledStationAETitle": ["MR01"], "ScheduledProcedureStepStartDate": "20300401"}
    )
    late = {"ScheduledProcedureStepStartTime": "08:00"}
    place(database, both, exam(2, "C^D", step=late))
    assert found(database, station="CT01", day="20300312") == ["A2", "A1"]  # by time
    assert found(database, station="CT01", day="20300401") == []
    assert found(database, modality="mr") == ["A1"]
    assert found(database, modality="MR", station="CT01") == []
    assert found(database, day="20300401") == ["A1"]
    assert found(database, state="open") == ["A2", "A1"]
    assert found(database, state="ended") == []
    with asking(application(database, load())) as client:
        row = page(database, number="A2").lines[0].order
        assert client.request("DELETE", f"/orders/{row}").status_code == 200
    assert found(database, state="canceled") == ["A2"]
    assert found(database, state="open") == ["A1"]


def test_texts(database: Database) -> None:
    knee = exam(1, "A^B")
    knee["visit"] |= {"ReferringPhysicianName": "Grøn^Søren"}
    knee["procedures"][0] |= {"RequestedProcedureDescription": "Kniegelenk, Schädel nativ"}
    knee["procedures"][0].pop("RequestedProcedureCodeSequence")
    place(database, knee, exam(2, "C^D"))
    assert found(database, procedure="gelenk") == ["A1"]
    assert found(database, procedure="schadel knie") == ["A1"]
    assert found(database, procedure="thorax") == ["A2"]
    assert found(database, referring="soren") == ["A1"]
    assert found(database, referring="soren", procedure="thorax") == []


@given(st.text(st.one_of(st.sampled_from("aä^=,.'’-ﬁ℃＝\"\\\x1f\u0301 "), st.characters(codec="utf-8")), max_size=12))
def test_no_word_of_a_text_is_hidden_by_the_look_at_raw_texts(text: str) -> None:
    assert not finding.text_filter(["knee"], []).may("{}")
    raw = documents.encode({"RequestedProcedureDescription": text})
    for word in words_of(text):
        assert finding.text_filter([word], []).may(raw)


@pytest.mark.parametrize("few", [leads.FEW, 0], ids=["few", "walked"])
@pytest.mark.parametrize("wish", [{}, {"name": "mül"}, {"day": "20300312"}, {"station": "CT01"}, {"state": "open"}])
def test_pages_have_every_exam_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, wish: dict[str, str]
) -> None:
    """However the search is carried out."""
    monkeypatch.setattr(leads, "FEW", few)
    monkeypatch.setattr(leads, "OF_A_DAY", few)
    monkeypatch.setattr(search, "LOOK", 4)
    monkeypatch.setattr(search, "PATIENCE", float(few))  # 0: a page ends after one look
    times = ({"ScheduledProcedureStepStartTime": f"{8 + number % 3:02d}:00"} for number in range(1, 12))
    place(database, *(exam(number, "Müller^Anna", step=step) for number, step in enumerate(times, 1)))
    seen: list[str] = []
    after: Place | None = None
    while True:
        one = page(database, after, 3, **wish)
        seen += [line.accession for line in one.lines]
        after = one.after
        if after is None:
            break
        assert finding.place_of(finding.place_text(after)) == after
    assert sorted(seen) == sorted(f"A{number}" for number in range(1, 12))
    if not (wish.get("day") and few):
        assert seen == [f"A{number}" for number in range(11, 0, -1)]


def test_a_walk_ends_and_says_where(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rare and has no index of its own is looked for page by page: none takes long."""
    monkeypatch.setattr(search, "LOOK", 2)
    monkeypatch.setattr(search, "FAR", 4)
    monkeypatch.setattr(search, "PATIENCE", 60.0)
    place(database, exam(1, "A^B", modality="MR"), *(exam(number, "C^D") for number in range(2, 8)))
    first = page(database, modality="MR")
    assert (first.lines, first.whole) == ((), False)
    second = page(database, first.after, modality="MR")
    assert [line.accession for line in second.lines] == ["A1"]
    assert second.after is None


def test_a_changed_name_and_a_merge(named: Database) -> None:
    with asking(application(named, load())) as client:
        changed = exam(1, "Walesa-Nowak^Lech")
        assert client.post("/orders", json=changed).json()["outcome"] == "updated"
    assert found(named, name="nowak") == ["A1"]
    assert found(named, name="wał") == ["A1"]
    with asking(application(named, load())) as client:
        changed = exam(1, "Nowak^Lech")
        client.post("/orders", json=changed)
    assert found(named, name="wał") == []


def test_new_patients_are_found_before_and_after_their_words_are_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(
        database,
        *(exam(number, name, patient={"PatientBirthDate": "19700317"}) for number, name in enumerate(NAMES, 1)),
    )
    wishes = [{"name": name} for name in ("walesa", "lech wał", "山田太郎", "やま", "oneil", "neil o", "x")]
    wishes += [{"name": "ann smith", "born": "19700317"}, {"name": "smi", "born": "19700318"}, {"born": "19700317"}]
    before = [found(database, **wish) for wish in wishes]
    assert before == [["A1"], ["A1"], ["A3"], ["A3"], [], ["A4"], [], ["A5"], [], ["A5", "A4", "A3", "A2", "A1"]]
    with monkeypatch.context() as patch:
        patch.setattr(leads, "COMMON", -1)  # a search of two common words leads nowhere and walks
        assert [found(database, **wish) for wish in wishes] == before
    place(
        database, exam(6, NAMES[0], patient={"PatientID": "QZPAT1", "PatientBirthDate": "19700317"})
    )  # no new patient
    assert make_findable(Pace(database)) == len(NAMES)
    place(database, exam(7, "Wałęsa^Jan", patient={"PatientBirthDate": "19430929"}))
    assert found(database, name="walesa") == ["A7", "A6", "A1"]  # words of the one, attributes of the other
    assert found(database, name="walesa", born="19430929") == ["A7"]


def test_who_came_before_the_newest_that_are_looked_at_is_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "LOOK", 2)
    place(database, *(exam(number, name) for number, name in enumerate(NAMES, 1)))
    assert [found(database, name=name) for name in ("walesa", "oneill", "o neil", "smith")] == [[], [], ["A4"], ["A5"]]
    assert database.read(finding.unfindable).result(20) == 3
    make_findable(Pace(database))
    assert found(database, name="walesa") == ["A1"]
    assert database.read(finding.unfindable).result(20) == 0


def test_names_of_patients_of_before_come_in_small_steps(named: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(connection: Any) -> None:
        connection.execute(text("DELETE FROM patient_term"))
        connection.execute(text("UPDATE patient SET findable = false"))

    monkeypatch.setattr(finding, "LOOK", 0)
    named.submit(forget).result(20)
    assert found(named, name="walesa") == []
    assert named.read(finding.unfindable).result(20) == len(NAMES)
    with asking(application(named, load())) as client:  # who is written meanwhile is not written over
        client.post("/orders", json=exam(5, "Jones^Ann"))
    pace = Pace(named)
    assert make_findable(pace) == len(NAMES) - 1
    assert make_findable(pace) == 0
    assert found(named, name="walesa") == ["A1"]
    assert found(named, name="jones") == ["A5"]
    assert found(named, name="smith") == []
    assert named.read(finding.unfindable).result(20) == 0
