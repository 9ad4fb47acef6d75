"""Defines an entry in the story of an exam: when, what happened in words, and which thing tells more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from broker.model.wording import Sentence

Tone = Literal["", "ok", "warn", "bad"]


class EntryKind(StrEnum):
    """From where an entry comes."""

    MESSAGE = "message"  # the RIS said so, or another program
    CHANGE = "change"  # a person or the broker did so
    QUERY = "query"  # a device asked for its worklist
    WORK = "work"  # a device reported its work (MPPS)
    IMAGES = "images"
    DELIVERY = "delivery"
    FEEDBACK = "feedback"  # what the RIS was told, and what it answered
    NOTICE = "notice"  # who was told that a rule acted


class SourceKind(StrEnum):
    """What an entry leads to."""

    MESSAGE = "message"  # by its row
    MPPS = "mpps"  # by its row
    NODE = "node"  # by its name
    HELD = "held"  # a lane
    HELD_IMAGES = "held-images"  # of the order, by its row
    DISCARDED_IMAGES = "discarded-images"  # of the order, by its row
    AUDIT = "audit"  # of the order, by its row


@dataclass(frozen=True, slots=True)
class EntrySource:
    """The thing that tells more: a row, a name or a lane."""

    kind: SourceKind
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEntry:
    """Something that happened to an exam. `at` and `until` (its last time, if it happened often) in s since the epoch.

    `actor`: who did it, as the audit trail names it; empty for nobody to be named. `code`: of an error, or a reason.
    """

    at: float
    until: float | None = None
    kind: EntryKind
    tone: Tone = ""
    text: Sentence
    actor: str = ""
    code: str = ""
    source: EntrySource | None = None
