"""Lists the attributes of the worklist that we support, as data (PS3.4 table K.6-1).

Each has its return type; a type that starts with `-` is never used for matching. All others are
unsupported keys: they are returned empty, and the answers carry the warning FF01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET
from broker.orders.core import attributes
from broker.site.device import SHOWN

TIMEZONE = 0x00080201
STEP_SEQUENCE = "ScheduledProcedureStepSequence"
STATIONS = "ScheduledStationAETitle"
START_DATE = "ScheduledProcedureStepStartDate"
START_TIME = "ScheduledProcedureStepStartTime"
STATUS = "ScheduledProcedureStepStatus"
LABEL = "WorklistLabel"
ONE_ITEM = frozenset({STEP_SEQUENCE, "RequestedProcedureCodeSequence"})  # PS3.4 table K.6-1, remarks
REQUIRED = frozenset(  # matching key type R in PS3.4 table K.6-1
    {
        STEP_SEQUENCE, STATIONS, START_DATE, START_TIME, "Modality", "ScheduledPerformingPhysicianName", "PatientName",
        "PatientID",
    }
)  # fmt: skip
VISIBLE: tuple[str, ...] = SHOWN  # what a query sees that asks for no status

# Recognition code, Query/Retrieve level, time zone: neither matched nor returned, and no reason for a warning.
# The time zone must never be sent empty; answers have it where the device's own was agreed on (`timezone`).
IGNORED = frozenset({0x00080001, 0x00080052, TIMEZONE, SPECIFIC_CHARACTER_SET})


@dataclass(frozen=True, slots=True)
class WorklistAttribute:
    """One supported attribute; `children` of a sequence by tag."""

    keyword: str
    tag: int
    vr: str
    returned: str  # return type: 1, 1C, 2, 2C, 3
    matched: bool
    children: Mapping[int, WorklistAttribute]


_TABLE: dict[str, Any] = {
    STEP_SEQUENCE: ("1", attributes.STEP), **attributes.PROCEDURE, **attributes.REQUEST, **attributes.VISIT,
    **attributes.PATIENT,
}  # fmt: skip


def _tree(table: Mapping[str, Any]) -> dict[int, WorklistAttribute]:
    by_tag: dict[int, WorklistAttribute] = {}
    for keyword, entry in table.items():
        kind, children = entry if isinstance(entry, tuple) else (entry, {})
        if not kind:
            continue
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        matched = not kind.startswith("-")
        by_tag[tag] = WorklistAttribute(keyword, tag, dictionary_VR(tag), kind.lstrip("-"), matched, _tree(children))
    return dict(sorted(by_tag.items()))


WORKLIST: Mapping[int, WorklistAttribute] = _tree(_TABLE)
