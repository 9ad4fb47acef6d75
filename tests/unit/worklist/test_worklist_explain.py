"""Situations in which a device shows an exam or not: the explanation names the right reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from support.worklist.worklist import DATE, SPS, STATION, TIME, document, query

from broker.orders.core.worklist_item import HELD
from broker.site.device import Device
from broker.store.knocks import Knock
from broker.worklist.explain import recall, verdict
from broker.worklist.explain.verdict import AnswerPlace, Asking, Caller, ExplainedStep, Ground, Verdict
from broker.worklist.query.negotiation import BASELINE, Agreed

SECRET = b"a secret of the tests"
NOW = datetime(2026, 3, 12, 9, 0, tzinfo=UTC)
T = NOW.timestamp()
EMPTY = Agreed(empty_values=True)
OWN: dict[Any, Any] = {SPS: [{STATION: "CT01", DATE: "20260312"}]}


def asked(
    keys: dict[Any, Any], *, ago: float = 60, charset: list[str] | None = None, options: Agreed = BASELINE, **more: Any
) -> Asking:
    """A query that was remembered, so many seconds ago."""
    kept = recall.encode(query(keys, charset=charset, options=options), SECRET)
    return Asking(recall.decode(kept), T - ago, 1, **{"count": 1, "status": "0000", **more})


def conclude(
    askings: Sequence[Asking], stored: dict[str, Any], *, profile: dict[str, Any] | None = None, place: int | None = 0,
    node: str = "ct1", accepted: bool = False, knocks: tuple[Knock, ...] = (), changed: float = 3600,
    secret: bytes = SECRET,
) -> tuple[bool | None, str, list[Verdict]]:  # fmt: skip
    root = {key: value for key, value in stored.items() if key != "step"}
    step = ExplainedStep(1, document(step=stored.get("step"), **root), T - 3600, T - changed)
    caller = Caller("CT01", node, accepted, Device(**(profile or {})), knocks)
    at = None if place is None else AnswerPlace(place)
    ground = Ground(NOW, UTC, 100, "ISO_IR 192", secret, recall.fingerprint(secret), lambda *_: at)
    verdicts = [verdict.judge(step, caller, one, ground) for one in askings or [verdict.supposed("CT01")]]
    return (*verdict.conclude(step, caller, verdicts, ground), verdicts)


def turn(keys: dict[Any, Any], ago: float, *, period: float = 60) -> Asking:
    """A query that the device asks again and again."""
    return replace(asked(keys, ago=ago), times=9, previous=T - ago - period)


OTHER: dict[Any, Any] = {SPS: [{"Modality": "MR"}]}
KNOCK = Knock(ae_title="CT01", address="10.0.0.9", first_at=T - 100, last_at=T - 5, count=7, contexts=())
SITUATIONS: list[tuple[str, list[Asking], dict[str, Any], dict[str, Any], bool | None, str]] = [
    ("shown", [asked(OWN)], {}, {}, True, "ct1 asked at 2026-03-12 08:59:00: the step is shown"),
    ("held", [asked(OWN)], {HELD: 1}, {}, False, "the step is held by the RIS"),
    ("no date", [asked(OWN)], {"step": {DATE: ""}}, {}, False, "still to be scheduled"),
    ("other station", [asked(OWN)], {"step": {STATION: ["CT02"]}}, {}, False,
     "the step has station CT02, and the device asks for CT01"),
    ("case of the station", [asked(OWN)], {"step": {STATION: ["ct01"]}}, {}, False, "ignore_case"),
    ("two stations", [asked(OWN)], {"step": {STATION: ["CT02", "CT03"]}}, {}, False, "station CT02, CT03"),
    ("own stations", [asked(OWN)], {"step": {STATION: ["CT02"]}}, {"profile": {"stations": ["R1"]}}, False,
     "asks for CT01 or R1"),
    ("calling station", [asked({SPS: [{STATION: ""}]})], {"step": {STATION: ["CT02"]}},
     {"profile": {"station": "calling"}}, False, "asks for CT01"),
    ("other day", [asked(OWN)], {"step": {DATE: "20260314"}}, {}, False,
     "the step has date 20260314, and the device asks for 20260312"),
    ("other day, tolerant", [asked(OWN)], {"step": {DATE: "20260314"}}, {"profile": {"days_after": 1}}, False,
     "asks for 20260312-20260313"),
    ("other hour", [asked({SPS: [{DATE: "20260312", TIME: "0800-0900"}]})], {}, {}, False, "the step has time 100000"),
    ("range of moments", [asked({SPS: [{DATE: "20260311-20260312", TIME: "0800-0900"}]})], {}, {}, False,
     "the step has date and time 20260312 100000, and the device asks for 20260311080000-202603120900"),
    ("other modality", [asked({SPS: [{"Modality": "MR"}]})], {}, {}, False,
     "the step has modality CT, and the device asks for MR"),
    ("started", [asked(OWN)], {"step": {"ScheduledProcedureStepStatus": "STARTED"}}, {}, False,
     "the step is STARTED, and the device sees SCHEDULED, ARRIVED, READY"),
    ("completed", [asked(OWN)], {"step": {"ScheduledProcedureStepStatus": "COMPLETED"}}, {}, False,
     "the step is COMPLETED (it has ended)"),
    ("cancelled", [asked(OWN)], {"step": {"ScheduledProcedureStepStatus": "CANCELED"}}, {}, False,
     "the step is CANCELED (it has ended)"),
    ("hidden status", [asked(OWN)], {}, {"profile": {"show": ["ARRIVED"], "hide": ["SCHEDULED"]}}, False,
     "sees ARRIVED, never SCHEDULED"),
    ("asks a status", [asked({SPS: [{"ScheduledProcedureStepStatus": "ARRIVED"}]})], {}, {}, False,
     "the step has status asked SCHEDULED, and the device asks for ARRIVED"),
    ("label", [asked(OWN)], {"WorklistLabel": "SOUTH"}, {"profile": {"labels": ["NORTH"]}}, False,
     "the order has the worklist label SOUTH, and the device sees NORTH"),
    ("no label", [asked(OWN)], {}, {"profile": {"labels": ["NORTH"], "only_labelled": True}}, False,
     "the order has no worklist label, and the device sees NORTH only"),
    ("other name", [asked({"PatientName": "ROE^JANE"})], {}, {}, False, "the device asks for another name"),
    ("name in another charset", [asked({"PatientName": "MÃ¼LLER"})], {"PatientName": "Müller^Käthe"}, {}, False,
     "another name (it holds unusual letters"),
    ("beginning of a name", [asked({"PatientName": "DO*"})], {}, {}, None, "asks for name, whose values are not kept"),
    ("beginning of a name that found nothing", [asked({"PatientName": "RO*"}, count=0)], {}, {}, False,
     "the device asks for another name (the query found nothing)"),
    ("other patient", [asked({"PatientID": "P2"})], {}, {}, False, "the device asks for another patient id"),
    ("another secret", [asked({"PatientID": "P2"})], {}, {"secret": b"other"}, None, "not kept"),
    ("other accession", [asked({"AccessionNumber": "A2"})], {}, {}, False, "the device asks for another accession"),
    ("other key", [asked({"RequestedProcedureID": "R2"})], {}, {}, False, "asks for another RequestedProcedureID"),
    ("no value asked for", [asked({"AdmissionID": '""', **OWN}, options=EMPTY)], {}, {}, True, "the step is shown"),
    ("no value asked for, one is there", [asked({"AdmissionID": '""'}, options=EMPTY)], {"AdmissionID": "V1"}, {},
     False, "the device asks for another AdmissionID"),
    ("none or another", [asked({"AdmissionID": '""\\V1'}, options=EMPTY)], {"AdmissionID": "V1"}, {}, True, "is shown"),
    ("a code in small letters", [asked({"PatientSex": "m", **OWN})], {}, {"profile": {"ignore_case": True}}, True,
     "the step is shown"),
    ("another code in small letters", [asked({"PatientSex": "f"})], {}, {"profile": {"ignore_case": True}}, None,
     "asks for PatientSex, whose values are not kept"),
    ("cap", [asked(OWN)], {}, {"place": 100}, False, "would be answer 101, and the device is sent 100 at most"),
    ("own cap", [asked(OWN)], {}, {"place": 5, "profile": {"max_answers": 5}}, False, "answer 6, and the device"),
    ("below the cap", [asked(OWN)], {}, {"place": 99}, True, "the step is shown"),
    ("search and matcher differ", [asked(OWN)], {}, {"place": -1}, False, "a defect of the broker"),
    ("no values", [asked({"PatientName": ""})], {}, {"profile": {"empty_on_no_keys": True}}, False, "empty_on_no_keys"),
    ("outside the window", [asked({"PatientName": ""})], {"step": {DATE: "20260401"}},
     {"profile": {"window_hours_before": 1, "window_hours_after": 8}}, False, "asks for 20260312080000-20260312170000"),
    ("unknown, never called", [], {}, {"node": ""}, False, "CT01 is no node of the site, and has never called"),
    ("knocking", [], {}, {"node": "", "knocks": (KNOCK,)}, False,
     "refused: it called 7 times, last at 2026-03-12 08:59:55 from 10.0.0.9; `broker nodes admit CT01 10.0.0.9`"),
    ("unknown but let in", [asked(OWN)], {}, {"node": "", "accepted": True, "knocks": (KNOCK,)}, True, "CT01 asked at"),
    ("a node that calls from elsewhere", [asked(OWN)], {}, {"knocks": (KNOCK,)}, False,
     "ct1 is refused since it calls from another address than its node has: 7 times, last at 2026-03-12 08:59:55 from"),
    ("a node that called from elsewhere before", [asked(OWN, ago=2)], {}, {"knocks": (KNOCK,)}, True, "is shown"),
    ("never asked", [], {}, {}, None, "ct1 has never asked; if it asks for the steps of CT01, this one is shown"),
    ("never asked, other", [], {"step": {STATION: ["CT02"]}}, {}, False, "never asked; if it asks for the steps"),
    ("asked before", [asked(OWN, ago=7200)], {}, {}, True, "before the step came at 2026-03-12 08:00:00"),
    ("changed since", [asked(OWN, ago=600)], {}, {"changed": 300}, True, "before the step changed at"),
    ("not readable", [Asking(None, T - 60, 1, 0, "A900", "bad date: X")], {}, {}, False, "could not be read: bad date"),
    ("answered with trouble", [asked(OWN, status="A700", comment="database not available")], {}, {}, True,
     "was answered A700 (database not available); the same query now shows it"),
    ("an older query shows it", [asked({"PatientID": "P2"}), asked(OWN, ago=90)], {}, {}, False,
     "ct1 asked last at 2026-03-12 08:59:00 for patient id (not kept): the device asks for another patient id; an "
     "earlier query, at 2026-03-12 08:58:30 for station CT01, date 20260312, shows it"),
    ("an older query would show it", [asked({SPS: [{DATE: "20260313"}]}), asked({"PatientName": ""}, ago=90)], {},
     {"changed": 80}, False, "asked last at 2026-03-12 08:59:00 for date 20260313: the step has date 20260312, and the "
     "device asks for 20260313; an earlier query, at 2026-03-12 08:58:30 for everything (no key has a value), would "
     "now show it"),
    ("an older query failed", [asked(OTHER), asked(OWN, ago=90, status="A700")], {}, {}, False, "would now show it"),
    ("the last query shows all, an older one not", [asked({"PatientName": ""}), asked(OTHER, ago=90)], {}, {}, True,
     "ct1 asked at 2026-03-12 08:59:00: the step is shown"),
    ("an older query for another patient is no reason", [asked(OTHER), asked({"PatientID": "P2"}, ago=90)], {}, {},
     False, "for modality MR: the step has modality CT"),
    ("the last query cannot be read", [Asking(None, T - 60, 1, 0, "A900", "bad date: X"), asked(OWN, ago=90)], {}, {},
     False, "for something that could not be read: the query could not be read: bad date: X; an earlier query"),
    ("the last query cannot be told, an older one shows it", [asked({"PatientName": "DO*"}), asked(OWN, ago=90)], {},
     {}, None, "asked last at 2026-03-12 08:59:00 for name (not kept): the query also asks for name"),
    ("in turns by modality and station", [turn({SPS: [{STATION: "CT02"}]}, 60), turn({SPS: [{"Modality": "CT"}]}, 61)],
     {}, {}, True, "ct1 asked at 2026-03-12 08:58:59 for modality CT, in turns with other queries: the step is shown"),
    ("in turns, in the midst of a round", [turn(OTHER, 10), turn(OWN, 69)], {}, {}, True, "in turns with"),
    ("in turns, none shows it", [turn({SPS: [{STATION: "CT02"}]}, 60), turn(OTHER, 61)], {}, {}, False,
     "the device asks for CT02"),
    ("in turns no more", [turn(OTHER, 60), turn(OWN, 130)], {}, {}, False, "the step has modality CT"),
    ("typed in between", [turn(OTHER, 60), asked({"PatientName": ""}, ago=70)], {}, {}, False, "for MR; an earlier"),
    ("typed in between and yesterday", [turn(OTHER, 60), turn({"PatientName": ""}, 70, period=80_000)], {}, {}, False,
     "asks for MR; an earlier"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("askings", "stored", "more", "shown", "said"), [one[1:] for one in SITUATIONS], ids=[one[0] for one in SITUATIONS]
)
def test_the_reason(
    askings: list[Asking], stored: dict[str, Any], more: dict[str, Any], shown: bool | None, said: str
) -> None:
    found, reason, _ = conclude(askings, stored, **more)
    assert (found, said if said in reason else reason) == (shown, said)


def test_every_condition_is_told_and_no_patient() -> None:
    keys = {"PatientName": "DOE^JOHN", "PatientID": "P1", "AccessionNumber": "A1", **OWN}
    shown, reason, (only,) = conclude([asked(keys)], {})
    assert shown, reason
    names = [check.name for check in only.checks]
    assert names == [
        "held", "scheduled", "label", "status", "station", "date", "accession", "name", "patient id", "character set",
    ]  # fmt: skip
    assert not any(word in str(only) for word in ("DOE", "John", "JOHN", "P1", "A1"))


@pytest.mark.parametrize(
    ("profile", "charset", "name", "said"),
    [
        ({}, None, "Müller", "all texts fit"),
        (
            {"charset": "ISO_IR 6"},
            None,
            "Müller",
            "PatientName is written in plain letters, a name by its alphabetic writing",
        ),
        ({"charset": "ISO_IR 6"}, None, "=山田^太郎", "PatientName is sent empty, as no letter of it can be written"),
        (
            {"charset": "ISO_IR 100"},
            None,
            "Yamada=山田^太郎",
            "PatientName is written in plain letters, a name by its alphabetic writing",
        ),
        ({}, ["ISO_IR 100"], "Łukasz", "PatientName is not in this set: ISO_IR 192 instead"),
    ],
)
def test_the_character_set_is_told(profile: dict[str, Any], charset: Any, name: str, said: str) -> None:
    _, _, (only,) = conclude([asked(OWN, charset=charset)], {"PatientName": name}, profile=profile)
    assert (only.checks[-1].name, only.checks[-1].found) == ("character set", said)
