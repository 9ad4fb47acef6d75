"""Finds jobs that wait for a person, by filters and page by page, and counts them up to a limit.

The index of states leads, so that the time grows with what is held. In the order of the key, or with a limit alone, a
database may read all jobs that were ever done instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select

from broker.model.lane import JobKind, JobState, Lane, LaneKind
from broker.store.db import documents
from broker.store.images.held_objects import of_accession, of_row
from broker.store.jobs import HeldJob
from broker.store.schema import tables

_t, _i = tables.job, tables.instance.alias("sent")
_BY_AGE = _t.c.id + 0  # in the order of rows, and not by their key


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFilter:
    """Which held jobs: of one lane by its stored name, with one error code; of all where a text is empty.

    `node`: of all its lanes; `kind`: of all lanes of a kind. `study`, `accession` and `device`: that send an object of
    these. `before`: in s. `order`: that send an object of an order (row).
    """

    lane: str = ""
    error: str = ""
    node: str = ""
    study: str = ""
    accession: str = ""
    device: str = ""
    before: float | None = None
    order: int = 0
    kind: LaneKind | None = None

    def condition(self) -> ColumnElement[bool]:
        """The filter on the job table."""
        return and_(_t.c.state == JobState.HELD, *self.narrowing())

    def narrowing(self) -> list[ColumnElement[bool]]:
        """The filter on the job table, of jobs in any state."""
        found = [column == value for column, value in ((_t.c.lane, self.lane), (_t.c.last_error, self.error)) if value]
        if self.node:
            found.append(_t.c.lane.in_([Lane(kind, self.node).name for kind in LaneKind]))
        if self.kind is not None:
            found.append(_t.c.lane.startswith(f"{self.kind}:", autoescape=True))
        if self.before is not None:
            found.append(_t.c.created_at < self.before)
        if self.study or self.accession or self.device or self.order:
            found.append(self._of_objects())
        return found

    def objects(self) -> Select[tuple[int]] | None:
        """The rows of the objects that are meant by study or order, which an index finds; None for no such filter."""
        found = [_i.c.study_instance_uid == self.study] if self.study else []
        if self.order:
            found.append(_i.c.study_instance_uid.in_(of_row(self.order)))
        return select(_i.c.id).where(*found) if found else None

    def _of_objects(self) -> ColumnElement[bool]:
        exact = ((_i.c.study_instance_uid, self.study), (_i.c.calling_ae, self.device))
        found = [column == value for column, value in exact if value]
        if self.order:
            found.append(_i.c.study_instance_uid.in_(of_row(self.order)))
        if self.accession:
            found.append(of_accession(self.accession, _i))
        sent = select(literal(1)).where(_i.c.id == _t.c.subject, *found).exists()
        return and_(_t.c.kind == JobKind.DELIVER, sent)


def find(connection: Connection, wanted: HeldFilter, after: int, limit: int) -> list[HeldJob]:
    """Held jobs behind a row, oldest first."""
    columns = (_t.c.id, _t.c.kind, _t.c.lane, _t.c.subject, _t.c.detail, _t.c.failures, _t.c.created_at)
    query = (
        select(*columns, _t.c.last_error.label("error"))
        .where(wanted.condition(), _t.c.id > after)
        .order_by(_BY_AGE)
        .limit(limit)
    )
    rows = connection.execute(query).mappings()
    return [HeldJob(**{**row, "detail": documents.decode(row["detail"])}) for row in rows]


def count(connection: Connection, wanted: HeldFilter, limit: int) -> int:
    """How many match, at most `limit`."""
    some = select(literal(1)).select_from(_t).where(wanted.condition()).order_by(_t.c.lane).limit(limit).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def rows(connection: Connection, wanted: HeldFilter, limit: int) -> list[int]:
    """The rows that match, oldest first, at most `limit`."""
    return list(connection.execute(select(_t.c.id).where(wanted.condition()).order_by(_BY_AGE).limit(limit)).scalars())
