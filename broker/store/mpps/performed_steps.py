"""Reads and writes performed procedure steps, their messages and their links to scheduled steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, func, insert, or_, select, update

from broker.model.performed import PerformedMessage, PerformedStatus, PerformedStep, StepLink
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

REOPENED = "reopened"  # cause of events: a person lets a step begin again
MANY = 50  # items looked at for one order that comes late

_t, _message, _link = tables.mpps, tables.mpps_message, tables.mpps_link
_step, _procedure, _event = tables.scheduled_step, tables.requested_procedure, tables.step_event
_COLUMNS = (
    "sop_instance_uid",
    "status",
    "linking",
    "calling_ae",
    "station",
    "modality",
    "started_at",
    "ended_at",
    "document",
    "findings",
    "revision",
    "created_at",
    "updated_at",
    "outcome",
    "attention",
)
_WHOLE = select(_t.c.id, *(_t.c[name] for name in _COLUMNS))
_BY_UID = Prepared(any=_WHOLE.where(_t.c.sop_instance_uid == bindparam("uid")))
_BY_ROW = Prepared(any=_WHOLE.where(_t.c.id == bindparam("row")))
_ADD = Prepared(any=insert(_t).values({name: bindparam(name) for name in _COLUMNS}).returning(_t.c.id))
_UPDATE = Prepared(
    any=update(_t).where(_t.c.id == bindparam("row")).values({name: bindparam(f"to_{name}") for name in _COLUMNS})
)
_NOTE = Prepared(
    any=update(_t)
    .where(_t.c.id == bindparam("row"))
    .values(findings=bindparam("to_findings"), attention=bindparam("to_attention"))
)
_MESSAGE = ("mpps", "at", "kind", "calling_ae", "transfer_syntax_uid", "data", "digest")
_ADD_MESSAGE = Prepared(
    any=insert(_message).values({name: bindparam(name) for name in _MESSAGE}).returning(_message.c.id)
)
_LAST = Prepared(
    any=select(_message.c.digest, _message.c.calling_ae)
    .where(_message.c.mpps == bindparam("row"), _message.c.kind == bindparam("kind"))
    .order_by(_message.c.id.desc())
    .limit(1)
)
_ITEM = ("position", "step", "reason", "study_instance_uid", "accession", "requested_procedure_id")
_LINKS = Prepared(
    any=select(*(_link.c[name] for name in _ITEM)).where(_link.c.mpps == bindparam("row")).order_by(_link.c.position)
)
_ADD_LINK = Prepared(any=insert(_link).values({name: bindparam(name) for name in ("mpps", *_ITEM)}))
_SET_LINK = Prepared(
    any=update(_link)
    .where(_link.c.mpps == bindparam("row"), _link.c.position == bindparam("at"))
    .values(step=bindparam("to_step"), reason=bindparam("to_reason"))
)
_REOPENED = (
    select(func.coalesce(func.max(_event.c.at), 0.0))
    .where(_event.c.step == bindparam("step"), _event.c.cause == REOPENED)
    .scalar_subquery()
)
# an MPPS that had ended before a person reopened the step says nothing of it any more
_COUNTS = or_(_t.c.status == PerformedStatus.IN_PROGRESS, _t.c.updated_at > _REOPENED)
_OF_STEP = Prepared(
    any=select(_t.c.id, _t.c.status, _t.c.outcome, _COUNTS)
    .join_from(_link, _t)
    .where(_link.c.step == bindparam("step"))
    .distinct()
    .order_by(_t.c.id)
)
_ORDER_OF = Prepared(
    any=select(_procedure.c.request).join_from(_step, _procedure).where(_step.c.id == bindparam("step"))
)
# in the path of every new order: no table but the small one of links is read while nothing waits
_WAITING = Prepared(
    any=select(_link.c.mpps, _link.c.position)
    .where(
        or_(
            and_(_link.c.study_instance_uid == bindparam("study"), _link.c.step.is_(None)),
            and_(_link.c.accession == bindparam("accession"), _link.c.step.is_(None)),
            and_(_link.c.requested_procedure_id == bindparam("procedure"), _link.c.step.is_(None)),
            # some devices mix these two up
            and_(_link.c.accession == bindparam("procedure"), _link.c.step.is_(None)),
            and_(_link.c.requested_procedure_id == bindparam("accession"), _link.c.step.is_(None)),
        )
    )
    .order_by(_link.c.mpps.desc(), _link.c.position)
    .limit(MANY)
)


def find(connection: Connection, sop_instance_uid: str) -> PerformedStep | None:
    """The performed procedure step of a SOP Instance UID."""
    return next(map(_performed, _BY_UID.rows(connection, {"uid": sop_instance_uid})), None)


def load(connection: Connection, row: int) -> PerformedStep | None:
    """A performed procedure step by its row."""
    return next(map(_performed, _BY_ROW.rows(connection, {"row": row})), None)


def _performed(row: Sequence[Any]) -> PerformedStep:
    values = dict(zip(_COLUMNS, row[1:], strict=True))
    read = {"document": documents.decode(values["document"]), "findings": tuple(documents.decode(values["findings"]))}
    return PerformedStep(row=row[0], **{**values, **read})


def _values(step: PerformedStep) -> dict[str, Any]:
    columns = {name: getattr(step, name) for name in _COLUMNS}
    text = documents.encode(step.document)
    return {**columns, "document": text, "findings": documents.encode(step.findings)}


def save(connection: Connection, step: PerformedStep) -> int:
    """Insert (without `row`) or update; the row."""
    if step.row is None:
        return int(_ADD.rows(connection, _values(step))[0][0])
    _UPDATE.count(connection, {"row": step.row, **{f"to_{name}": value for name, value in _values(step).items()}})
    return step.row


def note(connection: Connection, row: int, findings: Sequence[str], attention: str) -> None:
    """Set the findings of an MPPS (row), and why a person must look. Its data set, which may be large, stays."""
    values = {"to_findings": documents.encode(findings), "to_attention": attention}
    _NOTE.count(connection, {"row": row, **values})


def add_message(connection: Connection, row: int, message: PerformedMessage) -> int:
    """Keep a message of an MPPS (row); the row of the message."""
    values = {name: getattr(message, name) for name in _MESSAGE if name != "mpps"}
    return int(_ADD_MESSAGE.rows(connection, {"mpps": row, **values})[0][0])


def repeats(connection: Connection, row: int, message: PerformedMessage) -> bool:
    """Whether the last message of its kind was the same, by the same AE. When does not matter: clocks are set."""
    for digest, calling_ae in _LAST.rows(connection, {"row": row, "kind": message.kind}):
        return bytes(digest) == message.digest and calling_ae == message.calling_ae
    return False


def links(connection: Connection, row: int) -> list[StepLink]:
    """The items of an MPPS (row) in their sequence."""
    return [StepLink(**dict(zip(_ITEM, item, strict=True))) for item in _LINKS.rows(connection, {"row": row})]


def add_links(connection: Connection, row: int, items: Sequence[StepLink]) -> None:
    """Note the items of a new MPPS (row)."""
    for link in items:
        _ADD_LINK.rows(connection, {"mpps": row, **{name: getattr(link, name) for name in _ITEM}})


def set_link(connection: Connection, row: int, position: int, step: int, reason: str) -> None:
    """An item of an MPPS (row) means this step (row)."""
    _SET_LINK.count(connection, {"row": row, "at": position, "to_step": step, "to_reason": reason})


def of_step(connection: Connection, step: int) -> list[tuple[int, str, str, bool]]:
    """Row, status and outcome of each MPPS that is linked to a step (row), oldest first.

    And whether it counts: not if it had ended before a person reopened the step.
    """
    rows = _OF_STEP.rows(connection, {"step": step})
    return [(int(row), status, outcome, bool(counts)) for row, status, outcome, counts in rows]


def order_of(connection: Connection, step: int) -> int | None:
    """Row of the order that a step (row) belongs to; None for no such step."""
    return next((int(row) for (row,) in _ORDER_OF.rows(connection, {"step": step})), None)


def waiting(connection: Connection, study: str, accession: str, procedure: str) -> list[tuple[int, int]]:
    """Items that have no step and one of these keys, the last two also in each other's place; the newest MANY.

    Rows of MPPS with positions.
    """
    asked = {"study": study or None, "accession": accession or None, "procedure": procedure or None}
    return [(int(row), int(position)) for row, position in _WAITING.rows(connection, asked)]


_LISTED = (
    "id",
    "sop_instance_uid",
    "status",
    "linking",
    "attention",
    "calling_ae",
    "station",
    "modality",
    "started_at",
    "ended_at",
    "findings",
    "revision",
)


def _where(values: Mapping[str, str]) -> list[ColumnElement[bool]]:
    columns = ((_t.c[name], value) for name, value in values.items())
    return [column > "" if value == "*" else column == value for column, value in columns]


def count(connection: Connection, values: Mapping[str, str], most: int) -> int:
    """How many MPPS `listed` finds in all, counted up to `most`."""
    found = select(_t.c.id).where(*_where(values)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def listed(connection: Connection, values: Mapping[str, str], before: int, limit: int) -> list[dict[str, Any]]:
    """MPPS without their data sets, newest first, with rows below `before`.

    `values`: of status, linking, attention (`*` for any that is not empty).
    """
    query = select(*(_t.c[name] for name in _LISTED)).where(_t.c.id < bindparam("before", type_=_t.c.id.type))
    rows = connection.execute(
        query.where(*_where(values)).order_by(_t.c.id.desc()).limit(bindparam("most", type_=Integer)),
        {"before": before, "most": limit},
    )
    return [{**row, "findings": documents.decode(row["findings"])} for row in rows.mappings()]
