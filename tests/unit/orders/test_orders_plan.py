"""What an order change makes of an order, as a table: stored order and change, then action, steps, findings, numbers.

Each step is a letter for its status (S, A, R, T for STARTED, C, D, X for CANCELED), with `h` behind it if it is held;
steps of one procedure stand together, procedures apart: `STh C`. A finding is severity, code and location. Numbers are
placer, filler and accession number, then for each procedure its identifier, its study and its steps, `-` for none. They
are patterns where they are minted. Without numbers in a row they are those of the stored order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

import pytest

from broker.model.order import EntityId, KeptCancel, Order, Patient, Procedure, Step, StepStatus, Written
from broker.orders.core import plan
from broker.orders.core.identifiers import Identifiers, Minter, study_from_accession
from broker.orders.core.values import (
    OrderAction,
    OrderChange,
    OrderKeys,
    PatientChange,
    Plan,
    ProcedureChange,
    Span,
    StartMissing,
    StepChange,
)

A = OrderAction
AT = datetime(2026, 3, 12, 8, 15, 44, tzinfo=UTC)
NOW = AT.timestamp()
LETTERS = {
    "S": StepStatus.SCHEDULED, "A": StepStatus.ARRIVED, "R": StepStatus.READY, "T": StepStatus.STARTED,
    "C": StepStatus.COMPLETED, "D": StepStatus.DISCONTINUED, "X": StepStatus.CANCELED,
}  # fmt: skip
START = {"ScheduledProcedureStepStartDate": "20260312", "ScheduledProcedureStepStartTime": "100000"}
LATER = {"ScheduledProcedureStepStartDate": "20260313", "ScheduledProcedureStepStartTime": "093000"}
END = {"ScheduledProcedureStepEndDate": "20260312", "ScheduledProcedureStepEndTime": "103000"}
HERE = {"ScheduledStationAETitle": ["CT1"]}
PATIENT = {"PatientID": "PAT", "PatientName": "ROE^RICHARD"}
MADE, MADE_WITH_ID, MADE_WITH_NUMBER = study_from_accession("A1", "", "RP1", "F1")  # of one accession number
MADE_SECOND = study_from_accession("A1", "", "RP2", "F1")[1]


def stored(steps: str = "S", **more: Any) -> Order:
    """An order with procedures RP1, RP2 … of studies 1.1, 1.2 … and steps SPS1, SPS2 …, all named by the RIS."""
    procedures, number = [], 0
    for at, word in enumerate(steps.split(), 1):
        inside: list[Step] = []
        for letter in word:
            if letter == "h":
                inside[-1] = replace(inside[-1], held=True)
                continue
            number += 1
            attributes = {**START, **HERE, "Modality": "CR", "ScheduledProcedureStepID": f"SPS{number}"}
            inside.append(Step(number, f"SPS{number}", len(inside), LETTERS[letter], attributes))
        attributes = {"RequestedProcedureID": f"RP{at}"}
        procedures.append(Procedure(at, f"RP{at}", f"1.{at}", attributes, tuple(inside)))
    patient = Patient(1, "PAT", "HOSP", {**PATIENT}, (EntityId("OLD", "HOSP"),))
    order = Order(7, patient, EntityId("P1", "RIS"), EntityId("F1", "RIS"), "A1", {}, tuple(procedures))
    return replace(order, **more)


def ours(order: Order) -> Order:
    """The same with identifiers of procedures and steps that are ours: no message has said them."""
    return replace(
        order,
        procedures=tuple(
            replace(p, attributes={}, steps=tuple(replace(s, attributes=_without_id(s)) for s in p.steps))
            for p in order.procedures
        ),
    )


def _without_id(step: Step) -> dict[str, Any]:
    return {keyword: value for keyword, value in step.attributes.items() if keyword != "ScheduledProcedureStepID"}


def with_step(order: Order, **attributes: Any) -> Order:
    """The same with attributes of its first step changed; None takes one away."""
    (first, *others), procedure = order.procedures[0].steps, order.procedures[0]
    changed = {k: v for k, v in {**first.attributes, **attributes}.items() if v is not None}
    return replace(order, procedures=(replace(procedure, steps=(replace(first, attributes=changed), *others)),))


def step(number: str = "SPS1", stations: tuple[str, ...] = ("CT1",), **attributes: Any) -> StepChange:
    """A step of a message; None takes an attribute away."""
    named = {"ScheduledProcedureStepID": number} if number else {}
    given = {**START, **({"ScheduledStationAETitle": list(stations)} if stations else {}), "Modality": "CR", **named}
    return StepChange(number, stations, {k: v for k, v in {**given, **attributes}.items() if v is not None})


def procedure(number: str = "RP1", study: str = "1.1", *steps: StepChange, **attributes: Any) -> ProcedureChange:
    """A procedure of a message, with one step unless there are others."""
    named = {"RequestedProcedureID": number} if number else {}
    return ProcedureChange(number, study, {**named, **attributes}, steps or (step(),))


def ask(control: str, status: str = "", *procedures: ProcedureChange, **more: Any) -> OrderChange:
    """An order change; its numbers are those of `stored`, its procedure too unless there are others."""
    change = OrderChange(
        control=control,
        order_status=status,
        control_location="ORC^1^1",
        placer=EntityId("P1", "RIS"),
        filler=EntityId("F1", "RIS"),
        accession="A1",
        patient=PatientChange("PAT", "HOSP", {**PATIENT}),
        visit={},
        request={},
        procedures=procedures or (procedure(),),
    )
    return replace(change, **more)


def status(control: str, code: str = "", *steps: str, **more: Any) -> OrderChange:
    """A change of status of the steps named, of all if there are none."""
    named = tuple(StepChange(name, (), {}) for name in steps)
    return ask(control, code, ProcedureChange("", "", {}, named), **more)


def cancel(control: str = "CA", code: str = "", *steps: str) -> KeptCancel:
    """A cancel that came before the order."""
    return KeptCancel(
        control=control,
        order_status=code,
        placer=EntityId("P1"),
        filler=EntityId(),
        accession="",
        patient_id="PAT",
        issuer="",
        steps=steps,
    )


def by(accession: Any = None, study: Any = None, procedure_id: Any = None, step_id: Any = None) -> Identifiers:
    """Policies of a mapping, the built-in ones where nothing is said."""
    given = {
        "accession": accession, "study_instance_uid": study, "requested_procedure_id": procedure_id, "step_id": step_id,
    }  # fmt: skip
    return Identifiers(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    stored: Order | None
    change: OrderChange
    action: OrderAction
    steps: str = ""  # of the order that is written; empty if none is
    findings: Sequence[str] = ()
    numbers: str = ""
    situation: Mapping[str, Any] | None = None
    done: bool = True


NONE = EntityId()
ANOTHER_PATIENT = PatientChange("OTHER", "HOSP", {})
WRITTEN = Written("hl7:RIS|A", 1000.0, 2000.0)
BEFORE = stored("S", written=WRITTEN)
SENDER = {"sender": "hl7:RIS|A"}
NEW = "P1 F1 A1 | RP1 1.1 SPS1"
LONG = EntityId("F" * 17)

WRITES = [
    Case("a new order", None, ask("NW"), A.CREATED, "S", (), NEW),
    Case("a change of an order that is not known creates it", None, ask("XO"), A.CREATED, "S", (), NEW),
    Case("a child order", None, ask("CH", parent=OrderKeys(NONE, NONE)), A.CREATED, "S", (), NEW),
    Case("a replacing order", None, ask("RO"), A.CREATED, "S", (), NEW),
    Case("a new order that is held", None, ask("NW", "HD"), A.CREATED, "Sh", (), NEW),
    Case("a known patient", None, ask("NW"), A.CREATED, "S", (), NEW, {"patient": stored().patient}),
    Case("a new order again", stored(), ask("NW"), A.UNCHANGED),
    Case("a new order again with another start", stored(), ask("NW", "", procedure("RP1", "1.1", step(**LATER))),
         A.UPDATED, "S", ["W205 ORC^1^1"]),
    Case("a change of the start", stored(), ask("XO", "", procedure("RP1", "1.1", step(**LATER))), A.UPDATED, "S"),
    Case("a change that is so already", stored(), ask("XO"), A.UNCHANGED),
    Case("a change of a held order leaves it held", stored("Sh"),
         ask("XO", "", procedure("RP1", "1.1", step(**LATER))), A.UPDATED, "Sh"),
    Case("a change of an order without steps", stored(""), ask("XO"), A.UPDATED, "S", (), NEW),
    Case("a change of one that has arrived", stored("A"), ask("XO", "", procedure("RP1", "1.1", step(**LATER))),
         A.UPDATED, "A"),
    Case("a change after the end", stored("C"), ask("XO"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("a new order after its cancel", stored("X"), ask("NW"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("an end does not need a start", stored(), ask("SC", "CM"), A.STATUS, "C"),
    Case("another patient", stored(), ask("XO", patient=ANOTHER_PATIENT), A.REFUSED, "", ["E205 PID^1^3"], done=False),
    Case("another patient's cancel", stored(), status("CA", patient=ANOTHER_PATIENT), A.REFUSED, "", ["E205 PID^1^3"],
         done=False),
    Case("a retired identifier", stored(), ask("XO", patient=PatientChange("OLD", "HOSP", {})), A.UNCHANGED),
    Case("an identifier without issuer", stored(), ask("XO", patient=PatientChange("PAT", "", {})), A.UNCHANGED),
    Case("the same identifier of another issuer", stored(), ask("XO", patient=PatientChange("PAT", "CLINIC", {})),
         A.REFUSED, "", ["E205 PID^1^3"], done=False),
    Case("older by ORC-9", BEFORE, ask("XO", ordered=Span(900, 960)), A.LATE, "", ["W0 ORC^1^1"], "", SENDER,
         done=False),
    Case("ORC-9 of the same minute", BEFORE, ask("XO", ordered=Span(990, 1050)), A.UNCHANGED, situation=SENDER),
    Case("ORC-9 decides before MSH-7", BEFORE, ask("XO", ordered=Span(1000, 1001), sent=Span(10, 11)), A.UNCHANGED,
         situation=SENDER),
    Case("older by MSH-7", BEFORE, ask("XO", sent=Span(1999, 2000)), A.LATE, "", ["W0 ORC^1^1"], "", SENDER,
         done=False),
    Case("older by another sender's clock", BEFORE, ask("XO", sent=Span(1999, 2000)), A.UNCHANGED,
         situation={"sender": "hl7:OTHER|A"}),
    Case("older, without a sender", BEFORE, ask("XO", sent=Span(1999, 2000)), A.UNCHANGED),
    Case("cancelled before it came", None, ask("NW"), A.CREATED, "X", ["W204 ORC^1^1"], NEW, {"cancels": [cancel()]}),
    Case("discontinued before it came", None, ask("NW"), A.CREATED, "D", ["W204 ORC^1^1"], NEW,
         {"cancels": [cancel("DC")]}),
    Case("one step cancelled before it came", None,
         ask("NW", "", procedure("RP1", "1.1", step("SPS1"), step("SPS2"))), A.CREATED, "SX", ["W204 ORC^1^1"],
         "P1 F1 A1 | RP1 1.1 SPS1,SPS2", {"cancels": [cancel("CA", "", "SPS2")]}),
    Case("a kept cancel that asks for nothing", None, ask("NW"), A.CREATED, "S", (), NEW, {"cancels": [cancel("SC")]}),
]  # fmt: skip

NUMBERS = [
    Case("numbers that a change leaves out stay", stored(), ask("XO", placer=NONE, filler=NONE, accession=""),
         A.UNCHANGED),
    Case("a number that comes later", stored(filler=NONE), ask("XO"), A.UPDATED, "S", (), NEW),
    Case("an accession number is corrected", stored(), ask("XO", accession="A2"), A.UPDATED, "S", (),
         "P1 F1 A2 | RP1 1.1 SPS1"),
    Case("no accession number: the filler number", None, ask("NW", accession=""), A.CREATED, "S", (),
         "P1 F1 F1 | RP1 1.1 SPS1"),
    Case("no filler number either: the placer number", None, ask("NW", accession="", filler=NONE), A.CREATED, "S", (),
         "P1 - P1 | RP1 1.1 SPS1"),
    Case("a filler number too long for an accession number", None, ask("NW", accession="", filler=LONG), A.CREATED,
         "S", ["W102 ORC^1^3"], "P1 F???????????????? P1 | RP1 1.1 SPS1"),
    Case("an accession number is generated", None,
         ask("NW", accession="", identifiers=by(accession=("message", "generate"))), A.CREATED, "S", (),
         "P1 F1 A??????????????? | RP1 1.1 SPS1"),
    Case("a generated accession number is kept", stored(accession="AGENERATED"),
         ask("XO", accession="", identifiers=by(accession=("message", "generate"))), A.UNCHANGED),
    Case("an accession number is required", None,
         ask("NW", accession="", identifiers=by(accession=("message", "refuse"))), A.REFUSED, "",
         ["E101 OBR^1^18"], done=False),
    Case("a number is to be sent back", None, ask("SN", filler=NONE), A.CREATED, "S", (),
         "P1 F??????????????? A1 | RP1 1.1 SPS1"),
    Case("a number is to be sent back that is there", None, ask("SN"), A.CREATED, "S", (), NEW),
    Case("all is generated", None,
         ask("NW", "", procedure("", "", step("")), accession="", placer=EntityId("P" * 20), filler=NONE,
             identifiers=by(accession=("message", "generate"))),
         A.CREATED, "S", (), "P* - A??????????????? | A??????????????? 2.25.* SPS?????????????"),
    Case("a procedure id of the accession number", None, ask("NW", "", procedure("")), A.CREATED, "S", (),
         "P1 F1 A1 | A1 1.1 SPS1"),
    Case("a second procedure cannot have the accession number too", None,
         ask("NW", "", procedure("", "1.1"), procedure("", "1.2", step("SPS2"))), A.CREATED, "S S", (),
         "P1 F1 A1 | A1 1.1 SPS1 | RP* 1.2 SPS2"),
    Case("a procedure id is required", None,
         ask("NW", "", procedure(""), identifiers=by(procedure_id=("message", "refuse"))), A.REFUSED, "",
         ["E101 OBR^1^19"], done=False),
    Case("a step id is required", None,
         ask("NW", "", procedure("RP1", "1.1", step("")), identifiers=by(step_id=("message", "refuse"))), A.REFUSED, "",
         ["E101 OBR^1^20"], done=False),
    Case("a study uid is generated", None, ask("NW", "", procedure("RP1", "")), A.CREATED, "S", (),
         "P1 F1 A1 | RP1 2.25.* SPS1"),
    Case("a study uid is kept", stored(), ask("XO", "", procedure("RP1", "")), A.UNCHANGED),
    Case("a study uid is required", None, ask("NW", "", procedure("RP1", ""), identifiers=by(study="require")),
         A.REFUSED, "", ["E101 ZDS^1^1"], done=False),
    Case("a required study uid is there already", stored(),
         ask("XO", "", procedure("RP1", ""), identifiers=by(study="require")), A.UNCHANGED),
    Case("a study uid of the accession number", None,
         ask("NW", "", procedure("RP1", ""), identifiers=by(study="from-accession")), A.CREATED, "S", (),
         f"P1 F1 A1 | RP1 {MADE} SPS1"),
    Case("two studies of one accession number", None,
         ask("NW", "", procedure("RP1", ""), procedure("RP2", "", step("SPS2")),
             identifiers=by(study="from-accession")),
         A.CREATED, "S S", (), f"P1 F1 A1 | RP1 {MADE} SPS1 | RP2 {MADE_SECOND} SPS2"),
    Case("another order has the study of the accession number", None,
         ask("NW", "", procedure("RP1", ""), identifiers=by(study="from-accession")), A.CREATED, "S", (),
         f"P1 F1 A1 | RP1 {MADE_WITH_ID} SPS1", {"owners": {MADE: 99}}),
    Case("other orders have all studies of the accession number", None,
         ask("NW", "", procedure("RP1", ""), identifiers=by(study="from-accession")), A.REFUSED, "",
         ["E205 OBR^1^18"], "", {"owners": dict.fromkeys((MADE, MADE_WITH_ID, MADE_WITH_NUMBER), 99)}, done=False),
    Case("a study of an accession number that is not there", None,
         ask("NW", "", procedure("RP1", ""), accession="", filler=LONG, placer=NONE,
             identifiers=by(study="from-accession")), A.REFUSED, "", ["W102 ORC^1^3", "E101 OBR^1^18"], done=False),
    Case("a study uid of another order", None, ask("NW"), A.REFUSED, "", ["E205 ZDS^1^1"], "", {"owners": {"1.1": 99}},
         done=False),
    Case("its own study uid", stored(), ask("XO"), A.UNCHANGED, situation={"owners": {"1.1": 7}}),
    Case("another study uid while all wait", stored("S"), ask("XO", "", procedure("RP1", "1.9")), A.UPDATED, "S", (),
         "P1 F1 A1 | RP1 1.9 SPS1"),
    Case("another study uid after the start", stored("ST"),
         ask("XO", "", procedure("RP1", "1.9", step(**LATER))), A.UPDATED, "ST", ["W0 ZDS^1^1"]),
]  # fmt: skip

BELOW = [
    Case("a second procedure", stored(), ask("XO", "", procedure(), procedure("RP2", "1.2", step("SPS2"))), A.UPDATED,
         "S S", (), "P1 F1 A1 | RP1 1.1 SPS1 | RP2 1.2 SPS2"),
    Case("the second procedure alone", stored("S S"),
         ask("XO", "", procedure("RP2", "1.2", step("SPS2", **LATER))), A.UPDATED, "S S"),
    Case("a procedure by its study", stored(), ask("XO", "", procedure("RP9", "1.1")), A.UPDATED, "S", (),
         "P1 F1 A1 | RP9 1.1 SPS1"),
    Case("a procedure without identifiers is the next one", stored("S S"),
         ask("XO", "", procedure("", "", step()), procedure("", "", step("SPS2", **LATER))), A.UPDATED, "S S"),
    Case("identifiers of ours give way to the message's", ours(stored()),
         ask("XO", "", procedure("RP9", "", step("SPS9"))), A.UPDATED, "S", (), "P1 F1 A1 | RP9 1.1 SPS9"),
    Case("identifiers of ours stay if the message has none", ours(stored()),
         ask("XO", "", procedure("", "", step("", **LATER))), A.UPDATED, "S"),
    Case("a second step", stored(), ask("XO", "", procedure("RP1", "1.1", step(), step("SPS2"))), A.UPDATED, "SS", (),
         "P1 F1 A1 | RP1 1.1 SPS1,SPS2"),
    Case("a step of another name is another step", stored(), ask("XO", "", procedure("RP1", "1.1", step("SPS9"))),
         A.UPDATED, "SS", (), "P1 F1 A1 | RP1 1.1 SPS1,SPS9"),
    Case("a step without name is the one at its place", stored("SS"),
         ask("XO", "", procedure("RP1", "1.1", step("", **LATER))), A.UPDATED, "SS"),
    Case("a step without name is not one that another names", stored("S"),
         ask("XO", "", procedure("RP1", "1.1", step(""), step("SPS1"))), A.UPDATED, "SS", (),
         "P1 F1 A1 | RP1 1.1 SPS1,SPS?????????????"),
    Case("a step that has ended stays", stored("CS"),
         ask("XO", "", procedure("RP1", "1.1", step("SPS1", **LATER), step("SPS2"))), A.UNCHANGED, "", ["W0 ORC^1^1"]),
    Case("no start: the time of receipt", None,
         ask("NW", "", procedure("RP1", "1.1", step(**dict.fromkeys(START)))), A.CREATED, "S", ["W101 ORC^1^7"], NEW),
    Case("a start is required", None,
         ask("NW", "", procedure("RP1", "1.1", step(**dict.fromkeys(START))), start_missing=StartMissing.REFUSE),
         A.REFUSED, "", ["E101 ORC^1^7"], done=False),
    Case("no start: it waits for one", None,
         ask("NW", "", procedure("RP1", "1.1", step(**dict.fromkeys(START))), start_missing=StartMissing.UNSCHEDULED),
         A.CREATED, "S", ["W101 ORC^1^7"], NEW),
    Case("a known step whose appointment is off waits for another", with_step(stored(), **dict.fromkeys(START)),
         ask("XO", "", procedure("RP1", "1.1", step(**dict.fromkeys(START)))), A.UNCHANGED),
    Case("no modality", None, ask("NW", "", procedure("RP1", "1.1", step(Modality=None))), A.REFUSED, "",
         ["E101 OBR^1^24"], done=False),
    Case("two things are wrong", None,
         ask("NW", "", procedure("RP1", "", step("", Modality=None)),
             identifiers=by(study="require", step_id=("message", "refuse"))), A.REFUSED, "",
         ["E101 ZDS^1^1", "E101 OBR^1^24", "E101 OBR^1^20"], done=False),
]  # fmt: skip

STATUSES = [
    Case("cancel", stored("SA"), status("CA"), A.CANCELED, "XX"),
    Case("cancel by the filler", stored("S"), status("OC"), A.CANCELED, "X"),
    Case("cancel of one step", stored("SS"), status("CA", "", "SPS2"), A.CANCELED, "SX"),
    Case("cancel of a step that is not known means all", stored("SS"), status("CA", "", "SPS9"), A.CANCELED, "XX"),
    Case("cancel of a held order", stored("Sh"), status("CA"), A.CANCELED, "X"),
    Case("cancel after the start", stored("T"), status("CA"), A.REFUSED, "", ["E204 ORC^1^1"], done=False),
    Case("cancel of the step that waits", stored("TS"), status("CA", "", "SPS2"), A.CANCELED, "TX"),
    Case("cancel of all, one at work", stored("ST"), status("CA"), A.REFUSED, "", ["E204 ORC^1^1"], done=False),
    Case("cancel again", stored("X"), status("CA"), A.LATE, "", ["W0 ORC^1^1"]),
    Case("cancel after the end", stored("C"), status("CA"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("cancel of what is left", stored("CS"), status("CA"), A.CANCELED, "CX"),
    Case("discontinue", stored("SR"), status("DC"), A.DISCONTINUED, "DD"),
    Case("discontinue after the start", stored("T"), status("DC"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("discontinue what is left", stored("TS"), status("OD"), A.DISCONTINUED, "TD"),
    Case("hold", stored("SS"), status("HD"), A.HELD, "ShSh"),
    Case("hold again", stored("Sh"), status("OH"), A.UNCHANGED),
    Case("hold after the start", stored("T"), status("HD"), A.REFUSED, "", ["E204 ORC^1^1"], done=False),
    Case("hold after the end", stored("C"), status("HD"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("release", stored("Sh"), status("RL"), A.RELEASED, "S"),
    Case("release of what is not held", stored("S"), status("OE"), A.UNCHANGED),
    Case("started", stored("S"), status("SC", "IP"), A.STATUS, "T"),
    Case("started ends holding", stored("Sh"), status("SC", "IP"), A.STATUS, "T"),
    Case("started again", stored("T"), status("SC", "IP"), A.UNCHANGED),
    Case("started after the end", stored("C"), status("SC", "IP"), A.LATE, "", ["W0 ORC^1^1"], done=False),
    Case("completed", stored("TS"), status("SC", "CM"), A.STATUS, "CC"),
    Case("completed again", stored("C"), status("SC", "CM"), A.LATE, "", ["W0 ORC^1^1"]),
    Case("stopped at work", stored("T"), status("SC", "DC"), A.STATUS, "D"),
    Case("cancelled by a change", stored("S"), status("XO", "CA"), A.CANCELED, "X"),
    Case("status of ours", stored("S"), status("SC", "HD"), A.HELD, "Sh"),
    Case("cancel of an unknown order", None, status("CA"), A.REFUSED, "", ["E204 ORC^1^2"], done=False),
    Case("cancel of an unknown order is kept", None, status("CA", parks=True), A.PARKED, "", ["W204 ORC^1^2"]),
    Case("discontinue of an unknown order is kept", None, status("DC", parks=True), A.PARKED, "", ["W204 ORC^1^2"]),
    Case("hold of an unknown order", None, status("HD", parks=True), A.REFUSED, "", ["E204 ORC^1^2"], done=False),
    Case("a question about an order", stored("S"), status("SS"), A.UNCHANGED),
    Case("a question about an unknown order", None, status("SS"), A.REFUSED, "", ["E204 ORC^1^2"], done=False),
    Case("a parent", stored("S"), status("PA"), A.UNCHANGED),
    Case("an unknown parent", None, status("PA"), A.UNCHANGED, "", ["W0 ORC^1^1"]),
    Case("a code that is not acted on", stored("S"), status("RE"), A.UNCHANGED, "", ["W0 ORC^1^1"]),
    Case("a code that is not acted on, for another patient", stored("S"), status("RE", patient=ANOTHER_PATIENT),
         A.UNCHANGED, "", ["W0 ORC^1^1"]),
    Case("the filler number", stored("S", filler=NONE), status("NA"), A.NUMBERED, "S", (), NEW),
    Case("the filler number again", stored("S"), status("NA"), A.UNCHANGED),
    Case("the filler number of an order that has ended", stored("C", filler=NONE), status("NA"), A.NUMBERED, "C", (),
         "P1 F1 A1 | RP1 1.1 SPS1"),
    Case("the filler number of an unknown order", None, status("NA"), A.REFUSED, "", ["E204 ORC^1^2"], done=False),
]  # fmt: skip


def planned(case: Case) -> Plan:
    values: dict[str, Any] = {
        "stored": case.stored, "patient": None, "owners": {}, "at": AT, "default_station": "NONE",
        "mint": Minter(UUID(int=7)),
    }  # fmt: skip
    return plan.make(case.change, plan.Situation(**{**values, **(case.situation or {})}))


def shown(order: Order) -> str:
    """The steps of an order as in the table."""
    letters = {value: letter for letter, value in LETTERS.items()}
    words = ("".join(letters[s.status] + "h" * s.held for s in p.steps) for p in order.procedures)
    return " ".join(words)


def numbers(order: Order) -> str:
    """The numbers of an order as in the table."""
    parts = [f"{order.placer.number or '-'} {order.filler.number or '-'} {order.accession or '-'}"]
    for p in order.procedures:
        parts.append(f"{p.requested_procedure_id} {p.study_instance_uid} {','.join(s.step_id for s in p.steps)}")
    return " | ".join(parts)


@pytest.mark.parametrize("case", [*WRITES, *NUMBERS, *BELOW, *STATUSES], ids=lambda case: case.name.replace(" ", "-"))
def test_plan(case: Case) -> None:
    made = planned(case)
    assert made.action is case.action
    assert [f"{f.severity}{f.code} {f.location}" for f in made.findings] == list(case.findings)
    assert (shown(made.order) if made.order else "") == case.steps
    assert made.done is case.done
    assert made.row == (case.stored.row if case.stored else None)
    if made.order is not None:
        wanted = case.numbers or numbers(case.stored or made.order)
        assert fnmatchcase(numbers(made.order), wanted), (numbers(made.order), wanted)
        assert made.order.row == made.row


def test_each_action_stands_in_the_table() -> None:
    cases = [*WRITES, *NUMBERS, *BELOW, *STATUSES]
    assert {case.action for case in cases} == set(OrderAction)
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.numbers for case in cases if case.steps and case.stored is None)  # what is new has its numbers


def step_of(change: OrderChange, order: Order | None = None, **situation: Any) -> Step:
    """The first step of what a change is planned to be."""
    made = planned(Case("", order, change, A.CREATED, situation=situation)).order
    assert made is not None
    return made.procedures[0].steps[0]


def test_a_step_without_a_start_has_the_time_of_receipt() -> None:
    made = step_of(ask("NW", "", procedure("RP1", "1.1", step(**dict.fromkeys(START)))))
    assert made.start_at == "20260312081544"


@pytest.mark.parametrize(
    ("given", "known", "stations"),
    [(("CT2",), None, ("CT2",)), ((), None, ("NONE",)), ((), stored(), ("CT1",)), (("CT2",), stored(), ("CT2",))],
)
def test_stations_are_those_of_the_message_the_stored_ones_the_default(
    given: tuple[str, ...], known: Order | None, stations: tuple[str, ...]
) -> None:
    assert step_of(ask("XO", "", procedure("RP1", "1.1", step(stations=given, **LATER))), known).stations == stations


def test_an_end_before_the_start_is_left_out_with_a_warning_if_the_message_says_it() -> None:
    known = with_step(stored(), **END)
    moved = planned(Case("", known, ask("XO", "", procedure("RP1", "1.1", step(**LATER))), A.UPDATED))
    assert moved.findings == ()
    assert moved.order is not None
    assert "ScheduledProcedureStepEndDate" not in moved.order.procedures[0].steps[0].attributes
    said = planned(Case("", known, ask("XO", "", procedure("RP1", "1.1", step(**LATER, **END))), A.UPDATED))
    assert [(f.severity, f.code, f.location) for f in said.findings] == [("W", "102", "ORC^1^7")]


def test_defaults_count_only_for_what_is_new() -> None:
    defaults = {"RequestingService": "DEFAULT"}
    change = ask("XO", defaults=defaults)
    created = planned(Case("", None, change, A.CREATED)).order
    assert created is not None
    assert created.attributes == defaults
    assert planned(Case("", stored(), change, A.UNCHANGED)).order is None


def test_what_wrote_last_is_kept_with_its_times_but_none_of_the_far_future() -> None:
    tomorrow = NOW + 90_000
    change = ask("NW", ordered=Span(500, 560), sent=Span(tomorrow, tomorrow + 1))
    made = planned(Case("", None, change, A.CREATED, situation=SENDER)).order
    assert made is not None
    assert made.written == Written("hl7:RIS|A", 500, 0)


def test_a_repeat_that_is_asked_for_later_is_noted_with_its_time() -> None:
    change = ask("XO", ordered=Span(5000, 5060))
    made = planned(Case("", BEFORE, change, A.UNCHANGED, situation=SENDER))
    assert (made.order, made.written) == (None, Written("hl7:RIS|A", 5000, 0))


def test_a_known_patient_keeps_what_the_message_leaves_out() -> None:
    known = Patient(1, "PAT", "HOSP", {**PATIENT, "PatientSex": "M"})
    made = planned(Case("", None, ask("NW"), A.CREATED, situation={"patient": known})).order
    assert made is not None
    assert made.patient == known
