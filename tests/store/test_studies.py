"""Studies are found, each delivery of them is counted once, and their objects are sent again. On both databases."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError
from support.delivery.receiving import NODES, STUDY, ReceptionPlace
from support.dicom.objects import ct_slice
from support.mpps.performed import unscheduled
from support.mpps.recorded import begun
from support.store.plans import indexed, plans

from broker.delivery.rerouting import RerouteEnding, reroute
from broker.delivery.resending import ResendEnding, ResentStudy, resend
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent, StoreUnavailable
from broker.model.lane import JobState
from broker.queue.steering import QueueSteering, Steering
from broker.routing import recording
from broker.routing.arrivals import registering as known_studies
from broker.routing.arrivals.registering import KnownStudies
from broker.routing.reception import IncomingObject, Reception
from broker.store import jobs
from broker.store.db import newest
from broker.store.db.database import Database
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import decisions, instances
from broker.store.images.instances import NewInstance
from broker.store.mpps import objects as mpps_objects
from broker.store.queued import waiting_jobs
from broker.store.schema import tables
from broker.store.studies import counting, finding, objects, registering, summaries
from broker.store.studies.counting import DeliveryState
from broker.store.studies.finding import StudyFilter
from broker.store.studies.registering import StudyArrival, keys_of

NOW = 1_900_000_000.0
WHO = Steering(actor="user:anna", at=NOW, address="192.0.2.9", reason="the disk was lost")
TO_PACS = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}]}
TO_NOBODY: dict[str, Any] = {"rule": []}
_t = tables.job


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "spool")
    made.in_force(TO_PACS, 2)
    yield made
    made.spool.close()


def change(database: Database, subject: int, **values: Any) -> None:
    database.execute(lambda c: c.execute(update(_t).where(_t.c.subject == subject).values(**values)))


def found(database: Database, size: int = 50, **filters: Any) -> list[str]:
    """The studies that match, in pages."""
    after, studies = None, list[str]()
    while True:
        page = database.read(finding.find, StudyFilter(**filters), after, size).result()
        assert len(page.lines) <= size
        studies += [one.study_instance_uid for one in page.lines]
        if (after := page.after) is None:
            return studies


def counted(database: Database, study: str = STUDY) -> dict[str, dict[str, int]]:
    """The deliveries of a study by node and what became of them."""
    whole = database.read(counting.count, study).result()
    assert whole == database.read(counting.count, study, 1000).result()
    return {one.node: {str(name): number for name, number in one.states.items()} for one in whole.destinations}


def sent_again(
    database: Database, study: str = STUDY, node: str = "pacs", *, until: float = NOW, **more: Any
) -> dict[ResendEnding, int]:
    row = database.read(finding.row_of, study).result()
    wanted = ResentStudy(row=row, study=study, node=node, until=until, **more)
    done = resend(database, wanted, NODES, WHO, lambda: None)
    assert done.after == 0
    return dict(done.endings)


# --- counts ----------------------------------------------------------------------------------------------------


def test_each_delivery_is_counted_once_under_what_became_of_it(database: Database, place: ReceptionPlace) -> None:
    for number in range(1, 10):
        place.take(number)
    place.take(10, StudyInstanceUID="2.999.78")  # of another study
    leased = database.execute(jobs.claim, "deliver:pacs", "me", time.time() + 1, 60.0, 1)[0].subject
    others = [number for number in range(1, 10) if number != leased]
    states = [
        {"state": JobState.DONE, "last_error": ""},
        {"state": JobState.DONE, "last_error": "converted-explicit-to-implicit"},
        {"state": JobState.DONE, "last_error": "status-B000"},
        {"state": JobState.HELD, "last_error": "status-C000"},
        {"state": JobState.HELD, "last_error": "status-A900"},
        {"state": JobState.DISCARDED, "last_error": "discarded-by-person"},
    ]
    for number, values in zip(others, states, strict=False):
        change(database, number, **values)
    rerouted = others[len(states)]
    row = database.read(lambda c: c.execute(select(_t.c.id).where(_t.c.subject == rerouted)).scalar_one()).result()
    moved = reroute(database, [row], "cad", NODES, WHO, lambda: None)
    assert moved == Counter({RerouteEnding.REROUTED: 1})
    assert counted(database) == {
        "cad": {"waiting": 1},
        "pacs": {"sent": 2, "warning": 1, "held": 2, "given-up": 1, "elsewhere": 1, "sending": 1, "waiting": 1},
    }
    whole = database.read(counting.count, STUDY).result()
    cad, pacs = whole.destinations
    assert (whole.objects, whole.versions, pacs.total, cad.total, pacs.taken) == (9, 9, 9, 1, 3)
    assert pacs.errors[DeliveryState.HELD] == {"status-C000": 1, "status-A900": 1}
    assert (pacs.is_open, whole.is_complete, whole.capped) == (True, False, False)
    assert sum(one.objects for one in database.read(counting.series, STUDY).result()) == 9
    few = database.read(counting.count, STUDY, 5).result()
    assert (few.capped, few.is_complete) == (True, False)


def test_a_study_is_complete_when_nothing_waits_is_held_or_was_given_up(
    database: Database, place: ReceptionPlace
) -> None:
    for number in (1, 2):
        place.take(number)
        change(database, number, state=JobState.DONE)
    assert database.read(counting.count, STUDY).result().is_complete
    assert found(database, incomplete=True) == []
    place.in_force(TO_NOBODY, 3)
    place.take(3)
    whole = database.read(counting.count, STUDY).result()
    assert (whole.stays, whole.is_complete) == (1, False)
    assert found(database, incomplete=True) == [STUDY]


def test_versions_of_an_object_are_one_object(database: Database, place: ReceptionPlace) -> None:
    for text in ("one", "two"):
        place.receive(ct_slice(64, SOPInstanceUID="2.999.1", StudyInstanceUID=STUDY, StudyDescription=text))
    whole = database.read(counting.count, STUDY).result()
    assert (whole.objects, whole.versions) == (1, 2)


def test_objects_are_told_one_by_one_with_what_each_destination_has(database: Database, place: ReceptionPlace) -> None:
    for number, series in ((1, "2.999.1"), (2, "2.999.2"), (3, "2.999.1")):
        place.take(number, SeriesInstanceUID=series)
    change(database, 1, state=JobState.HELD, last_error="status-C000")
    place.take(3, SeriesInstanceUID="2.999.1", PatientComments="another version")
    place.take(9, StudyInstanceUID="2.999.78")

    def told(series: str, after: int, limit: int) -> list[tuple[int, int, list[tuple[str, str, str]]]]:
        found = database.read(objects.stands, STUDY, series, after, limit).result()
        return [(one.id, one.version, [(d.node, d.state, d.error) for d in one.deliveries]) for one in found]

    waits = [("pacs", "waiting", "")]
    assert told("", 0, 3) == [(1, 1, [("pacs", "held", "status-C000")]), (2, 1, waits), (3, 1, waits)]
    assert [one[:2] for one in told("", 3, 3)] == [(4, 2)]
    assert [one[0] for one in told("2.999.1", 0, 9)] == [1, 3, 4]
    assert told("2.999.9", 0, 9) == []
    whole = database.read(summaries.one, database.read(finding.row_of, STUDY).result()).result()
    assert whole is not None
    assert [(one.objects, one.versions) for one in whole.series] == [(2, 3), (1, 1)]
    assert database.read(summaries.one, 4711).result() is None


def test_a_study_that_nobody_sent_has_nothing(database: Database) -> None:
    nothing = database.read(counting.count, "2.999.404").result()
    assert (nothing.objects, nothing.destinations, nothing.size) == (0, [], 0)
    assert database.read(finding.row_of, "2.999.404").result() == 0
    assert database.read(finding.lines, [4711]).result() == []


# --- find ------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(database: Database, place: ReceptionPlace) -> list[str]:
    """Three studies, the newest first: one of two patients, one of MR that no rule matches."""
    place.take(1, StudyInstanceUID="2.999.1", PatientID="P1", AccessionNumber="A1")
    place.take(2, StudyInstanceUID="2.999.2", PatientID="P1", AccessionNumber="A2", Modality="MR")
    place.take(3, StudyInstanceUID="2.999.3", PatientID="P3", AccessionNumber="A3")
    place.take(4, StudyInstanceUID="2.999.3", PatientID="P1", AccessionNumber="A3")
    place.take(5, StudyInstanceUID="")  # Orthanc and others send such
    return ["2.999.3", "2.999.2", "2.999.1"]


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize("few", [0, 1000])
def test_studies_are_found(
    database: Database, three: list[str], size: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)  # led by what is not done, or not
    last, middle, first = three
    change(database, 1, state=JobState.DONE)
    assert found(database, size) == three
    assert found(database, size, patient="P1") == three  # also the one that came under two patients
    assert found(database, size, patient="P3") == [last]
    assert found(database, size, patient="P") == []
    assert found(database, size, accession="A2") == [middle]
    assert found(database, size, modality="MR") == [middle]
    assert found(database, size, modality="CT", patient="P1") == [last, first]
    assert found(database, size, study=first) == [first]
    assert found(database, size, device="CT01") == three
    assert found(database, size, device="CT02") == []
    assert found(database, size, node="pacs") == [last, first]
    assert found(database, size, node="cad") == []
    assert found(database, size, incomplete=True) == [last, middle]  # the MR is held, as no rule matched
    assert found(database, size, incomplete=True, node="pacs") == [last]
    assert found(database, size, incomplete=True, modality="MR") == [middle]
    assert found(database, size, incomplete=True, study=first) == []
    assert found(database, size, since=time.time() + 60) == []
    assert found(database, size, since=time.time() - 60, until=time.time() + 60) == three


@pytest.mark.parametrize("text", ["'; drop table study; --", "%", "\x00", "P1\x00", "\ud800", "P" * 10_000, "<b>"])
@pytest.mark.parametrize("name", ["study", "patient", "accession", "modality", "device", "node"])
def test_hostile_texts_find_nothing_and_break_nothing(
    database: Database, three: list[str], text: str, name: str
) -> None:
    for incomplete in (True, False):
        wanted = replace(StudyFilter(incomplete=incomplete), **{name: text})
        assert database.read(finding.find, wanted, None, 5).result().lines == []


def test_hostile_keys_are_taken_and_shown(database: Database) -> None:
    arrival = StudyArrival("2.999.9", keys_of({"tag.PatientID": ("\x00a\ud800" + "x" * 500, 7.0)}, "CT\n1"), NOW)
    assert database.execute(registering.add, arrival) == database.execute(registering.add, arrival)
    (line,) = database.read(finding.find, StudyFilter(), None, 5).result().lines
    assert line.patients == ("a" + "x" * 63,)
    assert line.devices == ("CT1",)


def test_what_was_said_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownStudies()
    facts = {"tag.PatientID": ("P1",)}
    first = known.lacking("2.999.1", facts, "CT01", NOW)
    assert first == known.lacking("2.999.1", facts, "CT01", NOW)  # not committed yet
    known.committed(first)
    assert known.lacking("2.999.1", facts, "CT01", NOW) is None
    assert known.lacking("2.999.1", facts, "CT02", NOW) is not None
    assert known.lacking("", facts, "CT01", NOW) is None
    known.committed(None)
    monkeypatch.setattr(known_studies, "REMEMBERED", 1)
    known.committed(known.lacking("2.999.2", facts, "CT01", NOW))
    assert known.lacking("2.999.1", facts, "CT01", NOW) is not None  # forgotten: written again, changes nothing


def test_a_study_is_noted_once_and_what_was_rolled_back_is_noted_again(
    database: Database, place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker whose first transaction fails: the row of the study is gone with it, and comes with the next one."""
    reception = Reception(database, place.spool, lambda: place.rules, ZoneInfo("UTC"), lambda: None)
    noted, faults = list[str](), list[Exception]()

    def noting(connection: Connection, arrival: StudyArrival) -> int:
        noted.append(arrival.study)
        return registering.add(connection, arrival)

    def failing(connection: Connection, new: NewInstance) -> int | None:
        if faults:
            raise faults.pop()
        return instances.add_first(connection, new)

    def receive(number: int, **attributes: str) -> None:
        item = ct_slice(64, SOPInstanceUID=f"2.999.{number}", StudyInstanceUID=STUDY, **attributes)
        arrival = IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE("CT01", "B", "::1"))
        reception.whole(arrival, item.data)

    monkeypatch.setattr(recording, "registering", SimpleNamespace(add=noting))
    monkeypatch.setattr(recording, "instances", _with(instances, add_first=failing))
    faults.append(StoreUnavailable("the database is away"))
    with pytest.raises(StoreUnavailable):
        receive(1)
    assert (noted, found(database)) == ([STUDY], [])
    faults.append(IntegrityError("the same object on another association", {}, Exception()))
    receive(1)
    assert (noted, found(database)) == ([STUDY] * 3, [STUDY])
    receive(2)
    receive(2)  # again
    assert noted == [STUDY] * 3
    receive(3, PatientID="P9")
    assert (noted, found(database, patient="P9")) == ([STUDY] * 4, [STUDY])
    monkeypatch.setattr(known_studies, "REMEMBERED_FOR", 0.0)  # what is noted longer ago may have been deleted since
    receive(4)
    assert noted == [STUDY] * 5


