"""The table of the objects of a study: what became of each, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.admin.web.listing import Column, Filter, Listing, Table
from broker.admin.web.studies import words
from broker.admin.web.words import Sentence
from broker.status.causes import reason
from broker.store.images.instances import InstanceState
from broker.store.studies.counting import SeriesCount
from broker.store.studies.objects import ObjectStand
from broker.store.studies.summaries import StudySummary

_PATH = "/studies/{id:int}"
_TABLE = Table(
    path=_PATH,
    region="study_objects",
    title=Sentence("Objects"),
    columns=(
        Column(name="object", title=Sentence("Object")),
        Column(name="series", title=Sentence("Series"), numeric=True),
        Column(name="received", title=Sentence("Received")),
        Column(name="size", title=Sentence("Size"), numeric=True),
        Column(name="state", title=Sentence("What became of it")),
    ),
    filters=(Filter(name="series", title=Sentence("Series"), kind="hidden"),),
)
_WAIT = (InstanceState.HELD, InstanceState.WAITING, InstanceState.DISCARDED)  # of which there is a page


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyObjectLine:
    """An object in words. `series`: its place among those of the study, 0 for one that is not told.

    `state` and `why`: of one that did not go the way of its rules, or not yet. `page`: where a person decides on it.
    """

    stand: ObjectStand
    series: int
    state: words.Pill | None
    why: Sentence | None
    deliveries: Sequence[tuple[str, Sentence, Sentence | None]]
    page: str


def table_of(row: int) -> Table:
    """The table of a study by its row."""
    return replace(_TABLE, path=_PATH.replace("{id:int}", str(row)))


def chosen(found: StudySummary, series: int) -> SeriesCount | None:
    """A series by its place, from 1."""
    return found.series[series - 1] if 0 < series <= len(found.series) else None


def line_of(stand: ObjectStand, found: StudySummary) -> StudyObjectLine:
    """An object of a study in words."""
    places = {one.series_instance_uid: place for place, one in enumerate(found.series, 1)}
    state = words.OBJECTS.get(stand.state)
    return StudyObjectLine(
        stand=stand,
        series=places.get(stand.series_instance_uid, 0),
        state=state,
        why=reason(stand.reason) if state is not None and stand.reason else None,
        deliveries=[words.of_object(one) for one in stand.deliveries],
        page=f"/holds/objects/{stand.id}" if stand.state in _WAIT else "",
    )


def total_of(found: StudySummary, series: SeriesCount | None) -> int:
    """How many rows there are."""
    return found.counts.versions if series is None else series.versions


ObjectListing = Listing[StudyObjectLine]
