"""Defines a Modality Performed Procedure Step as it is stored: its values, its links to scheduled steps, its messages.

See PS3.4 annex F. Times are seconds since the epoch; a row is the number of a row in its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from broker.model.order import Document


class PerformedStatus(StrEnum):
    """Performed Procedure Step Status, (0040,0252) of PS3.3 C.4.14. The last two are final."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Linking(StrEnum):
    """Says how many of a performed step's items are linked to scheduled steps, or why a person must look."""

    LINKED = "linked"  # all of them
    PARTLY = "partly"  # some of them
    UNSCHEDULED = "unscheduled"  # none: no order is known
    AMBIGUOUS = "ambiguous"  # several scheduled steps fit an item
    MISMATCH = "mismatch"  # a scheduled step fits and is another patient's
    SET_ASIDE = "set-aside"  # a person decided that nobody needs to look


class MessageKind(StrEnum):
    """N-CREATE or N-SET."""

    CREATE = "create"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedStep:
    """A performed procedure step as its messages have made it; `row` is None for a new one."""

    row: int | None
    sop_instance_uid: str
    status: str  # PerformedStatus
    linking: str  # Linking
    calling_ae: str  # who sent the N-CREATE
    station: str  # Performed Station AE Title
    modality: str
    started_at: float
    ended_at: float | None
    document: Document  # all attributes as set by now
    findings: tuple[str, ...]  # codes of what was wrong and forgiven
    revision: int
    created_at: float
    updated_at: float
    outcome: str  # status of its scheduled steps if nothing else is known
    attention: str = ""  # code of why a person must look; empty: no need


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLink:
    """An item of the Scheduled Step Attributes Sequence: the step (row) it means, and why that or why none."""

    position: int
    step: int | None
    reason: str
    # keys of the item, for an order that comes later
    study_instance_uid: str = ""
    accession: str = ""
    requested_procedure_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedMessage:
    """An N-CREATE or N-SET as it came; `digest` is the SHA-256 of the data set."""

    at: float
    kind: MessageKind
    calling_ae: str
    transfer_syntax_uid: str
    data: bytes = field(repr=False)
    digest: bytes
