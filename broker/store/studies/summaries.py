"""Reads studies with how far each is, for who shows them: a page of those that match, or one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.store.db.newest import Place
from broker.store.studies import counting, finding
from broker.store.studies.counting import SeriesCount, StudyCounts
from broker.store.studies.finding import StudyFilter, StudyLine

WHOLE, PATIENCE = 50, 0.2  # studies of a page that are counted however long it takes, and seconds for the others


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
    """At most `limit` studies behind a place; of more than WHOLE as many as PATIENCE allows."""
    until = time.monotonic() + PATIENCE
    found = finding.find(connection, wanted, after, limit)
    studies = list[StudySummary]()
    for line in found.lines:
        if len(studies) >= WHOLE and time.monotonic() > until:
            last = studies[-1].line
            return SummaryPage(studies, (last.first_at, last.id))
        studies.append(StudySummary(line, counting.count(connection, line.study_instance_uid, counting.MOST)))
    return SummaryPage(studies, found.after)


def one(connection: Connection, row: int) -> StudySummary | None:
    """A study by its row, of which all objects are counted; None if there is none."""
    for line in finding.lines(connection, [row]):
        uid = line.study_instance_uid
        return StudySummary(line, counting.count(connection, uid), counting.series(connection, uid))
    return None
