"""Finds the order that a number means: the one in force, where orders were joined or replaced.

Two orders that turn out to be one are joined (`orders.stories.doubled`): one stays in force, and a link leads from it
to the other, whose row stays. Whoever knows a number of the other, or has one of its steps in a worklist, means the
order in force. An order that a RIS has replaced by another is not joined: a late cancel of it does not end the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, func, or_, select

from broker.model.order import EntityId, Order, OrderLinkKind
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_request, _procedure, _link = tables.service_request.c, tables.requested_procedure.c, tables.order_link.c


def joined_into(order: ColumnElement[int]) -> ColumnElement[int | None]:
    """A column of a query: row of the order that an order (row) was joined into, or NULL."""
    query = select(func.max(_link.request)).where(_link.other == order, _link.kind == OrderLinkKind.JOINED.value)
    return query.scalar_subquery()


_JOINED = Prepared(
    any=select(func.max(_link.request)).where(_link.other == bindparam("row"), _link.kind == OrderLinkKind.JOINED.value)
)
# one statement for all keys, as most orders are new. A key that is not asked is NULL and equals nothing
_BY_NUMBER = Prepared(
    any=select(
        _request.id,
        _request.filler_number,
        _request.filler_issuer,
        _request.placer_number,
        _request.placer_issuer,
        _request.accession,
        joined_into(_request.id),
    )
    .where(
        or_(
            _request.filler_number == bindparam("filler"),
            _request.placer_number == bindparam("placer"),
            _request.accession == bindparam("accession"),
        )
    )
    .order_by(_request.id)
)

_BY_STUDY = Prepared(any=select(_procedure.request).where(_procedure.study_instance_uid == bindparam("uid")))


def find_order(connection: Connection, filler: EntityId, placer: EntityId, accession: str) -> int | None:
    """Row of the one order these keys name (`find_orders`); None also if several fit."""
    rows = find_orders(connection, filler, placer, accession)
    return rows[0] if len(rows) == 1 else None


def find_orders(connection: Connection, filler: EntityId, placer: EntityId, accession: str) -> list[int]:
    """Rows of the orders these keys name: filler number, placer number, accession, in this sequence.

    A later key counts only if the stored order has no other number of an earlier kind. A number
    without an issuer, stored or asked for, matches if it is the only one. A number of a joined order means the order in
    force, one that replaced orders or children share the one in force or the parent. Several only if no key is of one
    order alone.
    """
    keys = {"filler": filler.number or None, "placer": placer.number or None, "accession": accession or None}
    orders = [
        _Keys(row[0], (row[1], row[3], row[5]), (row[2], row[4]), row[6]) for row in _BY_NUMBER.rows(connection, keys)
    ]
    several: list[int] = []
    for kind, number in enumerate((filler, placer, EntityId(accession)) if orders else ()):
        if not number.number:
            continue
        fit = [one for one in orders if one.numbers[kind] == number.number and one.compatible(filler, placer, kind)]
        if kind < 2:
            exact = [one for one in fit if one.issuers[kind] == number.issuer]
            fit = exact or [one for one in fit if not one.issuers[kind] or not number.issuer]
        rows = list(dict.fromkeys(one.row if one.joined is None else in_force(connection, one.joined) for one in fit))
        if len(rows) > 1:
            others = secondary(connection, rows)
            rows = [row for row in rows if row not in others]
        if len(rows) == 1:
            return rows
        several = several or rows
    return several


def find_study(connection: Connection, uid: str) -> int | None:
    """Row of the order in force that a Study Instance UID means; None if it is not known, or empty."""
    rows = _BY_STUDY.rows(connection, {"uid": uid}) if uid else ()
    return in_force(connection, rows[0][0]) if rows else None


@dataclass(frozen=True, slots=True)
class _Keys:
    """Filler number, placer number and accession number of a stored order, and the issuers of the first two.

    `joined` is the row of the order that it was joined into.
    """

    row: int
    numbers: tuple[str, str, str]
    issuers: tuple[str, str]
    joined: int | None

    def compatible(self, filler: EntityId, placer: EntityId, kind: int) -> bool:
        """No number of an earlier kind, or its issuer, says that this is another order."""
        return not any(self._another(i, asked) for i, asked in enumerate((filler, placer)[:kind]))

    def _another(self, kind: int, asked: EntityId) -> bool:
        """A name and an OID may mean one authority, two names or two OIDs do not."""
        number, issuer = self.numbers[kind], self.issuers[kind]
        if not number or not asked.number or number != asked.number:
            return bool(number and asked.number)
        oids = [text.replace(".", "").isdigit() for text in (issuer, asked.issuer)]
        return bool(issuer and asked.issuer and issuer != asked.issuer and oids[0] == oids[1])


def in_force(connection: Connection, row: int) -> int:
    """Row of the order that an order (row) was joined into, itself if it was not."""
    passed = {row}
    while True:
        ((into,),) = _JOINED.rows(connection, {"row": row})
        if into is None or into in passed:
            return row
        passed.add(into)
        row = into


def counterparts(joined: Order, order: Order) -> dict[int, int]:
    """For each step (row) of an order that was joined into another the step of that one which stands for it.

    By its identifier within the same procedure, else by its position. One for which nothing stands is left out.
    """
    found = {}
    for old, new in zip(joined.procedures, order.procedures, strict=False):
        named = {step.step_id: step for step in new.steps}
        for position, step in enumerate(old.steps):
            stands = named.get(step.step_id) or next(iter(new.steps[position : position + 1]), None)
            if stands is not None:
                found[step.row or 0] = stands.row or 0
    return found


def secondary(connection: Connection, rows: Collection[int]) -> set[int]:
    """Of these orders, those that a number does not mean: joined or replaced ones, and children of others of them."""
    query = select(_link.request, _link.kind, _link.other).where(or_(_link.other.in_(rows), _link.request.in_(rows)))
    found = set()
    for request, kind, other in connection.execute(query):
        if kind != OrderLinkKind.PARENT:
            found.add(other)
        elif other in rows:
            found.add(request)
    return found & set(rows)
