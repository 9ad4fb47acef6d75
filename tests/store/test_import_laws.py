"""Laws of imports over random worklist items with wrong values: nothing is lost or changed without being named.

200 examples; `BROKER_FULL=1 pytest tests/store/test_import_laws.py` runs 10,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.orders.intake import ZONE
from support.scale import scaled

from broker.model.modalities import MODALITIES
from broker.orders.core.context import StoryContext
from broker.orders.core.values import OrderChange
from broker.orders.documents import leniency, validity
from broker.orders.documents.document import FIELDS, STATUS
from broker.orders.documents.validity import Field, Invalid
from broker.orders.importing import filing
from broker.store.db.database import Database
from broker.store.orders import imported, reading, search

EXAMPLES = settings(
    max_examples=scaled(200, 10_000), deadline=None, suppress_health_check=list(HealthCheck), database=None
)
pytestmark = pytest.mark.timeout(scaled(180, 3600))
KEYS = {"PatientID", "PatientName", "AccessionNumber", "Modality", "StudyInstanceUID"}
# what servers write, right and wrong, whatever the attribute
TEXTS = st.sampled_from(
    [
        "", "A", "U", "u", "M", "f", "9", "N", "STAT", "R", "19700101", "19320431", "1970", "00000000", "1970.01.02",
        "093000", "0930", "246060", "093000.5", "70.5", "70,5", "1.2.3", "1.02.3", "X" * 17, "Y" * 80, "Z" * 2000,
        "A^B^C^D^E^F^G", "DOE^JOHN", "a\\b", "tab\there", "bell\x07", "Größe", "山田", "040Y", "53", "65536", "-1",
    ]
)  # fmt: skip


def _values(field: Field) -> st.SearchStrategy[Any]:
    if field.vr == "SQ":
        keywords = st.dictionaries(st.sampled_from(sorted(field.items)), TEXTS, max_size=4)
        plain = keywords.map(lambda item: {k: v for k, v in item.items() if field.items[k].vr != "SQ"})
        return st.lists(plain, max_size=2)
    return st.lists(TEXTS.filter(bool), max_size=3) if field.multiple else TEXTS


@cache
def _section(name: str) -> st.SearchStrategy[dict[str, Any]]:
    optional = {keyword: _values(field) for keyword, field in FIELDS[name].items() if keyword not in KEYS | {STATUS}}
    chosen = st.sets(st.sampled_from(sorted(optional)), max_size=5)
    return chosen.flatmap(lambda keywords: st.fixed_dictionaries({keyword: optional[keyword] for keyword in keywords}))


STATUSES = st.sampled_from(
    ["", "SCHEDULED", "arrived", "READY", "STARTED", "COMPLETED", "CANCELLED", "CANCELED", "DISCONTINUED", "GONE"]
)


@st.composite
def items(draw: st.DrawFn) -> dict[str, Any]:
    """An order document as `worklist.source.order_document` makes one of an answer."""
    number = draw(st.integers(1, 10**9))
    step = {
        "Modality": draw(st.sampled_from(["CT", "MR", "Mri", "SPECT2", "no modality", "X" * 20])),
        **draw(_section("step")),
    }
    step[STATUS] = draw(STATUSES)
    procedure = {"StudyInstanceUID": f"2.999.6.{number}", **draw(_section("procedure")), "steps": [step]}
    patient = {"PatientID": f"P{number}", "PatientName": draw(st.sampled_from(["DOE^JOHN", "A^B^C^D^E^F", "N" * 90]))}
    return {
        "patient": {**patient, **draw(_section("patient"))},
        "visit": draw(_section("visit")),
        "request": {"AccessionNumber": f"A{number}", **draw(_section("request"))},
        "procedures": [procedure],
    }


def _given(document: Mapping[str, Any]) -> Iterator[tuple[str, Field, Any, str]]:
    """Every value of a document with its path, but for those in sequences, and the section it is in."""
    procedure = document["procedures"][0]
    parts = {name: document[name] for name in ("patient", "visit", "request")}
    parts |= {"procedures/0": {k: v for k, v in procedure.items() if k != "steps"}}
    parts |= {"procedures/0/steps/0": procedure["steps"][0]}
    for path, section in parts.items():
        name = {"procedures/0": "procedure", "procedures/0/steps/0": "step"}.get(path, path)
        for keyword, value in section.items():
            if keyword != STATUS and FIELDS[name][keyword].vr != "SQ":
                yield f"{path}/{keyword}", FIELDS[name][keyword], value, name


def _kept(change: OrderChange, name: str, keyword: str) -> Any:
    procedure, step = change.procedures[0], change.procedures[0].steps[0]
    special = {
        "AccessionNumber": change.accession, "StudyInstanceUID": procedure.study_instance_uid,
        "ScheduledStationAETitle": list(step.stations),
    }  # fmt: skip
    sections = {
        "patient": change.patient.attributes, "visit": change.visit, "request": change.request,
        "procedure": procedure.attributes, "step": step.attributes,
    }  # fmt: skip
    return special.get(keyword, sections[name].get(keyword, ""))


def _right(field: Field, value: Any) -> Any:
    """The value as it should be kept; None if it cannot be one."""
    try:
        if field.multiple:
            return [one for one in (validity.checked(field.keyword, field.vr, one) for one in value) if one != ""]
        old = field.vr == "DA" and value == "1970.01.02"  # the same date in the form of ACR-NEMA
        return "19700102" if old else validity.checked(field.keyword, field.vr, value)
    except Invalid:
        return None


@EXAMPLES
@given(items())
def test_each_value_is_kept_or_named(document: dict[str, Any]) -> None:
    conversion = leniency.convert(document, MODALITIES)
    (change,) = conversion.changes
    assert isinstance(change, OrderChange)
    told = [finding.location for finding in conversion.findings]
    for path, field, value, name in _given(document):
        kept = _kept(change, name, field.keyword)
        same = kept == _right(field, value) or (kept in ("", []) and value in ("", []))
        assert same or any(place.startswith(path) for place in told), (path, value, kept)
    status = document["procedures"][0]["steps"][0][STATUS]
    step = change.procedures[0].steps[0]
    assert step.status == (status or None) or f"procedures/0/steps/0/{STATUS}" in told


def test_each_item_is_in_place_or_named(database: Database) -> None:
    numbers = count(1)

    @EXAMPLES
    @given(items())
    def law(document: dict[str, Any]) -> None:
        number = next(numbers)
        document["patient"]["PatientID"], document["request"]["AccessionNumber"] = f"P{number}", f"A{number}"
        document["procedures"][0]["StudyInstanceUID"] = f"2.999.6.{number}"
        order = filing.read("a.wl", document, MODALITIES, lenient=True)
        context = StoryContext(uuid4(), datetime.now(ZONE), "UNASSIGNED", "cli:test")
        done = database.submit(filing.take_in, order, context).result()
        database.submit(filing.record, [(order, done)], context).result()
        rows = database.read(search.find, {"AccessionNumber": order.accession}, 0, 5).result()
        notes = {note.accession: note for note in database.read(imported.find, "", 20).result()}
        if done.outcome in filing.IN_PLACE:
            (row,) = rows
            stored = database.read(reading.load_order, row).result()
            assert stored.steps()[0].status not in ("COMPLETED", "CANCELED", "DISCONTINUED")
            assert (order.accession in notes) == bool(done.findings)
        else:
            assert rows == []
            assert notes[order.accession].outcome == done.outcome
            assert done.outcome in ("refused", "skipped")
        again = database.submit(filing.take_in, order, context).result()
        assert again.outcome == ("unchanged" if done.outcome in filing.IN_PLACE else done.outcome)

    law()
