"""Carries out an order change: finds the order, lets `orders.core.plan` decide, writes it with its worklist answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.authority import AuthorityUse
from broker.model.order import AccessionHolder, Document, EntityId, KeptCancel, Order, OrderLinkKind
from broker.orders.core import identifiers, lifecycle, patients, plan
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import OrderAction, OrderChange, Plan
from broker.orders.lookup import recognizing, several
from broker.orders.stories import doubled, early, overriding, writing
from broker.orders.stories.planned import OrderReply, Planned
from broker.store.orders import by_number, reading, saving, waiting

Findings = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Decided:
    """An order change with its plan.

    `before` is the stored order. `cancels` are cancels kept for this order, by their rows. `parent` and `replaced` are
    rows of orders.
    """

    change: OrderChange
    plan: Plan
    before: Order | None
    cancels: Mapping[int, KeptCancel]
    parent: int | None
    replaced: tuple[int, ...]

    def planned(self) -> Planned:
        plan = self.plan
        return Planned(
            findings=plan.findings,
            accession=plan.order.accession if plan.order else "",
            write=self.write,
            audit_refusal=self._audit_refusal(),
            reply=OrderReply(self.change, plan.order or self.before, plan.done),
        )

    def _audit_refusal(self) -> AuditEntry | None:
        if self.plan.action != OrderAction.REFUSED or self.before is None or self.before.row is None:
            return None
        codes = [finding.code for finding in self.plan.findings if finding.is_error]
        return AuditEntry("order.refused", "order", self.before.row, {**self._asked(), "findings": codes})

    def _asked(self) -> Document:
        return {"control": self.change.control, "status": self.change.order_status}

    def write(self, connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
        """Write the order; its audit entries."""
        plan, change = self.plan, self.change
        detail = self._asked()
        if plan.action == OrderAction.PARKED:
            return (AuditEntry("order.parked", "tombstone", self._park(connection, context), detail),)
        row, cause = plan.row, f"order:{change.control}"
        if plan.order is not None:
            used = self._used()
            cause = f"overtaken:{next(iter(used.values())).control}" if used else cause
            row = writing.write(connection, plan.order, self.before, cause, context)
            if replaced := overriding.of_hand(self.before, plan.order, context.actor):
                detail["instead_of_hand"] = list(replaced)
            _said(connection, row if self.before is not None else None, plan.order, context.at.timestamp())
            waiting.drop_cancels(connection, used)
        elif plan.action == OrderAction.UNCHANGED and row is not None:
            if plan.written is not None:
                saving.save_written(connection, row, plan.written)
            _said(connection, row, self.before, context.at.timestamp())
        elif plan.action == OrderAction.LATE and self.before is not None:
            for step in self.before.steps():
                writing.note(connection, step.row or 0, step.status, f"late:{change.control}", context)
        if row is None:
            return ()
        entries = [AuditEntry(f"order.{plan.action}", "order", row, detail)]
        entries += self._link(connection, row)
        if plan.order is not None:
            entries += early.link_performed(connection, row, plan.order, self.before, context)
        if plan.order is None or _same_numbers(plan.order, self.before):
            return tuple(entries)
        return (*entries, *early.book_appointments(connection, row, plan.order, context))

    def _used(self) -> dict[int, KeptCancel]:
        """Cancels that this order, now that it is here, needs no more."""
        return dict(self.cancels) if self.before is None else {}

    def _park(self, connection: Connection, context: StoryContext) -> int:
        """Keep this cancel for its order; the row."""
        change = self.change
        cancel = KeptCancel(
            control=change.control,
            order_status=change.order_status,
            placer=change.placer,
            filler=change.filler,
            accession=change.accession,
            patient_id=change.patient.patient_id,
            issuer=change.patient.issuer,
            steps=tuple(sorted(change.step_names())),
        )
        for row, other in self.cancels.items():
            if other == cancel:
                return row
        return waiting.keep_cancel(connection, cancel, context.actor, context.at.timestamp())

    def _link(self, connection: Connection, row: int) -> list[AuditEntry]:
        others = [(OrderLinkKind.PARENT, self.parent)] if self.parent is not None else []
        others += [(OrderLinkKind.REPLACES, other) for other in self.replaced]
        return [
            AuditEntry(f"order.{kind}", "order", row, {"order": other})
            for kind, other in others
            if other is not None and other != row and saving.link(connection, row, kind, other)
        ]


def _same_numbers(one: Order, other: Order | None) -> bool:
    return other is not None and (one.placer, one.filler) == (other.placer, other.filler)


def story(connection: Connection, change: OrderChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan one order change."""
    parent, extra = None, Findings()
    if change.parent is not None:
        parents = by_number.find_orders(connection, change.parent.filler, change.parent.placer, "")
        parents = several.of_patient(connection, parents, change.patient)
        parent = parents[0] if len(parents) == 1 else None
        extra = () if parent is not None else (_no_parent(change, parents),)
    found = (by_number.find_order(connection, keys.filler, keys.placer, "") for keys in change.replaces)
    replaced = tuple(row for row in found if row is not None)
    row, clash = _find(connection, change, {parent} if change.control == "CH" else set(replaced))
    stored = reading.load_order(connection, row) if row is not None else None
    known = reading.find_patient(connection, change.patient.patient_id, change.patient.issuer)
    asked, redirected = patients.redirected(change.patient, stored.patient if stored else known)
    change = replace(change, patient=asked)
    cancels = {}
    if stored is None:
        cancels = waiting.cancels(connection, change.filler, change.placer, change.accession, asked.patient_id)
        # the end of the old order may share its accession number with the new one
        ends = lifecycle.REPLACED if change.replaces else ()
        cancels = {row: cancel for row, cancel in cancels.items() if cancel.control not in ends}
    uids = [procedure.study_instance_uid for procedure in change.procedures if procedure.study_instance_uid]
    if change.identifiers.study_instance_uid == "from-accession":
        before = stored.accession if stored else ""
        order = change.identifiers.accession
        accession = identifiers.accession(change.accession, before, change.filler.number, change.placer.number, order)
        for procedure in change.procedures:
            uids += plan.study_candidates(change, procedure, accession)
    owners = reading.study_owners(connection, uids)
    situation = plan.Situation(
        stored=stored,
        patient=known,
        owners=owners,
        joined=[uid for uid, owner in owners.items() if owner != row and by_number.in_force(connection, owner) == row],
        default_station=context.default_station,
        mint=mint,
        at=context.at,
        sender=context.actor,
        cancels=tuple(cancels.values()),
        holders=_holders(connection, change, stored, {parent, *replaced}),
    )
    ambiguous = any(finding.is_error for finding in clash)
    refusal = Plan(action=OrderAction.REFUSED, row=None, done=False)
    order_plan = refusal if ambiguous and stored is None else plan.make(change, situation)
    order_plan = replace(order_plan, findings=(*redirected, *order_plan.findings, *extra, *clash))
    return _Decided(change, order_plan, stored, cancels, parent, replaced).planned()


