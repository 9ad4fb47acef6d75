"""Says what a row of the audit trail is, and which rows somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from broker.model.order import Document

LOCAL = "local"  # the address of who calls from this machine: by a command, or over the control socket


class ExportForm(StrEnum):
    """The form of an exported file: for a spreadsheet, or for programs."""

    CSV = "csv"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """`actor` did `action` with an object at `at` (s since the epoch). `row` is 0 before it is stored.

    `kind` and `object_id` name the object by our own number, 0 for a list or no object. `patient` (row): whom it
    concerns, if it is known.
    """

    at: float
    actor: str
    action: str
    kind: str
    object_id: int
    detail: Document
    address: str = ""
    patient: int | None = None
    row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSelection:
    """Which rows are meant: all that is given must fit. Times in s since the epoch, `until` is not included.

    `actor` and `action` are meant whole, or as a beginning if they end in `:` or `.` (`cli:`, `order.`). `patients`:
    rows of one patient, None for whatever patient.
    """

    actor: str = ""
    action: str = ""
    kind: str = ""
    object_id: int | None = None
    patients: tuple[int, ...] | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedPatient:
    """Whom a row concerns, as the patient is stored now."""

    number: str
    issuer: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What is stored around the object of a row: the patient, the studies of its order, its accession number."""

    patient: AuditedPatient | None = None
    studies: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    mpps: str = ""  # SOP Instance UID
    sop_classes: dict[str, int] = field(default_factory=dict)  # number of instances by SOP class
