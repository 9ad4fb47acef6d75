"""Reads studies with how far each is, for who shows them: a page of those that match, or one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.store.db.newest import Place
from broker.store.studies import counting, finding
from broker.store.studies.counting import SeriesCount, StudyCounts
from broker.store.studies.finding import StudyFilter, StudyLine


@dataclass(frozen=True, slots=True)
class StudySummary:
    """A study and how far it is. `series` in the order in which they came; empty in a list."""

    line: StudyLine
    counts: StudyCounts
    series: Sequence[SeriesCount] = ()


@dataclass(frozen=True, slots=True)
class SummaryPage:
    """Studies, the newest first; of each counting.MOST objects are counted. `after`: see `finding.StudyPage`."""

    studies: list[StudySummary]
    after: Place | None


def page(connection: Connection, wanted: StudyFilter, after: Place | None, limit: int) -> SummaryPage:
    """At most `limit` studies behind a place."""
    found = finding.find(connection, wanted, after, limit)
    return SummaryPage(
        [
            StudySummary(line, counting.count(connection, line.study_instance_uid, counting.MOST))
            for line in found.lines
        ],
        found.after,
    )


def one(connection: Connection, row: int) -> StudySummary | None:
    """A study by its row, of which all objects are counted; None if there is none."""
    for line in finding.lines(connection, [row]):
        uid = line.study_instance_uid
        return StudySummary(line, counting.count(connection, uid), counting.series(connection, uid))
    return None