def _holders(
    connection: Connection, change: OrderChange, stored: Order | None, not_these: Collection[int | None]
) -> tuple[AccessionHolder, ...]:
    """Other orders that have an accession number which this one may get."""
    if stored is not None and change.accession in ("", stored.accession):
        return ()
    numbers = [change.accession] if change.accession else [change.filler.number, change.placer.number]
    row = stored.row if stored else None
    found = reading.accession_holders(connection, [number for number in numbers if number])
    return tuple(
        replace(holder, issuer=recognizing.canonical(connection, AuthorityUse.ACCESSION, holder.issuer))
        for holder in found
        if holder.order != row and holder.order not in not_these
    )


def _find(
    connection: Connection, change: OrderChange, not_these: Collection[int | None]
) -> tuple[int | None, Findings]:
    """Row of the order that a change means, and what is wrong with its numbers.

    A child may have its parent's placer number, a new order that of the one it replaces.
    """
    if change.row is not None:
        return change.row, ()
    action = lifecycle.action(change.control, change.order_status)
    if action is not lifecycle.Action.NUMBER:
        rows = by_number.find_orders(connection, change.filler, change.placer, change.accession)
        rows = [row for row in rows if row not in not_these]
        rows = several.meant(connection, rows, change) if len(rows) > 1 else rows
        if len(rows) < 2 or action is lifecycle.Action.NOTHING or _by_accession_alone(change):
            return (rows[0] if len(rows) == 1 else None), ()
        return None, (doubled.undecided(change),)
    # the filler number is what the order does not have yet
    holder = by_number.find_order(connection, change.filler, EntityId(), "")
    rows = by_number.find_orders(connection, EntityId(), change.placer, "")
    rows = several.of_patient(connection, rows, change.patient)
    if len(rows) > 1:
        return None, (doubled.undecided(replace(change, filler=EntityId())),)
    row = next(iter(rows), None)
    if holder in (None, row):
        return row, ()
    return row, (
        _at(change, "3", ErrorCode.DUPLICATE_KEY, "The filler order number belongs to another order", Severity.ERROR),
    )


def _by_accession_alone(change: OrderChange) -> bool:
    """A new order of which only an accession number is told, as several orders may share."""
    return change.control in lifecycle.NEW and not change.filler.number and not change.placer.number


def _no_parent(change: OrderChange, parents: Collection[int]) -> Finding:
    if parents:
        text = f"{several.HAVE_IT} of a parent: recorded without a link"
        return _at(change, "8", ErrorCode.DUPLICATE_KEY, text, Severity.WARNING)
    text = "The parent order is not known: recorded without a link"
    return _at(change, "8", ErrorCode.UNKNOWN_KEY, text, Severity.WARNING)


def _at(change: OrderChange, field_number: str, code: ErrorCode, text: str, severity: Severity) -> Finding:
    return Finding(f"{change.control_location.rsplit('^', 1)[0]}^{field_number}", code, text, severity)


def _said(connection: Connection, row: int | None, order: Order | None, at: float) -> None:
    """Note that a message spoke of a known order (row) and of its patient, whom it may have left as he was."""
    if row is not None:
        saving.ordered_again(connection, row, at)
    if order is not None and order.patient.row is not None:
        saving.said_again(connection, order.patient.row, at)
