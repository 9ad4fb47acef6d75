"""Judges an N-CREATE or N-SET in the order of the standard, and gives each failure its status. Pure.

Lenient: a fault that can be forgiven is noted as a finding and answered with success or a warning (PS3.4 F.7.2, PS3.7
annex C). A device's profile may ask for the standard to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.dicom.dimse import status as st
from broker.model.order import Document
from broker.model.performed import PerformedStatus
from broker.mpps.attributes import END, FORGIVEN, ITEMS, MPPS, SERIES, STATUS, TAGS, MppsAttribute
from broker.mpps.dataset import DataSet

FINAL = (PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED)
MAX_ITEMS = 64  # scheduled steps of one performed step
_CHARSET = "SpecificCharacterSet"


@dataclass(frozen=True, slots=True)
class MppsAnswer:
    """A DIMSE status with what goes with it: Attribute Identifier List, Error Comment, Error ID; findings are ours."""

    status: int = st.SUCCESS
    tags: tuple[int, ...] = ()
    comment: str = ""
    error_id: int = 0
    findings: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Success or a warning: what was asked for is done."""
        return st.is_success_or_warning(self.status)


FINISHED = MppsAnswer(
    st.PROCESSING_FAILURE,
    comment="Performed Procedure Step Object may no longer be updated",
    error_id=st.NO_LONGER_UPDATABLE,
)


