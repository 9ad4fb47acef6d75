"""Explanation, matcher and search agree on every step, query and profile; what devices asked is kept in bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.orders.documents import order
from support.worklist.worklist import DATE, SPS, STATION, TIME, query

from broker.errors import ConfigurationError
from broker.orders.core.context import StoryContext
from broker.orders.direct import placing
from broker.orders.documents import document
from broker.orders.mapping.book import built_in
from broker.routing.site import site_in_force
from broker.settings import load
from broker.site.admitting import AlreadyKnown, Newcomer, admit
from broker.site.device import Device
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store import configurations, knocks
from broker.store.db.database import Database
from broker.store.orders import search as order_search
from broker.store.schema import tables
from broker.store.worklist import device_queries
from broker.store.worklist import steps as worklist_steps
from broker.store.worklist.candidates import search
from broker.versions.in_force import Signature
from broker.worklist.device import adapt
from broker.worklist.explain import conditions, recall
from broker.worklist.explain.exam import Exam, explain_exam
from broker.worklist.explain.memory import QueryMemory, QueryOutcome, keep
from broker.worklist.explain.strangers import strangers
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.matcher import matches

SECRET = b"a secret of the tests"
STATUS = "ScheduledProcedureStepStatus"
NOW = datetime(2030, 3, 12, 9, 0).astimezone()


@pytest.fixture
def orders(database: Database) -> list[dict[str, Any]]:
    """Orders of every kind that a filter tells apart; the rows of their steps."""
    given: list[dict[str, Any]] = [
        order(1),
        order(2, step={STATION: ["CT02"]}),
        order(3, step={STATION: ["ct01", "CT02"], DATE: "20300313"}, WorklistLabel="NORTH"),
        order(4, modality="MR", WorklistLabel="SOUTH"),
        order(5, step={DATE: "20300310", TIME: "08:00"}),
        order(6, step={DATE: None, TIME: None}),
        order(7),
        order(8),
    ]
    given[3]["patient"]["PatientName"] = "Doe^John"
    for number, one in enumerate(given):
        change = placing.usable(document.convert(one, built_in().modalities))
        context = StoryContext(UUID(int=number + 1), NOW, "UNASSIGNED", "test")
        database.submit(placing.place, change, context, None, dry=False).result()
    database.submit(_end, "A7").result()
    database.submit(_hold, "A8").result()
    return given


def _document(connection: Any, accession: str, change: Any) -> None:
    (row,) = order_search.find(connection, {"AccessionNumber": accession}, 0, 1)
    (step,) = worklist_steps.of_orders(connection, [row], 5)
    answer, columns = change(step.answer)
    table = tables.scheduled_step
    connection.execute(table.update().where(table.c.id == step.row).values(answer=json.dumps(answer), **columns))


def _end(connection: Any, accession: str) -> None:
    def change(answer: dict[str, Any]) -> Any:
        answer[SPS][0][STATUS] = "COMPLETED"
        return answer, {"status": "COMPLETED"}

    _document(connection, accession, change)


def _hold(connection: Any, accession: str) -> None:
    _document(connection, accession, lambda answer: ({**answer, "Held": 1}, {"held": True}))


def maybe(*values: str) -> Any:
    return st.sampled_from(["", *values])


STEP_KEYS = st.fixed_dictionaries(
    {},
    optional={
        STATION: maybe("CT01", "CT02", "ct01", "CT0?", "X*", "*"),
        DATE: maybe("20300312", "20300311-20300313", "-20300311", "20300313-"),
        TIME: maybe("0800-1200", "1030", "-0900"),
        "Modality": maybe("CT", "MR", "ct"),
        STATUS: maybe("SCHEDULED", "COMPLETED", "scheduled"),
    },
)
KEYS = st.fixed_dictionaries(
    {SPS: STEP_KEYS.map(lambda step: [step])},
    optional={
        "PatientName": maybe("Müller^Käthe", "MULLER", "DOE*", "D?E^JOHN"),
        "PatientID": maybe("QZPAT1", "QZPAT*", "NOBODY"),
        "AccessionNumber": maybe("A1", "A4", "a1"),
        "WorklistLabel": maybe("NORTH", "S*"),
        "PatientBirthDate": maybe("19760229", "19700101-"),
    },
)
PROFILES = st.fixed_dictionaries(
    {},
    optional={
        "stations": st.sampled_from([("CT02",), ("R1", "ct01")]),
        "station": st.just("calling"),
        "days_before": st.integers(0, 2),
        "days_after": st.integers(0, 3),
        "show": st.sampled_from([("COMPLETED", "SCHEDULED"), ("ARRIVED",)]),
        "hide": st.just(("COMPLETED",)),
        "labels": st.sampled_from([("NORTH",), ("SOUTH", "NORTH")]),
        "ignore_case": st.booleans(),
        "prefix_names": st.booleans(),
        "window_hours_before": st.integers(0, 40),
        "window_hours_after": st.integers(0, 40),
    },
)


def test_explanation_matcher_and_search_agree(database: Database, orders: list[dict[str, Any]]) -> None:
    rows = database.read(lambda connection: worklist_steps.of_orders(connection, range(1, 100), 100)).result()
    assert len(rows) == len(orders)

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(KEYS, PROFILES, st.sampled_from(["CT01", "CT02", "MR09"]))
    def agree(keys: dict[Any, Any], profile: dict[str, Any], calling: str) -> None:
        device = Device(**profile)
        asked = query(keys, charset=["ISO_IR 192"])
        served = adapt(asked, device, calling, NOW)
        found = database.read(search, search_criteria(served), None, 100).result()
        shown = {one.id for one in found if matches(one.document(), served)}
        assert shown == {row.row for row in rows if matches(row.answer, served)}
        kept = recall.decode(json.loads(json.dumps(recall.encode(asked, SECRET))))
        again = adapt(kept.query, device, calling, NOW)
        for row in rows:
            assert conditions.shown(conditions.checks(row.answer, served)) is (row.row in shown)
            told = conditions.shown(
                conditions.checks(row.answer, again, kept.secrets, SECRET, prefix_names=device.prefix_names)
            )
            assert told in (None, row.row in shown)

    agree()


def test_what_devices_asked_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queries, "MAX_DEVICES", 3)
    entry = {"at": 5.0, "first": 5.0, "times": 1, "count": 0, "status": "0000", "duration": 0, "comment": "",
             "asked": recall.encode(query({SPS: [{STATION: "CT01"}]}), SECRET)}  # fmt: skip
    for number in range(5):
        one = {**entry, "at": 10.0 + number}
        database.submit(keep, {(f"CT{number}", "127.0.0.1"): (2, [one])}, 20.0).result()
    database.submit(keep, {("CT4", "127.0.0.1"): (3, [{**entry, "at": 40.0}])}, 40.0).result()
    assert database.read(device_queries.of, "CT0").result() == []
    assert database.read(device_queries.of, "CT1").result() == []
    (last,) = database.read(device_queries.of, "CT4").result()
    assert (last.calls, last.last_at, len(last.queries), last.queries[0]["times"]) == (5, 40.0, 1, 2)


def test_a_device_is_admitted_once(database: Database) -> None:
    database.submit(knocks.record, "CT 09", "10.0.0.9", 5.0, 2, ["1.2.840.10008.5.1.4.31"]).result()
    database.submit(knocks.record, "CT 09", "10.0.0.9", 7.0, 1, ["1.2.840.10008.1.1"]).result()
    (knock,) = database.read(knocks.all_of).result()
    assert (knock.count, knock.contexts) == (3, ("1.2.840.10008.1.1", "1.2.840.10008.5.1.4.31"))
    site, anna = site_in_force(database), Signature(actor="anna")
    done = admit(site, Newcomer("CT 09", "10.0.0.9"), anna)
    assert (done.node.name, done.node.host, done.version, done.knocked) == ("ct-09", "10.0.0.9", 1, True)
    assert database.read(knocks.all_of).result() == []
    with pytest.raises(AlreadyKnown):
        admit(site, Newcomer("CT 09", "10.0.0.9"), anna)
    other = admit(site, Newcomer("CT 09", "10.0.0.8", bound=False), anna)
    assert (other.node.name, other.node.host, other.version, other.knocked) == ("ct-09-2", "", 2, False)
    with pytest.raises(ConfigurationError, match="used twice"):
        admit(site, Newcomer("CT10", "10.0.0.8", name="ct-09"), anna)
    version = database.read(configurations.current, "nodes").result()
    assert version is not None
    assert [one["name"] for one in version.document] == ["ct-09", "ct-09-2"]
    audit = database.read(lambda connection: list(connection.execute(tables.audit.select()))).result()
    assert [(row.actor, row.action, row.object_kind) for row in audit] == [("anna", "node.admitted", "nodes")] * 2


def test_other_processes_take_over_who_was_admitted(database: Database) -> None:
    here, there = site_in_force(database), Directory()
    follower = site_in_force(database, use=there.take)
    here.publish({"nodes": [{"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1",
                             "port": 104, "roles": ["destination"]}]}, Signature(actor="anna"))  # fmt: skip
    assert follower.value.nodes == there.nodes
    assert follower.refresh() is False
    admit(here, Newcomer("CT09", "10.0.0.9"), Signature(actor="anna"))
    assert follower.refresh() is True
    assert follower.refresh() is False
    assert there.device("CT09", "10.0.0.9") is not None
    assert there.device("CT09", "10.0.0.8") is None
    assert there.node("pacs") is not None
    broken = [{"name": "x", "kind": "fax"}]
    database.submit(configurations.add, "nodes", broken, source="a newer program", at=10.0).result()
    assert follower.refresh() is False
    assert there.device("CT09", "10.0.0.9") is not None


def test_who_knocks_shows_what_it_asked(database: Database) -> None:
    database.submit(knocks.record, "US07", "10.0.0.7", 5.0, 1, ["1.2.840.10008.5.1.4.31", "1.2.840.10008.1.1"]).result()
    memory = QueryMemory(database, SECRET)
    asked = query({"PatientName": "CANARY", SPS: [{STATION: "US07", DATE: "20300312"}]})
    memory.remember("US07", "10.0.0.7", QueryOutcome(6.0, asked, 3, 0, 0.01))
    there = Directory([])
    memory.flush()
    (one,) = strangers(database, there, {})
    assert one.wants == ["verification", "worklist"]
    assert list(one.queries) == [{STATION: "US07", DATE: "20300312", "PatientName": "(not kept)"}]
    there.replace(parse_nodes([{"name": "us7", "kind": "dicom", "ae_title": "US07", "roles": ["modality"]}]))
    assert strangers(database, there, {}) == []


@pytest.mark.parametrize(
    ("exam", "shown", "reason"),
    [
        (Exam(accession="A1"), False, "for station CT03: the step has station CT01, and the device asks for CT03; an"),
        (Exam(accession="A2"), False, "the step has station CT02, and the device asks for CT03"),
        (Exam(accession="A7"), False, "the step is COMPLETED (it has ended)"),
        (Exam(accession="A8"), False, "the step is held by the RIS"),
        (Exam(accession="A99"), False, "no order has this accession number"),
        (Exam(step=999), False, "no step has this number"),
    ],
)
def test_an_exam_is_explained_by_what_its_device_asked(
    database: Database, orders: list[dict[str, Any]], exam: Exam, shown: bool, reason: str
) -> None:
    (node,) = parse_nodes(
        [{"name": "ct", "kind": "dicom", "ae_title": "CT01", "host": "127.0.0.1", "roles": ["modality"]}]
    )
    memory = QueryMemory(database, SECRET)
    for seconds, station in enumerate(("CT01", "CT03")):
        asked = query({SPS: [{STATION: station}]})
        memory.remember("CT01", "127.0.0.1", QueryOutcome(NOW.timestamp() + seconds, asked, 1, 0, 0.01))
    memory.flush()
    told = database.read(explain_exam, exam, "ct", Directory([node]), load(), SECRET).result()
    assert (told.caller.node, told.shown) == ("ct", shown)
    assert reason in told.reason
    assert "Doe" not in told.reason


@pytest.mark.parametrize(
    ("queries", "shown"),
    [
        (({}, {DATE: "20300316"}), False),  # the older query came before the step, or after it: alike
        (({DATE: "20300316"}, {}), True),
        (({STATION: "CT01"}, {STATION: "CT02"}), False),
        (({STATION: "CT01"}, {STATION: "CT02"}) * 3, True),  # asked in turns
        (({STATION: "CT01"}, *({STATION: "CT02"},) * 3), False),
        (({STATION: "CT01"}, {STATION: "CT02"}, {}, {STATION: "CT02"}, {STATION: "CT02"}), False),
    ],
)
def test_the_last_query_of_a_device_decides(
    database: Database, orders: list[dict[str, Any]], queries: tuple[dict[str, Any], ...], shown: bool
) -> None:
    memory = QueryMemory(database, SECRET)
    at = datetime.now().astimezone().timestamp()
    for number, step in enumerate(queries):
        memory.remember("CT01", "127.0.0.1", QueryOutcome(at + number, query({SPS: [step]}), 1, 0, 0.01))
        memory.flush()
    (node,) = parse_nodes([{"name": "ct", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}])
    told = database.read(explain_exam, Exam(accession="A1"), "ct", Directory([node]), load(), SECRET).result()
    assert told.shown is shown, told.reason


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_a_step_behind_the_last_answer_that_a_device_is_sent_is_told_its_place(
    database: Database, orders: list[dict[str, Any]], most: int
) -> None:
    asked = query({SPS: [{DATE: "20300301-"}]})
    found = database.read(search, search_criteria(asked), None, 100).result()
    listed = [one.id for one in found if matches(one.document(), asked)]
    assert len(listed) > 2
    memory = QueryMemory(database, SECRET)
    memory.remember("CT01", "127.0.0.1", QueryOutcome(NOW.timestamp(), asked, 1, 0, 0.01))
    memory.flush()
    device = Device(max_answers=most)
    (node,) = parse_nodes([{"name": "ct", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}])
    for place, step in enumerate(listed):
        directory = Directory([replace(node, device=device)])
        told = database.read(explain_exam, Exam(step=step), "ct", directory, load(), SECRET).result()
        assert told.shown is (place < most)
        cut = f"would be answer {place + 1}, and the device is sent {most} at most"
        assert (cut in told.reason) is (place >= most)
