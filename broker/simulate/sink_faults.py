"""Says how a simulated PACS fails, so that anyone can test what a router makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.dicom.dimse import status as st


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFaults:
    """The switches; without any, every object is taken.

    `soft`: the status of the first try of each object, the next one is taken. `hard`: that of every try. `status_for`:
    that of one SOP Instance or SOP Class UID, before both. `delay`: seconds before each answer. `disconnect_after`: an
    association is aborted once so many of its objects are answered; 0: never. `abort_on`: UIDs of objects that end
    their association. `never_read`: associations are accepted, and nothing is read or answered.
    """

    soft: int = st.SUCCESS
    hard: int = st.SUCCESS
    status_for: Mapping[str, int] = field(default_factory=dict)
    delay: float = 0.0
    disconnect_after: int = 0
    abort_on: frozenset[str] = frozenset()
    never_read: bool = False

    def status(self, sop_class: str, sop_instance: str, *, again: bool) -> int:
        """How an object is answered; `again`: it was tried before."""
        for uid in (sop_instance, sop_class):
            if uid in self.status_for:
                return self.status_for[uid]
        return self.soft if self.soft != st.SUCCESS and not again else self.hard

    def ends(self, sop_class: str, sop_instance: str) -> bool:
        """An object ends its association."""
        return sop_instance in self.abort_on or sop_class in self.abort_on


def status_of(text: str) -> int:
    """A status of C-STORE as people write it: A700, 0xA700, 0110 (PS3.4 table B.2-1). Raises ValueError."""
    found = re.fullmatch(r"(?:0[xX])?([0-9A-Fa-f]{4})", text)
    status = int(found[1], 16) if found else -1
    if status < 0 or st.is_pending(status) or status == st.CANCEL:
        raise ValueError(f"{text}: not a status of C-STORE, such as A700 or 0110")
    return status


def uid_of(text: str) -> str:
    """A UID (PS3.5 9.1). Raises ValueError."""
    if len(text) > 64 or not re.fullmatch(r"[0-9]+(\.[0-9]+)*", text):
        raise ValueError(f"{text}: not a UID")
    return text


def status_for_of(text: str) -> tuple[str, int]:
    """A UID with its status: 1.2.3=A700. Raises ValueError."""
    uid, _, status = text.partition("=")
    return uid_of(uid), status_of(status)
