"""Every line of table K.6-1 of PS3.4: matched as it must be, returned when asked for and only then."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from support.worklist.worklist import DATE, IMPLICIT, SPS, document, query, read
from support.worklist.worklist_reference import finds
from support.worklist.worklist_table import ROWS, Row

from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.attributes import VISIBLE
from broker.worklist.query.matcher import matches

pytestmark = pytest.mark.parametrize("row", ROWS, ids=lambda row: ".".join(row.path))
STATUS = "ScheduledProcedureStepStatus"


def _stored(row: Row, value: Any) -> dict[str, Any]:
    """A document with this value at its place; what a step must have to be seen stays."""
    if row.path[0] != SPS:
        return document(**row.at(value))
    if len(row.path) == 1:
        return document()
    return document(step=row.at(value)[SPS][0])


def _asked(row: Row, value: Any) -> dict[str, Any]:
    return row.at(value)


def _value(row: Row, which: int = 0) -> Any:
    if row.keyword == STATUS:
        return VISIBLE[which]
    return row.value(which)


def _fits(row: Row, key: Any, stored: Any) -> bool:
    keys, there = _asked(row, key), _stored(row, stored)
    found = matches(there, query(keys))
    assert found == finds(there, keys)
    return found


def _empty(row: Row) -> Any:
    return [] if row.vr == "SQ" else None if row.vr == "US" else ""


def test_matching(row: Row) -> None:
    if row.path == (SPS,):
        assert _fits(row, [{"Modality": "CT"}], None)
        assert not _fits(row, [{"Modality": "MR"}], None)
        return
    one, other = _value(row), _value(row, 1)
    assert _fits(row, one, one)
    assert _fits(row, other, one) is not row.matched
    assert _fits(row, _empty(row), one)
    assert query(_asked(row, one)).supported is row.matched
    if row.keyword not in (DATE, STATUS):  # without a date or a status nobody sees the step
        assert _fits(row, _empty(row), _empty(row))
        assert _fits(row, one, _empty(row)) is not row.matched
    if row.several:
        assert _fits(row, one, [other, one])
        assert not _fits(row, one, [other, other])
    if row.matched and row.vr in ("AE", "CS", "LO", "LT", "PN", "SH"):
        assert _fits(row, f"{one[:2]}*", one)
        assert _fits(row, f"?{one[1:]}", one)
        assert not _fits(row, f"{one}?", one)
        assert _fits(row, "*", one)
        assert _fits(row, one.lower(), one) is (row.vr == "PN" or one == one.lower())
    if row.matched and row.vr in ("DA", "TM"):
        assert _fits(row, f"{one}-{other}", one)
        assert _fits(row, f"-{other}", one)
        assert not _fits(row, f"{other}-", one)


def _answer(keys: dict[str, Any], stored: dict[str, Any]) -> Dataset:
    return read(AnswerEncoder(query(keys), IMPLICIT, "ISO_IR 192").encode(stored))


def _at(found: Dataset, row: Row) -> Any:
    """The element at the place of the row; None when it or what it is in is absent."""
    item: Any = found
    for keyword in row.path[:-1]:
        if keyword not in item or not item[keyword].value:
            return None
        item = item[keyword].value[0]
    return item.get(row.tag)


def test_returned_when_asked_for(row: Row) -> None:
    value = _value(row)
    there = _at(_answer(_asked(row, _empty(row)), _stored(row, value)), row)
    assert there is not None
    if row.vr == "SQ":
        assert len(there.value) == 1
        keyword = "Modality" if row.path == (SPS,) else next(iter(value[0]))
        assert there.value[0][keyword].value
    else:
        assert str(there.value) == str(value)


def test_asked_for_without_a_value_it_is_empty(row: Row) -> None:
    if row.path == (SPS,):
        return  # no step, no answer
    there = _at(_answer(_asked(row, _empty(row)), _stored(row, _empty(row))), row)
    parents_empty = (len(row.path) > 1 and row.path[0] != SPS) or len(row.path) > 2
    if there is None:
        assert parents_empty
    else:
        assert not there.value


def test_not_returned_unasked(row: Row) -> None:
    other = "PatientID" if row.keyword != "PatientID" else "PatientName"
    found = _answer({other: ""}, _stored(row, _value(row)))
    assert [element.keyword for element in found] == [other]
    if len(row.path) > 1:
        sibling = next(r for r in ROWS if r.path[:-1] == row.path[:-1] and r.path != row.path)
        found = _answer(sibling.at(_empty(sibling)), _stored(row, _value(row)))
        assert _at(found, row) is None


def test_an_empty_item_asks_for_everything_and_only_types_1_and_2_come_empty(row: Row) -> None:
    if len(row.path) == 1:
        return
    parent = next(r for r in ROWS if r.path == row.path[:-1])
    without, with_it = _stored(row, _empty(row)), _stored(row, _value(row))
    assert _at(_answer(parent.at([{}]), with_it), row) is not None
    if row.path[0] == SPS and len(row.path) == 2:
        assert (_at(_answer(parent.at([{}]), without), row) is not None) is (row.returned in ("1", "2"))
