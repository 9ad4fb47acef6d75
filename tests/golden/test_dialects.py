"""The example profiles of `config/mapping`: each passes its examples, and modalities see what these say.

The messages of a profile are sent in their order through an HL7 door, and the worklist is asked after each. A step that
an example expects must be an item; of a cancelled order none may be left; a patient must be shown as told.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from support.orders.hospital import Hospital, everything
from support.orders.intake import AT, ZONE
from support.worklist.worklist import encoded

from broker.hl7.header import read_header
from broker.hl7.message import parse
from broker.hl7.mllp.server import Peer
from broker.hl7.tolerance import Tolerance
from broker.model.order import Document
from broker.orders.core.appointments import AppointmentAction, AppointmentChange
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Change, OrderChange, OrderKeys
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.trying import examples, preview
from broker.orders.trying.draft import check_draft
from broker.orders.trying.examples import ProfileExample
from broker.orders.trying.preview import Preview
from broker.store.db.database import Database

FOLDER = Path(__file__).parents[2] / "config" / "mapping"
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.toml"))}
TABLES = {name: read(text, name) for name, text in TEXTS.items()}
BOOK = ProfileBook(TABLES)
STEP_ITEM, START = "ScheduledProcedureStepSequence", "ScheduledProcedureStepStartDate"
PLACER, FILLER = "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"
ALL_KEYS = encoded({**everything(), "WorklistLabel": ""}, charset=["ISO_IR 192"])


def test_all_examples_pass_together() -> None:
    together = {name: (1, text) for name, text in TEXTS.items()}
    checked = check_draft(TEXTS["lilas"], together)
    assert checked.wrong == ()
    assert checked.unchanged


def test_they_are_the_dialects_of_many_senders() -> None:
    claims = {(claim.application, claim.facility) for name in TEXTS for claim in BOOK.named(name).senders}
    assert len(TEXTS) >= 20
    assert len(claims) >= 20


@pytest.mark.parametrize("name", TEXTS)
def test_a_profile_is_one_to_start_from(name: str) -> None:
    """It is marked as a sample, says what it is, and has messages, of which one has findings."""
    table, found = TABLES[name], examples.parse(TABLES[name])
    assert table["sample"] is True
    assert table["description"]
    assert TEXTS[name].startswith("# Example:")
    assert len(found) >= 3
    assert any(example.findings or example.answer != "AA" for example in found)


def _values(element: Any) -> Any:
    """A value of an answer as examples write it."""
    if element.VR == "SQ":
        return [_document(item) for item in element.value or ()]
    if element.VR == "US":
        return element.value
    if element.VM > 1:
        return [str(value) for value in element.value]
    return "" if element.value is None else str(element.value)


def _document(item: Dataset) -> Document:
    return {element.keyword: _values(element) for element in item}


def _same(expected: Any, got: Any) -> bool:
    if expected in ("", []):
        return got in ("", [], None)
    if isinstance(expected, float) or isinstance(got, float):
        return str(expected) == str(got)
    return expected in (got, [got]) or [expected] == got


def _at(item: Document, name: str) -> Any:
    """What an item shows at `Keyword` or `Sequence.Keyword` of the first item."""
    keyword, *below = name.split(".")
    here = item[keyword] if keyword in item else (item.get(STEP_ITEM) or [{}])[0].get(keyword)
    for part in below:
        here = (here or [{}])[0].get(part)
    return here


def _shows(item: Document, expected: Mapping[str, Any]) -> list[str]:
    """What an item shows otherwise than expected."""
    return [
        f"{name}: {_at(item, name)!r}, not {value!r}"
        for name, value in expected.items()
        if not _same(value, _at(item, name))
    ]


def _steps(expected: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The expectations of each step: those without `step[n].` are of the first one."""
    by_step: dict[str, dict[str, Any]] = {"step[1]": {}}
    for name, value in expected.items():
        place, _, rest = name.partition(".") if name.startswith("step[") else ("step[1]", "", name)
        by_step.setdefault(place, {})[rest] = value
    return iter(by_step.values())


