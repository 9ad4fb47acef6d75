"""Writes UIDs, tags, numbers and sizes as the statement shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from broker.dicom import uids


def tag_text(tag: int) -> str:
    """A tag as the standard writes it: `(0010,0010)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def named(uid: str) -> str:
    """The name of a UID in PS3.6, with the UID where a name is known."""
    name = uids.name_of(uid)
    return uid if name == uid else f"{name} {uid}"


def named_in_cell(uids_of_row: Iterable[str]) -> str:
    """Several UIDs by their names in one cell."""
    return "; ".join(named(uid) for uid in uids_of_row)


def seconds(value: float) -> str:
    """A time: `600 s`."""
    return f"{value:g} s"


def number(value: float) -> str:
    """A number with its thousands kept apart: `262,144`."""
    return f"{value:,}"
