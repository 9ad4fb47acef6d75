"""The story of a completed MPPS some time later: are the objects it lists here? What is missing is for a person.

Only where objects of its studies come through this broker; a modality that sends elsewhere is none of our business.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from broker.model.order import Document
from broker.model.performed import PerformedStatus, PerformedStep
from broker.mpps import performed
from broker.mpps.attributes import ITEMS, SERIES
from broker.mpps.recording import locked
from broker.orders.core.story import Context
from broker.store.mpps import objects, performed_steps
from broker.store.mpps.objects import MISSING, ListedObjects
from broker.store.orders import saving

MORE = "images-more"  # finding: its series have objects that it does not list


def compare(connection: Connection, mpps: int, context: Context) -> str:
    """Compare a completed MPPS (row) with what was received; `missing`, `found` (missing before), or empty for no news.

    A person's decision stands: who set it aside is not asked again.
    """
    known = performed_steps.load(connection, mpps)
    one = locked(connection, known.sop_instance_uid) if known else None
    if one is None or one.row is None or one.status != PerformedStatus.COMPLETED:
        return ""
    seen, lacks = _look(connection, one)
    at = context.at.timestamp()
    objects.compared(connection, one.row, at)
    news = "missing" if lacks and MISSING not in one.findings else ""
    if one.attention == MISSING and not lacks:
        news = "found"
    notes = [code for code, noted in ((MISSING, lacks), (MORE, seen.listed and seen.more)) if noted]
    findings = tuple(dict.fromkeys((*one.findings, *notes)))
    attention = "" if news == "found" else one.attention or (MISSING if news else "")
    if findings != one.findings or attention != one.attention:
        performed_steps.save(connection, replace(one, findings=findings, attention=attention))
    if news:
        saving.add_audit(connection, at, context.actor, f"mpps.images-{news}", "mpps", one.row, _detail(seen))
    return news


def lacking(connection: Connection, mpps: int) -> bool:
    """Whether a completed MPPS (row) still lacks objects; only reads."""
    one = performed_steps.load(connection, mpps)
    return one is not None and _look(connection, one)[1]


def _look(connection: Connection, one: PerformedStep) -> tuple[ListedObjects, bool]:
    """What of its objects is here, and whether some that should be are not."""
    seen = objects.count(connection, *_listed(one.document))
    return seen, seen.study and seen.missing > 0


def _listed(document: Document) -> tuple[set[str], set[str], set[str]]:
    """SOP instances, series and studies that an MPPS names."""
    series, items = document.get(SERIES, []), document.get(ITEMS, [])
    return (
        set(performed.objects(document)),
        {uid for one in series if (uid := one.get("SeriesInstanceUID"))},
        {uid for one in items if (uid := one.get("StudyInstanceUID"))},
    )


def _detail(seen: ListedObjects) -> Document:
    return {"listed": seen.listed, "missing": seen.missing, "more": seen.more}
