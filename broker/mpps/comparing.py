"""Compares a completed MPPS with the objects that were received some time later. Missing ones are left to a person.

It looks only where objects of the same studies come through this broker. A modality may send elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from broker.model.order import Document
from broker.model.performed import PerformedStatus
from broker.mpps import meaning
from broker.mpps.attributes import ITEMS, SERIES
from broker.mpps.recording import locked
from broker.orders.core.context import StoryContext
from broker.orders.stories import writing
from broker.store.mpps import objects, performed_steps
from broker.store.mpps.objects import MISSING, ListedObjects

MORE = "images-more"  # finding: its series have objects that it does not list


class Comparison(StrEnum):
    """The news of a comparison: objects are missing now, or those that were missing are here."""

    NOTHING = ""
    MISSING = "missing"
    FOUND = "found"


@dataclass(frozen=True, slots=True)
class Compared:
    """What of the objects of an MPPS was here, at one revision of the MPPS."""

    revision: int
    objects: ListedObjects

    @property
    def lacks(self) -> bool:
        """Some that should be here are not. Of a study that goes elsewhere nothing is here."""
        return self.objects.study and self.objects.missing > 0


def look(connection: Connection, mpps: int) -> Compared | None:
    """Look for the objects of a completed MPPS (row); None if it is not completed. Reads only.

    Thousands may be listed, which takes too long for a transaction that others wait for.
    """
    performed = performed_steps.load(connection, mpps)
    if performed is None or performed.status != PerformedStatus.COMPLETED:
        return None
    return Compared(performed.revision, objects.count(connection, *_listed(performed.document)))


def note(connection: Connection, mpps: int, seen: Compared, context: StoryContext) -> Comparison:
    """Note what was seen of a completed MPPS (row), if it is the same still.

    An object that came since is found by the next comparison. A person's decision stands: who set it aside is not
    asked again.
    """
    known = performed_steps.load(connection, mpps)
    performed = locked(connection, known.sop_instance_uid) if known else None
    if performed is None or performed.row is None or performed.status != PerformedStatus.COMPLETED:
        return Comparison.NOTHING
    if performed.revision != seen.revision:
        return Comparison.NOTHING
    at = context.at.timestamp()
    objects.compared(connection, performed.row, at)
    news = Comparison.MISSING if seen.lacks and MISSING not in performed.findings else Comparison.NOTHING
    if performed.attention == MISSING and not seen.lacks:
        news = Comparison.FOUND
    notes = [code for code, noted in ((MISSING, seen.lacks), (MORE, _has_more(seen.objects))) if noted]
    findings = tuple(dict.fromkeys((*performed.findings, *notes)))
    attention = "" if news == Comparison.FOUND else performed.attention or (MISSING if news else "")
    if findings != performed.findings or attention != performed.attention:
        performed_steps.note(connection, performed.row, findings, attention)
    if news:
        detail = _detail(seen.objects)
        writing.audit(connection, context, f"mpps.images-{news}", "mpps", performed.row, detail)
    return news


def _has_more(seen: ListedObjects) -> bool:
    return seen.listed > 0 and seen.more > 0


def _listed(document: Document) -> tuple[set[str], set[str], set[str]]:
    """SOP instances, series and studies that an MPPS names."""
    series, items = document.get(SERIES, []), document.get(ITEMS, [])
    return (
        set(meaning.objects(document)),
        {uid for entry in series if (uid := entry.get("SeriesInstanceUID"))},
        {uid for item in items if (uid := item.get("StudyInstanceUID"))},
    )


def _detail(seen: ListedObjects) -> Document:
    return {"listed": seen.listed, "missing": seen.missing, "more": seen.more}
