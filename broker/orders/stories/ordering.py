"""The story of an order change: find the order, decide (`orders.core.plan`), write it with its worklist answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId, KeptCancel, Order, OrderLinkKind
from broker.orders.core import identifiers, lifecycle, patients, plan
from broker.orders.core.identifiers import Minter
from broker.orders.core.story import AuditEntry, Context
from broker.orders.core.values import OrderChange, Plan
from broker.orders.stories import early, writing
from broker.store.orders import reading, saving, waiting

Findings = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """What an order change comes to; see `story.Planned`.

    `overtakers` are rows of cancels kept for this order, `parent` and `replaced` rows of orders.
    """

    change: OrderChange
    made: Plan
    before: Order | None
    overtakers: Mapping[int, KeptCancel] = field(default_factory=dict)
    parent: int | None = None
    replaced: tuple[int, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be told to the sender."""
        return self.made.findings

    @property
    def accession(self) -> str:
        """Accession number of what is written."""
        return self.made.order.accession if self.made.order else ""

    @property
    def refused(self) -> AuditEntry | None:
        """What to record in the audit trail of a known order that refuses this."""
        if self.made.action != "refused" or self.before is None or self.before.row is None:
            return None
        codes = [finding.code for finding in self.findings if finding.is_error]
        return AuditEntry("order.refused", "order", self.before.row, {**self._asked(), "findings": codes})

    def _asked(self) -> Document:
        return {"control": self.change.control, "status": self.change.order_status}

    def write(self, connection: Connection, context: Context) -> tuple[AuditEntry, ...]:
        """Write the order; its audit entries."""
        made, change = self.made, self.change
        detail = self._asked()
        if made.action == "parked":
            return (AuditEntry("order.parked", "tombstone", self._park(connection, context), detail),)
        row, cause = made.row, f"order:{change.control}"
        if made.order is not None:
            used = self._used()
            cause = f"overtaken:{next(iter(used.values())).control}" if used else cause
            row = writing.write(connection, made.order, self.before, cause, context)
            waiting.drop_cancels(connection, used)
        elif made.written is not None and row is not None:
            saving.save_written(connection, row, made.written)
        elif made.action == "late" and self.before is not None:
            for step in self.before.steps():
                writing.note(connection, step.row or 0, step.status, f"late:{change.control}", context)
        if row is None:
            return ()
        entries = [AuditEntry(f"order.{made.action}", "order", row, detail)]
        entries += self._link(connection, row)
        if made.order is not None:
            entries += early.link_performed(connection, row, made.order, self.before, context)
        if made.order is None or _same_numbers(made.order, self.before):
            return tuple(entries)
        return (*entries, *early.book_appointments(connection, row, made.order, context))

    def _used(self) -> dict[int, KeptCancel]:
        """Cancels that this order, now that it is here, needs no more."""
        return dict(self.overtakers) if self.before is None else {}

    def _park(self, connection: Connection, context: Context) -> int:
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
        for row, other in self.overtakers.items():
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


def story(connection: Connection, change: OrderChange, context: Context, mint: Minter) -> PlannedOrder:
    """Plan one order change."""
    parent, extra = None, Findings()
    if change.parent is not None:
        parent = reading.find_order(connection, change.parent.filler, change.parent.placer, "")
        extra = () if parent is not None else (_no_parent(change),)
    found = (reading.find_order(connection, keys.filler, keys.placer, "") for keys in change.replaces)
    replaced = tuple(row for row in found if row is not None)
    row, clash = _find(connection, change, {parent} if change.control == "CH" else set(replaced))
    stored = reading.load_order(connection, row) if row is not None else None
    known = reading.find_patient(connection, change.patient.patient_id, change.patient.issuer)
    asked, redirected = patients.redirected(change.patient, stored.patient if stored else known)
    change = replace(change, patient=asked)
    overtakers = {}
    if stored is None:
        overtakers = waiting.cancels(connection, change.filler, change.placer, change.accession, asked.patient_id)
        # the end of the old order may share its accession number with the new one
        ends = lifecycle.REPLACED if change.replaces else ()
        overtakers = {number: stone for number, stone in overtakers.items() if stone.control not in ends}
    uids = [procedure.study_instance_uid for procedure in change.procedures if procedure.study_instance_uid]
    if change.identifiers.study_instance_uid == "from-accession":
        before = stored.accession if stored else ""
        order = change.identifiers.accession
        accession = identifiers.accession(change.accession, before, change.filler.number, change.placer.number, order)
        for procedure in change.procedures:
            uids += plan.study_candidates(change, procedure, accession)
    situation = plan.Situation(
        stored=stored,
        patient=known,
        owners=reading.study_owners(connection, uids),
        received=context.received,
        default_station=context.default_station,
        mint=mint,
        at=context.at.timestamp(),
        sender=context.actor,
        overtakers=[plan.Overtaker(s.control, s.order_status, frozenset(s.steps)) for s in overtakers.values()],
    )
    made = plan.make(change, situation)
    made = replace(made, findings=(*redirected, *made.findings, *extra, *clash))
    return PlannedOrder(change, made, stored, overtakers, parent, replaced)


def _find(
    connection: Connection, change: OrderChange, not_these: Collection[int | None]
) -> tuple[int | None, Findings]:
    """Row of the order that a change means, and what is wrong with its numbers.

    A child may have its parent's placer number, a new order that of the one it replaces.
    """
    if change.row is not None:
        return change.row, ()
    row = reading.find_order(connection, change.filler, change.placer, change.accession)
    if lifecycle.action(change.control, change.order_status) is not lifecycle.Action.NUMBER:
        return (None if row in not_these else row), ()
    # the filler number is what the order does not have yet
    holder = reading.find_order(connection, change.filler, EntityId(), "")
    row = reading.find_order(connection, EntityId(), change.placer, "")
    if holder in (None, row):
        return row, ()
    return row, (
        _at(change, "3", ErrorCode.DUPLICATE_KEY, "The filler order number belongs to another order", Severity.ERROR),
    )


def _no_parent(change: OrderChange) -> Finding:
    return _at(
        change, "8", ErrorCode.UNKNOWN_KEY, "The parent order is not known: recorded without a link", Severity.WARNING
    )


def _at(change: OrderChange, field_number: str, code: ErrorCode, text: str, severity: Severity) -> Finding:
    return Finding(f"{change.control_location.rsplit('^', 1)[0]}^{field_number}", code, text, severity)