def _with(module: ModuleType, **changed: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(module), **changed})


def test_a_page_looks_at_so_many_studies_and_the_next_one_looks_on(
    database: Database, place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        place.take(number, StudyInstanceUID=f"2.999.{number}", Modality="MR" if number == 1 else "CT")
    monkeypatch.setattr(newest, "FAR", 2)
    monkeypatch.setattr(newest, "LOOK", 2)
    page = database.read(finding.find, StudyFilter(modality="MR"), None, 5).result()
    assert page.lines == []
    assert page.after is not None
    assert found(database, 5, modality="MR") == ["2.999.1"]


@pytest.mark.parametrize(("patience", "size"), [(60.0, 5), (-1.0, 2)])
def test_a_long_page_ends_where_counting_takes_too_long_and_the_next_one_goes_on(
    database: Database, place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch, patience: float, size: int
) -> None:
    for number in range(1, 6):
        place.take(number, StudyInstanceUID=f"2.999.{number}")
    monkeypatch.setattr(summaries, "WHOLE", 2)
    monkeypatch.setattr(summaries, "PATIENCE", patience)
    after, pages = None, list[list[str]]()
    while not pages or after is not None:
        page = database.read(summaries.page, StudyFilter(), after, 5).result()
        pages.append([one.line.study_instance_uid for one in page.studies])
        assert all(one.counts.objects == 1 for one in page.studies)
        after = page.after
    assert {len(each) for each in pages[:-1]} <= {size}
    assert sorted(uid for each in pages for uid in each) == [f"2.999.{number}" for number in range(1, 6)]


def test_no_filter_reads_a_large_table_as_a_whole(database: Database, three: list[str]) -> None:
    rows = [dict(place) for place in _many(400)]
    database.execute(lambda c: c.execute(insert(tables.instance), rows))
    if database.dialect == "postgresql":
        database.execute(lambda c: c.exec_driver_sql("ANALYZE instance"))
    for wanted in (
        StudyFilter(patient="P1"), StudyFilter(accession="A1"), StudyFilter(study=STUDY),
        StudyFilter(incomplete=True), StudyFilter(node="pacs"), StudyFilter(incomplete=True, node="pacs"),
    ):  # fmt: skip
        indexed(plans(database, finding.find, wanted, None, 5), "instance|job")
    indexed(plans(database, counting.count, STUDY), "instance|job")
    indexed(plans(database, counting.series, STUDY), "instance")


def test_a_study_leads_to_its_objects_and_these_to_their_deliveries(
    database: Database, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.dialect == "postgresql":  # plans by the numbers of rows, which are small here
        return
    monkeypatch.setattr(finding, "FEW", -1)
    wanted = [StudyFilter(node="pacs"), StudyFilter(incomplete=True), StudyFilter(incomplete=True, node="pacs")]
    found = [one for each in wanted for one in plans(database, finding.find, each, None, 5)]
    found = [one for one in found if one.startswith("SELECT study.first_at")]
    told = [plans(database, work, STUDY, *more) for work, *more in (
        (counting.destinations,), (decisions.deliveries,), (objects.stands, "", 0, 51),
    )]  # fmt: skip
    for plan in found + [plan for each in told for plan in each if "job" in plan.partition("\n")[0]]:
        steps = [line for line in plan.splitlines() if line.startswith(("SEARCH job", "SCAN job"))]
        assert steps, plan
        assert all("subject=?" in step for step in steps), plan


def _many(count: int) -> Iterator[dict[str, Any]]:
    values = dict.fromkeys(instances.NewInstance.__slots__, "x") | {"version": 1, "digest": b"x"}
    del values["content"]
    values |= {"data_offset": 0, "data_length": 2, "rules_version": 1, "discarded_at": 0.0, "state": "routed"}
    for number in range(count):
        study = f"2.999.5.{number // 4}"
        yield {
            **values,
            "sop_instance_uid": f"{study}.{number}",
            "study_instance_uid": study,
            "received_at": 1.0 * number,
        }


# --- send again ------------------------------------------------------------------------------------------------


def test_what_was_sent_held_given_up_or_never_sent_is_sent_anew(database: Database, place: ReceptionPlace) -> None:
    for number in range(1, 6):
        place.take(number)
    leased = database.execute(jobs.claim, "deliver:pacs", "me", time.time() + 1, 60.0, 1)[0].subject
    done, held, discarded, _ = [number for number in range(1, 6) if number != leased]
    change(database, done, state=JobState.DONE, done_at=1.0, attempts=1)
    change(database, held, state=JobState.HELD, last_error="status-C000", failures=3)
    change(database, discarded, state=JobState.DISCARDED, last_error="discarded-by-person")
    assert sent_again(database) == {ResendEnding.AGAIN: 3, ResendEnding.WAITS: 2}
    assert counted(database) == {"pacs": {"waiting": 4, "sending": 1}}
    rows = {row["subject"]: row for row in place.read(select(_t))}
    assert [rows[one]["last_error"] for one in (done, discarded)] == ["", ""]
    assert [rows[one]["failures"] for one in (done, held, discarded)] == [0, 0, 0]
    assert rows[done]["done_at"] is None
    assert rows[done]["attempts"] == 1  # so that "there already" is an answer to a later try
    assert len(database.execute(jobs.claim, "deliver:pacs", "me", NOW + 1, 60.0, 9)) == 4
    assert [(one[0], one[2]["to"], one[2]["objects"]) for one in place.audit()] == [("study.sent-again", "pacs", 3)]
    assert sent_again(database, node="cad") == {ResendEnding.AGAIN: 5}
    assert counted(database)["cad"] == {"waiting": 5}


def test_after_a_discard_and_the_same_object_again_it_is_delivered(database: Database, place: ReceptionPlace) -> None:
    item = place.take(1)
    rows = database.read(lambda c: list(c.execute(select(_t.c.id)).scalars())).result()
    assert QueueSteering(database, lambda: None).discard(rows, WHO) == 1
    assert counted(database) == {"pacs": {"given-up": 1}}
    place.receive(item)
    assert counted(database) == {"pacs": {"waiting": 1}}
    QueueSteering(database, lambda: None).discard(rows, WHO)
    assert sent_again(database) == {ResendEnding.AGAIN: 1}
    assert counted(database) == {"pacs": {"waiting": 1}}


def test_of_an_object_the_newest_version_is_sent(database: Database, place: ReceptionPlace) -> None:
    for text in ("one", "two"):
        place.receive(ct_slice(64, SOPInstanceUID="2.999.1", StudyInstanceUID=STUDY, StudyDescription=text))
    for subject in (1, 2):
        change(database, subject, state=JobState.DONE)
    assert sent_again(database) == {ResendEnding.OLDER: 1, ResendEnding.AGAIN: 1}
    assert [job[1:3] for job in place.jobs()] == [(1, "done"), (2, "ready")]


def test_what_a_person_has_to_decide_about_is_left_unless_this_decides(
    database: Database, place: ReceptionPlace
) -> None:
    place.take(1)
    place.in_force(TO_NOBODY, 3)
    place.take(2)
    assert sent_again(database) == {ResendEnding.WAITS: 1, ResendEnding.UNDECIDED: 1}
    assert sent_again(database, undecided=True) == {ResendEnding.WAITS: 1, ResendEnding.AGAIN: 1}
    assert counted(database) == {"pacs": {"waiting": 2}}
    assert {row["state"] for row in place.rows()} == {"routed"}
    assert [one[0] for one in place.audit()] == ["objects.sent-by-hand", "study.sent-again"]


def test_only_what_is_there_goes_and_only_to_destinations(database: Database, place: ReceptionPlace) -> None:
    place.take(1)
    with pytest.raises(BadContent):
        sent_again(database, node="gone")
    assert sent_again(database, until=1.0) == {}  # it came after the person looked
    change(database, 1, state=JobState.DONE)
    database.execute(lambda c: c.execute(update(tables.instance).values(state="purged")))
    assert sent_again(database) == {ResendEnding.GONE: 1}
    assert [job[2] for job in place.jobs()] == ["done"]
    assert place.audit() == []


def test_a_wrong_entry_stays_where_it_is(database: Database, place: ReceptionPlace) -> None:
    item = place.take(1)
    change(database, 1, state=JobState.DONE)
    begun(database, "2.999.8", unscheduled(STUDY))
    database.execute(mpps_objects.keep_back, 1, [item.sop_instance], ["deliver:pacs"])
    assert sent_again(database) == {ResendEnding.KEPT_BACK: 1}
    assert [job[2] for job in place.jobs()] == ["done"]


def test_rounds_end_where_the_next_ones_begin(
    database: Database, place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        place.take(number)
        change(database, number, state=JobState.DONE)
    monkeypatch.setattr("broker.delivery.resending.STEP", 2)
    monkeypatch.setattr("broker.delivery.resending.MOST", 3)
    wanted, after, rounds = ResentStudy(row=1, study=STUDY, node="pacs", until=NOW), 0, []
    while True:
        done = resend(database, wanted, NODES, WHO, lambda: None, after)
        rounds.append(done.endings[ResendEnding.AGAIN])
        if not (after := done.after):
            break
    assert rounds == [4, 1]


def test_what_is_sent_again_is_not_purged_meanwhile(database: Database, place: ReceptionPlace) -> None:
    place.take(1)
    change(database, 1, state=JobState.DONE, done_at=1.0)
    late = time.time() + 60
    assert [one.delivered for one in database.read(instances.purgeable, late, (0.0, 0), 5).result()] == [True]
    assert sent_again(database) == {ResendEnding.AGAIN: 1}
    assert [one.delivered for one in database.read(instances.purgeable, late, (0.0, 0), 5).result()] == [False]
    assert database.read(waiting_jobs.count, HeldFilter(study=STUDY), "waiting", 5).result() == 1