def _patient(item: Document) -> tuple[str, str]:
    """The identifier of a patient, with its issuer."""
    return str(item.get("PatientID") or ""), str(item.get("IssuerOfPatientID") or "")


def _ended(change: Change) -> tuple[str, str]:
    """Keyword and order number of what a message cancels or takes from the worklist; empty for other messages."""
    numbers: OrderKeys | None = None
    if isinstance(change, OrderChange) and change.control in {"CA", "OC"}:
        numbers = OrderKeys(change.placer, change.filler)
    elif isinstance(change, AppointmentChange) and change.asked is AppointmentAction.UNBOOK:
        numbers = change.keys
    if numbers is None:
        return "", ""
    placer, filler = numbers.placer.number, numbers.filler.number
    return (PLACER, placer) if placer else (FILLER, filler)


def _told_of(outcome: Preview) -> Iterator[str]:
    """Texts of which an answer has one if it is about the patients or the orders of a message."""
    yield from (_patient(document)[0] for document in preview.documents(outcome))
    yield from (_ended(ordered.change)[1] for ordered in outcome.ordered)


def _wrong(example: ProfileExample, outcome: Preview, items: Sequence[Document]) -> list[str]:
    """What modalities see otherwise than an example says. A step without a start is not for them."""
    wrong: list[str] = []
    expected = {name: value for name, value in example.expect.items() if name != "control"}
    for ordered in outcome.ordered:
        keyword, number = _ended(ordered.change)
        wrong += [f"{number} is still shown" for item in items if number and item.get(keyword) == number]
    found = list(preview.documents(outcome))
    patients = {_patient(document) for document in found}
    own = [item for item in items if _patient(item) in patients]
    if found and all(STEP_ITEM in document for document in found):
        for step in _steps(expected):
            unlike = [_shows(item, step) for item in own]
            seen = any(not reasons for reasons in unlike)
            if seen == (step.get(START) == ""):
                wrong.append(f"{'an' if seen else 'no'} item is {step}: {unlike or 'none'}")
    else:
        wrong += [reason for item in own for reason in _shows(item, expected)]
    return wrong


class _DoorOfMarch(OrderDoor):
    """A door whose clock shows what MSH-7 says, as in a preview."""

    at = AT

    def _context(self, peer: Peer) -> StoryContext:
        return replace(super()._context(peer), at=self.at)


def _run(name: str, hospital: Hospital) -> None:
    """Send the messages of a profile to a broker whose clock and time zone are those of each example."""
    profile = BOOK.named(name)
    for example in examples.parse(TABLES[name]):
        raw, zone = preview.as_bytes(example.message, profile.reading.charset), example.zone or ZONE
        door = _DoorOfMarch(hospital.database, hospital.interface, BOOK.choose, zone=zone, default_station="UNASSIGNED")
        door.at, hospital.door = preview.clock(read_header(raw), zone), door
        answer = hospital.send(raw)
        assert answer, example.name
        told = parse(answer, Tolerance(replace=True)).get("MSA-1")
        assert told == example.answer, f"{example.name}: {answer!r}"
        outcome = preview.preview(raw, profile, example.zone)
        status, items = hospital.find(ALL_KEYS, having=[text for text in _told_of(outcome) if text])
        assert status == 0
        if example.answer == "AA":
            assert _wrong(example, outcome, [_document(item) for item in items]) == [], example.name


@pytest.mark.parametrize("name", TEXTS)
def test_modalities_see_what_the_examples_say(name: str, tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    try:
        _run(name, Hospital(database, list(TEXTS.values())))
    finally:
        database.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_all_dialects_on_one_database(database: Database) -> None:
    hospital = Hospital(database, list(TEXTS.values()))
    for name in TEXTS:
        _run(name, hospital)
