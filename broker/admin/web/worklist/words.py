"""Puts worklists into words: how a query ended, why nobody sees an exam, addresses of devices."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from broker.admin.web.words import Sentence
from broker.model.exam import UnseenReason

ENDS: Mapping[str, tuple[str, Sentence]] = {  # tone and word by final status
    "": ("warn", Sentence("not looked through to the end")),
    "0000": ("ok", Sentence("complete")),
    "A700": ("warn", Sentence("cut off, or no database")),
    "A900": ("bad", Sentence("cannot be read")),
    "FE00": ("warn", Sentence("the device broke off")),
}
FAILED = ("bad", Sentence("failed"))
REASONS: Mapping[UnseenReason, Sentence] = {
    UnseenReason.HELD: Sentence("held by the RIS"),
    UnseenReason.UNSCHEDULED: Sentence("not planned yet"),
    UnseenReason.UNASSIGNED: Sentence("no station"),
    UnseenReason.UNKNOWN_STATION: Sentence("station without a device"),
    UnseenReason.PAST: Sentence("its day is over"),
}


def end_of(status: str) -> tuple[str, Sentence]:
    """Tone and word of a final status (hexadecimal digits)."""
    return ENDS.get(status, FAILED)


def path_of(device: str) -> str:
    """The address of what a device sees."""
    return f"/worklist/device?name={quote(device, safe='')}"
