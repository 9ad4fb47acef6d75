"""Finds exams by what a person types: a part of the patient's name in any order, a number, a day, a station."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.dicom.dataset.folding import fold_for_search
from broker.model.exam import ExamLine, ExamPage, ExamSelection, Place
from broker.model.order import Document, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.identifiers import SHORT, short_form
from broker.orders.lookup.patient_terms import BORN, fit, words_of
from broker.store.exams import search
from broker.store.exams.search import TextFilter
from broker.store.orders import patient_terms

STATES: Mapping[str, tuple[StepStatus, ...]] = {
    "open": tuple(lifecycle.OPEN),
    "ended": tuple(lifecycle.ENDED),
    **{status.lower(): (status,) for status in StepStatus},
}
LOOK = 1_000  # patients whose words are not written yet that a search looks at, the newest
MOST_LEFT = 10_000  # patients that no search finds yet that are counted
PLACE = r"(?:\d{1,14}:)?\d{1,18}"
_PLACE = re.compile(r"(?:(\d{1,14}):)?(\d{1,18})")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')  # JSON writes these in another way
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_PROCEDURE = (
    "RequestedProcedureDescription",
    "ScheduledProcedureStepDescription",
    "RequestedProcedureCodeSequence",
    "ScheduledProtocolCodeSequence",
    "CodeMeaning",
    "CodeValue",
)
_REFERRING = ("ReferringPhysicianName", "RequestingPhysician", "RequestingService")
_STATUSES = tuple(StepStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamWish:
    """What a person looks for; a text is empty for anything. Dates are `YYYYMMDD`, `state` is a key of STATES.

    `name`: beginnings of words of the patient's name, in any order. `number`: beginning of an accession number, or a
    whole order number. `procedure` and `referring`: parts of words.
    """

    name: str = ""
    number: str = ""
    patient_id: str = ""
    patient: int | None = None  # our own number
    born: str = ""
    station: str = ""
    day: str = ""
    state: str = ""
    modality: str = ""
    procedure: str = ""
    referring: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """The names of what is given, for the audit trail."""
        return tuple(name for name in self.__slots__ if getattr(self, name))


def is_usable(wish: ExamWish) -> bool:
    """Of the name something is left when it is folded."""
    return not wish.name or bool(words_of(wish.name))


def place_text(place: Place) -> str:
    """A place as it stands in addresses and answers."""
    return f"{place[0]}:{place[1]}" if place[0] else str(place[1])


def place_of(text: str) -> Place | None:
    """The place of a text; None for a text that is none."""
    match = _PLACE.fullmatch(text)
    return (match[1] or "", int(match[2])) if match else None


def find(connection: Connection, wish: ExamWish, after: Place | None, limit: int) -> ExamPage:
    """At most `limit` exams behind a place: those of a day by their time, others the newest order first."""
    procedure, referring = words_of(wish.procedure), words_of(wish.referring)
    terms = (*words_of(wish.name), *([BORN + wish.born] if wish.born else []))
    selection = ExamSelection(
        terms=terms,
        fresh=_fresh(connection, terms) if terms else (),
        accession=wish.number if len(wish.number) <= SHORT else short_form(wish.number),  # as it is stored
        number=wish.number,
        patient_id=wish.patient_id,
        patient=wish.patient,
        station=wish.station,
        day=wish.day,
        statuses=STATES.get(wish.state, ()),
        modality=wish.modality.upper(),
        texts=(*procedure, *referring),
    )

    texts = text_filter(procedure, referring) if procedure or referring else None
    return search.find(connection, selection, _STATUSES, texts, after, limit)


def unfindable(connection: Connection) -> int:
    """Patients whose names are not found yet, at most MOST_LEFT: more came, or were updated, than `term_walk` wrote."""
    return max(0, patient_terms.left(connection, LOOK + MOST_LEFT) - LOOK)


def text_filter(procedure: Sequence[str], referring: Sequence[str]) -> TextFilter:
    """The filter for folded words of the procedure and of who refers."""
    plain = [word for word in (*procedure, *referring) if not _ESCAPED.search(word)]

    def may(raw: str) -> bool:
        folded = raw.casefold()
        if not folded.isascii():  # each part by itself: a long text costs what is not ASCII in it
            folded = _NOT_ASCII.sub(lambda found: fold_for_search(found[0]), folded)
        return all(word in folded for word in plain)

    def fits(line: ExamLine) -> bool:
        documents = [*line.procedures, *(step.attributes for step in line.steps)]
        return _hold(procedure, documents, _PROCEDURE) and _hold(referring, [line.attributes], _REFERRING)

    return TextFilter(may, fits)


def _fresh(connection: Connection, terms: Iterable[str]) -> tuple[int, ...]:
    """Patients (rows) that fit, of those that came last and have no words yet. To be asked before the words are."""
    some = patient_terms.unfindable(connection, LOOK, newest=True)
    return tuple(row for row, attributes in some.items() if fit(attributes, terms))


def _hold(words: Iterable[str], documents: Iterable[Document], keywords: tuple[str, ...]) -> bool:
    """Each word is part of a text of the documents under one of the keywords."""
    told = " ".join(words_of_all(documents, keywords)) if words else ""
    return all(word in told for word in words)


def words_of_all(documents: Iterable[Document], keywords: tuple[str, ...]) -> Iterator[str]:
    """The folded words of texts under some keywords, those of items too."""
    for document in documents:
        for keyword in keywords:
            value = document.get(keyword)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict):
                    yield from words_of_all([part], keywords)
                elif part:
                    yield from words_of(str(part))
