"""Compares a completed MPPS with the objects that were received some time later. Missing ones are left to a person.

It looks only where objects of the same studies come through this broker. A modality may send elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from sqlalchemy import Connection

from broker.model.order import Document
from broker.model.performed import PerformedStatus, PerformedStep
from broker.mpps import meaning
from broker.mpps.attributes import ITEMS, SERIES
from broker.mpps.recording import locked
from broker.orders.core.context import StoryContext
from broker.store.mpps import objects, performed_steps
from broker.store.mpps.objects import MISSING, ListedObjects
from broker.store.orders import saving

MORE = "images-more"  # finding: its series have objects that it does not list


class Comparison(StrEnum):
    """The news of a comparison: objects are missing now, or those that were missing are here."""

    NOTHING = ""
    MISSING = "missing"
    FOUND = "found"


def compare(connection: Connection, mpps: int, context: StoryContext) -> Comparison:
    """Compare a completed MPPS (row) with what was received.

    A person's decision stands: who set it aside is not asked again.
    """
    known = performed_steps.load(connection, mpps)
    performed = locked(connection, known.sop_instance_uid) if known else None
    if performed is None or performed.row is None or performed.status != PerformedStatus.COMPLETED:
        return Comparison.NOTHING
    seen, lacks = _look(connection, performed)
    at = context.at.timestamp()
    objects.compared(connection, performed.row, at)
    news = Comparison.MISSING if lacks and MISSING not in performed.findings else Comparison.NOTHING
    if performed.attention == MISSING and not lacks:
        news = Comparison.FOUND
    notes = [code for code, noted in ((MISSING, lacks), (MORE, seen.listed and seen.more)) if noted]
    findings = tuple(dict.fromkeys((*performed.findings, *notes)))
    attention = "" if news == Comparison.FOUND else performed.attention or (MISSING if news else "")
    if findings != performed.findings or attention != performed.attention:
        performed_steps.save(connection, replace(performed, findings=findings, attention=attention))
    if news:
        saving.add_audit(connection, at, context.actor, f"mpps.images-{news}", "mpps", performed.row, _detail(seen))
    return news


def lacking(connection: Connection, mpps: int) -> bool:
    """Whether a completed MPPS (row) still lacks objects; only reads."""
    performed = performed_steps.load(connection, mpps)
    return performed is not None and _look(connection, performed)[1]


def _look(connection: Connection, performed: PerformedStep) -> tuple[ListedObjects, bool]:
    """What of its objects is here, and whether some that should be are not."""
    seen = objects.count(connection, *_listed(performed.document))
    return seen, seen.study and seen.missing > 0


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
