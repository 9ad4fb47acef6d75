"""Derives from a performed procedure step when it was and what becomes of its scheduled steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from broker.model.order import Document, StepStatus
from broker.model.performed import PerformedStatus
from broker.mpps.attributes import IMAGES, REASON, SERIES, STATUS
from broker.store.mpps.objects import WRONG_ENTRY

INCORRECT_ENTRY = "110514"  # incorrect worklist entry selected
# reasons of discontinuation (CID 9300) that leave the examination to be done, and those that call it off
TO_BE_DONE = frozenset({"110501", INCORRECT_ENTRY, "110515", "110516"})
CALLED_OFF = frozenset({"110500", "110502", "110510", "110512"})


def outcome(document: Document) -> tuple[str, str]:
    """Status of its scheduled steps if nothing else were known, and why a person must look (empty: no need)."""
    status = document.get(STATUS, "")
    if status in {PerformedStatus.IN_PROGRESS, ""}:
        return StepStatus.STARTED, ""
    if status == PerformedStatus.COMPLETED:
        return StepStatus.COMPLETED, ""
    code = reason(document)
    if code in CALLED_OFF:
        return StepStatus.CANCELED, ""
    if code == INCORRECT_ENTRY:
        return StepStatus.SCHEDULED, WRONG_ENTRY if made_something(document) else ""
    if code in TO_BE_DONE or (not code and not made_something(document)):
        return StepStatus.SCHEDULED, ""
    return StepStatus.DISCONTINUED, "discontinued"


def reason(document: Document) -> str:
    """Code of the reason of discontinuation (CID 9300); empty for none, and `other` for one of another scheme."""
    for item in document.get(REASON, []):
        if item.get("CodeValue"):
            return str(item["CodeValue"]) if item.get("CodingSchemeDesignator") in {"DCM", "", None} else "other"
    return ""


def made_something(document: Document) -> bool:
    """Whether a series of it references an object."""
    return any(series.get(keyword) for series in document.get(SERIES, []) for keyword in IMAGES)


def objects(document: Document) -> Iterator[str]:
    """SOP Instance UIDs of what it has made."""
    for series in document.get(SERIES, []):
        for keyword in IMAGES:
            yield from (uid for image in series.get(keyword, []) if (uid := image.get("ReferencedSOPInstanceUID")))


def moment(document: Document, edge: str, zone: tzinfo) -> float | None:
    """`Start` or `End` of it in seconds since the epoch; None without a usable date. A time may be shortened."""
    date = str(document.get(f"PerformedProcedureStep{edge}Date", "")).replace(".", "")
    time = str(document.get(f"PerformedProcedureStep{edge}Time", "")).replace(":", "").partition(".")[0]
    try:
        # of the clock of the site: MPPS have no time zone (PS3.4 F.7.2-1)
        wall = datetime.strptime(f"{date}{time[:6]:0<6}", "%Y%m%d%H%M%S").replace(tzinfo=zone)
        return wall.timestamp()
    except (ValueError, OverflowError):
        return None
