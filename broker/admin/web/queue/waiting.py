"""The table of jobs that wait to be sent, or for a person: its filters, and its rows in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.admin.web import forms
from broker.admin.web.holds import KINDS, work_of
from broker.admin.web.listing import CAP, Column, Filter, Table
from broker.admin.web.words import Sentence
from broker.model.lane import LaneKind, parts_of
from broker.status.causes import reason as cause_words
from broker.store import claims
from broker.store.holds.held_jobs import HeldFilter
from broker.store.holds.waiting import orders_of
from broker.store.queued import waiting_jobs
from broker.store.queued.shapes import USUAL
from broker.store.queued.waiting_jobs import WaitingJob, Waits
from broker.store.studies.finding import rows_of

_PERSONAL = frozenset({"study", "accession", "device", "exam", "patient", "order", "size"})
TABLE = Table(
    path="/queue",
    region="jobs",
    title=Sentence("Jobs that wait"),
    finds="/queue/find",
    columns=(
        Column(name="pick", title=Sentence("Pick")),
        Column(name="what", title=Sentence("What")),
        Column(name="node", title=Sentence("Destination")),
        Column(name="error", title=Sentence("Cause of the last try")),
        Column(name="tries", title=Sentence("Tries"), numeric=True),
        Column(name="next", title=Sentence("Next try")),
        Column(name="since", title=Sentence("Waiting since")),
        Column(name="device", title=Sentence("From")),
        Column(name="patient", title=Sentence("Patient ID")),
        Column(name="order", title=Sentence("Exam")),
        Column(name="study", title=Sentence("Study")),
        Column(name="size", title=Sentence("Size"), numeric=True),
    ),
    filters=(
        Filter(name="node", title=Sentence("Destination"), hint=Sentence("name of a node")),
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=(("held", Sentence("held for a person")),),
            any=Sentence("waits to be sent"),
        ),
        Filter(name="kind", title=Sentence("What"), kind="choice", choices=tuple(KINDS.items())),
        Filter(name="error", title=Sentence("Cause"), hint=Sentence("code, like status-A700")),
        Filter(name="accession", title=Sentence("Accession number"), private=True),
        Filter(name="study", title=Sentence("Study"), hint=Sentence("Study Instance UID"), private=True),
        Filter(name="device", title=Sentence("From"), hint=Sentence("AE title")),
        Filter(name="lane", title=Sentence("Lane"), kind="hidden"),
        Filter(name="exam", title=Sentence("Exam"), kind="hidden"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """A job in words. `order`, `study`: our numbers of them, 0 for none; `urgency` is None for a usual one."""

    job: WaitingJob
    node: str
    work: Sentence
    cause: Sentence | None
    urgency: Sentence | None
    patient: str
    accession: str
    order: int
    study: int


def table_for(*, patients: bool) -> Table:
    """The table as a person may see it: who may see no patients has no filter that tells of one."""
    if patients:
        return TABLE
    columns = tuple(one for one in TABLE.columns if one.name not in _PERSONAL)
    filters = tuple(one for one in TABLE.filters if one.name not in _PERSONAL)
    return replace(TABLE, columns=columns, filters=filters, finds="")


def waits_of(values: Mapping[str, str]) -> Waits:
    """Whether the filters mean jobs that wait to be sent, or those that are held."""
    return "held" if values.get("state") == "held" else "waiting"


def filter_of(values: Mapping[str, str], before: float | None = None) -> HeldFilter:
    """What the filters mean. `before`: only jobs that were made before a time (s since the epoch)."""
    kind = values.get("kind", "")
    return HeldFilter(
        **{name: values.get(name, "") for name in ("lane", "error", "node", "study", "accession", "device")},
        order=forms.row_number(values.get("exam", "")),
        kind=LaneKind(kind) if kind else None,
        before=before,
    )


def look(
    connection: Connection, values: Mapping[str, str], after: int, limit: int
) -> tuple[list[tuple[WaitingJob, int, int]], int]:
    """Jobs behind a row, each with its order and its study, and how many match."""
    wanted, waits = filter_of(values), waits_of(values)
    found = waiting_jobs.find(connection, wanted, waits, after, limit)
    studies = sorted({one.study for one in found if one.study})
    orders = orders_of(connection, studies) if studies else {}
    total = waiting_jobs.count(connection, wanted, waits, CAP + 1)
    rows = rows_of(connection, studies)
    return [(one, orders.get(one.study, 0), rows.get(one.study, 0)) for one in found], total


def line(job: WaitingJob, order: int, study: int, *, patients: bool) -> QueueLine:
    """A job in words; without its patient for who may see none."""
    job = job if patients else job.unseen()
    return QueueLine(
        job=job,
        node=parts_of(job.lane)[1],
        work=work_of(job.lane),
        cause=cause_words(job.error) if job.error else None,
        urgency=_urgency(job.priority),
        patient=job.fact("tag.PatientID"),
        accession=job.fact("tag.AccessionNumber"),
        order=order if patients else 0,
        study=study if patients else 0,
    )


def _urgency(priority: int) -> Sentence | None:
    if priority == USUAL:
        return None
    if priority >= claims.LAST:
        return Sentence("in doubt: goes last")
    if priority > USUAL:
        return Sentence("late")
    return Sentence("as STAT") if priority <= 1 else Sentence("soon")
