"""Gives the identifiers of a message the one key that their authority has, however the message names it.

A pair of names that is new is learnt in the transaction of the message, and what is stored by the universal ID alone
joins what is stored by the namespace. Two patients that turn out to have one identifier become one only if they can be
the same person (`orders.core.persons`); else they stay two, with a finding, and an ADT^A40 may merge them. Of two
orders that turn out to have one number, one stays in force if they can be one exam (`orders.stories.doubled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.authority import AuthorityUse, KnownAuthority
from broker.model.order import EntityId, Patient
from broker.orders.core import authorities, lifecycle, patients, persons
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.values import Change
from broker.orders.lookup.recognizing import under_key
from broker.orders.stories import doubled, writing
from broker.orders.stories.registering import save
from broker.store.orders import authorities as store
from broker.store.orders import patients as patient_rows
from broker.store.orders import reading

_CERTAIN = 5.0  # seconds after which a pair that is read was committed long ago
_APART = "Another patient has this identifier under the other name of its authority: they are kept apart"


@dataclass(frozen=True, slots=True)
class Settled:
    """Changes under the keys of their authorities, what is to be said of it, what to record in the audit trail."""

    changes: Sequence[Change]
    findings: tuple[Finding, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


def settle(connection: Connection, changes: Sequence[Change], context: StoryContext) -> Settled:
    """The changes settled by what is stored; new pairs are learnt."""
    settling = _Settling(connection, context)
    settled = [change.settled(settling.identifier) for change in changes]
    settling.unite_orders()
    return Settled(settled, tuple(dict.fromkeys(settling.findings)), tuple(settling.audit))


class _Settling:
    """One message being settled."""

    def __init__(self, connection: Connection, context: StoryContext) -> None:
        self._connection, self._context = connection, context
        self.findings: list[Finding] = []
        self.audit: list[AuditEntry] = []
        self._orders: list[tuple[int, int, str]] = []  # two with one number, and where the message has its authority
        self._cancelled: list[tuple[int, str]] = []  # those for which a cancel is kept

    def identifier(self, use: AuthorityUse, identifier: EntityId, location: str) -> EntityId:
        """An identifier under the key of its authority."""
        namespace, universal_id = authorities.names(identifier)
        if not identifier.number or not universal_id:
            return identifier
        decision = self._decision(use, namespace, universal_id, location)
        if decision.contradicts:
            text = f"{decision.contradicts}: the identifier is kept apart"
            self.findings.append(Finding(location, ErrorCode.DUPLICATE_KEY, text, Severity.WARNING))
        return under_key(self._connection, use, identifier, decision.key)

    def _decision(self, use: AuthorityUse, namespace: str, universal_id: str, location: str) -> authorities.Decision:
        found = store.known(self._connection, namespace, universal_id)
        decision = authorities.decide(use, namespace, universal_id, [pair for pair, _ in found])
        if decision.learns or decision.key == universal_id:
            # somebody else may be about to learn it: what is read now holds until this is committed
            store.hold(self._connection, {namespace, universal_id} - {""}, learning=decision.learns)
            found = store.known(self._connection, namespace, universal_id)
            decision = authorities.decide(use, namespace, universal_id, [pair for pair, _ in found])
        if decision.learns:
            pair = KnownAuthority(use, namespace, universal_id)
            self._learn(pair, [other for other, _ in found], location)
        for pair, seen in found:
            if seen < self._context.at.timestamp() - _CERTAIN:
                self._context.authorities.note(pair)
        return decision

    def _learn(self, pair: KnownAuthority, others: Sequence[KnownAuthority], location: str) -> None:
        store.learn(self._connection, pair, self._context.at.timestamp(), self._context.actor)
        for use in authorities.uses_that_join(pair, others):
            if use is AuthorityUse.PATIENT:
                self._join_patients(pair, location if pair.use is use else "PID^1^3")
            elif use is AuthorityUse.VISIT:
                store.rename_visits(self._connection, pair.universal_id, pair.namespace)
            elif use in (AuthorityUse.PLACER, AuthorityUse.FILLER):
                self._join_orders(pair, use, location)

    def _join_orders(self, pair: KnownAuthority, use: AuthorityUse, location: str) -> None:
        names = (pair.universal_id, pair.namespace)
        self._cancelled += [(row, location) for row in store.cancelled_elsewhere(self._connection, use, *names)]
        twice = store.rename_numbers(self._connection, use, *names)
        self._orders += [(renamed, other, location) for renamed, other in twice]

    def unite_orders(self) -> None:
        """Settle which of two orders with one number is in force, once all is known of whom they are for."""
        for one, other, location in self._orders:
            self._tell(location, *doubled.unite(self._connection, one, other, self._context))
        for row, location in self._cancelled:
            self._tell(location, *doubled.cancel(self._connection, row, self._context))

    def _tell(self, location: str, text: str, entries: Sequence[AuditEntry]) -> None:
        self.audit += entries
        if text:
            self.findings.append(Finding(location, ErrorCode.DUPLICATE_KEY, text, Severity.WARNING))

    def _join_patients(self, pair: KnownAuthority, location: str) -> None:
        before, after, connection = pair.universal_id, pair.namespace, self._connection
        twice = store.patients_twice(connection, before, after)
        retired = store.retired_of(connection, before)
        reading.lock(connection, [patients.patient_name(number) for number in (*twice, *retired)])
        for number in twice:
            one = reading.find_patient(connection, number, before)
            other = reading.find_patient(connection, number, after)
            if one is None or other is None or one.row is None or other.row is None or one.row == other.row:
                continue
            if persons.differ(one.attributes, other.attributes):
                self.findings.append(Finding(location, ErrorCode.DUPLICATE_KEY, _APART, Severity.WARNING))
                self.audit.append(AuditEntry("patient.kept-apart", "patient", one.row, {"patient": other.row}))
            else:
                self._unite(one, other)
        store.rename_waiting(connection, before, after)
        at = self._context.at.timestamp()
        for number in store.rename_patients(connection, before, after, lifecycle.OPEN):
            renamed = reading.find_patient(connection, number, after)
            if renamed is not None:
                writing.propagate(connection, replace(renamed, issuer=before), renamed, None, at)
        for number in retired:
            owner = reading.find_patient(connection, number, after)
            if owner is not None:
                aliases = tuple(
                    replace(alias, issuer=after) if alias.issuer == before else alias for alias in owner.aliases
                )
                own = EntityId(owner.patient_id, owner.issuer)
                said = store.written_at(connection, owner.row or 0)
                save(connection, owner, replace(owner, aliases=patients.without(aliases, own)), at, said=said)

    def _unite(self, one: Patient, other: Patient) -> None:
        """Make one patient of two with the same identifier; what was written last of each attribute stands."""
        connection, at = self._connection, self._context.at.timestamp()
        assert one.row is not None
        assert other.row is not None
        times = store.written_at(connection, one.row), store.written_at(connection, other.row)
        first, last = (other, one) if times[0] > times[1] else (one, other)
        own = EntityId(other.patient_id, other.issuer)
        attributes = {**first.attributes, **last.attributes}
        if other.issuer:
            attributes["IssuerOfPatientID"] = other.attributes.get("IssuerOfPatientID", other.issuer)
        aliases = patients.without((*other.aliases, *one.aliases), own)
        after = save(connection, other, replace(other, attributes=attributes, aliases=aliases), at, said=max(times))
        writing.propagate(connection, one, after, None, at)
        detail = {"retired": {"row": one.row, "attributes": one.attributes}, "why": "authority"}
        self.audit.append(AuditEntry("patient.merged", "patient", other.row, detail))
        for visit in patient_rows.visits(connection, one.row):
            known = patient_rows.find_visit(connection, other.row, visit.number)
            if known is None or known.row is None or visit.row is None:
                continue
            said, before = (patient_rows.visit_written_at(connection, row) for row in (visit.row, known.row))
            if said > before:
                patient_rows.save_visit(connection, replace(visit, row=known.row, patient=other.row), said)
        patient_rows.absorb(connection, one.row, other.row)