class _Course:
    """Collects what is wrong; the first failure decides the status, else the first warning."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._failure = 0
        self._warning = 0
        self._tags: dict[int, None] = {}
        self._findings: dict[str, None] = {}
        self._comment = ""

    def fail(self, status: int, tags: tuple[int, ...], comment: str) -> None:
        """A failure, if there is something wrong and no earlier failure."""
        if tags and not self._failure:
            self._failure, self._comment = status, comment
            self._tags = dict.fromkeys(tags)

    def forgive(self, strict: int, lenient: int, tags: tuple[int, ...], finding: str) -> None:
        """A failure where the standard is to be kept to the letter, else a finding with status `lenient`."""
        if not tags:
            return
        if self._strict and not st.is_success_or_warning(strict):
            self.fail(strict, tags, finding.replace("-", " "))
            return
        self._findings[finding] = None
        status = strict if self._strict else lenient
        if status and not self._failure:
            self._warning = self._warning or status
            self._tags.update(dict.fromkeys(tags))

    def answer(self) -> MppsAnswer:
        """What is answered."""
        if self._failure:
            return MppsAnswer(self._failure, tuple(self._tags), self._comment, findings=tuple(self._findings))
        return MppsAnswer(self._warning, tuple(self._tags), findings=tuple(self._findings))


def created(data_set: DataSet, *, strict: bool, first_completed: bool = False) -> MppsAnswer:
    """The answer to an N-CREATE with this data set, if its instance is not known yet.

    `first_completed`: the device may create a step that is final already.
    """
    document, course = data_set.document, _Course(strict=strict)
    status = document.get(STATUS, "")
    if status and status != PerformedStatus.IN_PROGRESS and not (first_completed and status in FINAL):
        course.fail(st.INVALID_ATTRIBUTE_VALUE, (TAGS[STATUS],), "a step is created IN PROGRESS")
    lacks = list(_lacks(document, MPPS, soft=False))
    course.fail(st.MISSING_ATTRIBUTE, _of(lacks, "1", absent=True, soft=False), "missing attribute")
    course.fail(st.MISSING_ATTRIBUTE_VALUE, _of(lacks, "1", absent=False, soft=False), "missing attribute value")
    if len(document.get(ITEMS, [])) > MAX_ITEMS:
        course.fail(st.INVALID_ATTRIBUTE_VALUE, (TAGS[ITEMS],), f"more than {MAX_ITEMS} scheduled steps")
    warning = st.ATTRIBUTE_LIST_ERROR
    course.forgive(st.MISSING_ATTRIBUTE, warning, _of(lacks, "1", absent=True, soft=True), "attribute-missing")
    course.forgive(st.MISSING_ATTRIBUTE_VALUE, warning, _of(lacks, "1", absent=False, soft=True), "value-missing")
    course.forgive(st.MISSING_ATTRIBUTE, warning, _of(lacks, "2", absent=True), "attribute-missing")
    _values(course, data_set)
    course.forgive(warning, st.SUCCESS, data_set.other, "attribute-unsupported")
    if status in FINAL:
        _final(course, document)
    return course.answer()


def changed(data_set: DataSet, stored: Document, *, strict: bool) -> tuple[MppsAnswer, Document]:
    """The answer to an N-SET of a step that is IN PROGRESS, and what the step is after it."""
    given, course = data_set.document, _Course(strict=strict)
    status = given.get(STATUS, "")
    if status and status not in {*PerformedStatus}:
        course.fail(st.INVALID_ATTRIBUTE_VALUE, (TAGS[STATUS],), "no status of a performed step")
    if STATUS in given and not status:
        course.forgive(st.MISSING_ATTRIBUTE_VALUE, st.SUCCESS, (TAGS[STATUS],), "value-missing")
    settable = {a.keyword for a in MPPS.values() if a.settable}
    fixed = tuple(TAGS[keyword] for keyword in given if keyword not in settable)
    course.forgive(st.INVALID_ATTRIBUTE_VALUE, st.ATTRIBUTE_LIST_ERROR, fixed, "attribute-not-settable")
    unknown = {k for k in given if k in settable and k not in stored and k != _CHARSET}
    course.forgive(
        st.NO_SUCH_ATTRIBUTE,
        st.ATTRIBUTE_LIST_ERROR,
        tuple(TAGS[k] for k in given if k in unknown - FORGIVEN),
        "attribute-not-created",
    )
    course.forgive(
        st.NO_SUCH_ATTRIBUTE,
        st.SUCCESS,
        tuple(TAGS[k] for k in given if k in unknown & FORGIVEN),
        "attribute-not-created",
    )
    _values(course, data_set)
    course.forgive(st.ATTRIBUTE_LIST_ERROR, st.SUCCESS, data_set.other, "attribute-unsupported")
    taken = settable - (unknown - FORGIVEN) - {_CHARSET}
    document = {**stored, **{k: v for k, v in given.items() if k in taken and (k != STATUS or v)}}
    if document.get(STATUS) in FINAL:
        _final(course, document)
    return course.answer(), document


def _values(course: _Course, data_set: DataSet) -> None:
    course.forgive(st.INVALID_ATTRIBUTE_VALUE, st.VALUE_OUT_OF_RANGE, data_set.odd, "value-out-of-range")


_Lack = tuple[int, str, bool, bool]  # tag, type, absent (else empty), whether devices are forgiven for it


def _lacks(document: Document, table: Mapping[int, MppsAttribute], *, soft: bool) -> Iterator[_Lack]:
    """Attributes of type 1 and 2 that are missing; in items too, but for those of no importance to us only softly."""
    for tag, attribute in table.items():
        value = document.get(attribute.keyword)
        if attribute.type in {"1", "2"} and value is None:
            yield tag, attribute.type, True, soft
        elif attribute.type == "1" and value in ("", []):
            yield tag, "1", False, soft
        if attribute.vr == "SQ" and value:
            for item in value:
                yield from _lacks(item, attribute.items, soft=soft or attribute.keyword != ITEMS)


def _of(lacks: list[_Lack], kind: str, *, absent: bool, soft: bool | None = None) -> tuple[int, ...]:
    tags = (tag for tag, k, a, s in lacks if k == kind and a == absent and (soft is None or s == soft))
    return tuple(dict.fromkeys(tags))


def _final(course: _Course, document: Document) -> None:
    """What must be there once a step is COMPLETED or DISCONTINUED."""
    absent = [TAGS[keyword] for keyword in (*END, SERIES) if keyword not in document]
    empty = [TAGS[keyword] for keyword in (*END, SERIES) if document.get(keyword) in ("", [])]
    series = MPPS[TAGS[SERIES]].items
    lacks = [lack for item in document.get(SERIES, []) for lack in _lacks(item, series, soft=True)]
    absent += [tag for tag, _, is_absent, _ in lacks if is_absent]
    empty += [tag for tag, _, is_absent, _ in lacks if not is_absent]
    course.forgive(st.MISSING_ATTRIBUTE, st.SUCCESS, tuple(dict.fromkeys(absent)), "final-incomplete")
    course.forgive(st.MISSING_ATTRIBUTE_VALUE, st.SUCCESS, tuple(dict.fromkeys(empty)), "final-incomplete")
