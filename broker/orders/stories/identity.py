"""Gives the identifiers of a message the one key that their authority has, however the message names it.

A pair of names that is new is learnt in the transaction of the message, and what is stored by the universal ID alone
joins what is stored by the namespace: at once what a message names, and some of what came last; the rest in small steps
afterwards (`orders.authority_walk`). So no message sees one half of what it names.

Two patients that turn out to have one identifier become one only if they can be the same person
(`orders.core.persons`); else they stay two, with a finding, and an ADT^A40 may merge them. Of two orders that turn out
to have one number, one stays in force if they can be one exam (`orders.stories.doubled`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.authority import AuthorityUse, KnownAuthority
from broker.model.order import EntityId, Patient
from broker.orders.core import authorities, lifecycle, patients, persons
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.values import Change, OrderChange
from broker.orders.lookup import recognizing
from broker.orders.lookup.recognizing import Numbers
from broker.orders.stories import doubled, writing
from broker.orders.stories.registering import save
from broker.store.orders import authorities as store
from broker.store.orders import joined_names, reading
from broker.store.orders import patients as patient_rows

_CERTAIN = 5.0  # seconds after which a pair that is read was committed long ago
_APART = "Another patient has this identifier under the other name of its authority: they are kept apart"


@dataclass(frozen=True, slots=True)
class Settled:
    """Changes under the keys of their authorities, what is to be said of it, what to record in the audit trail."""

    changes: Sequence[Change]
    findings: tuple[Finding, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


def settle(
    connection: Connection, changes: Sequence[Change], context: StoryContext, *, joining: bool = True
) -> Settled:
    """The changes settled by what is stored; new pairs are learnt, and what the changes name is joined.

    `joining`: something may still be to be joined.
    """
    settling = _Settling(connection, context)
    numbers = recognizing.numbers(changes, settling.learn)
    for pair, location in settling.taught:
        numbers = recognizing.with_newest(connection, numbers, pair, location)
    joined = join(connection, numbers, context) if joining or settling.told else Joined()
    settled = [change.settled(settling.identifier) for change in changes]
    findings = (*settling.findings, *joined.findings)
    return Settled(settled, tuple(dict.fromkeys(findings)), tuple(joined.audit))


def as_known(connection: Connection, change: OrderChange, context: StoryContext) -> OrderChange:
    """An order change under the keys of its authorities, as far as they are known; nothing is learnt.

    What it names is joined, with audit entries, where that is still to be done.
    """
    join_recorded(connection, recognizing.numbers([change]), context)
    return recognizing.as_known(connection, change)


def join_recorded(connection: Connection, numbers: Numbers, context: StoryContext) -> None:
    """See `join`; what there is to say stands in the audit trail."""
    for entry in join(connection, numbers, context).audit:
        writing.audit(connection, context, entry.action, entry.kind, entry.row, entry.detail)


class _Settling:
    """One message being settled."""

    def __init__(self, connection: Connection, context: StoryContext) -> None:
        self._connection, self._context = connection, context
        self._decisions: dict[tuple[AuthorityUse, str, str], authorities.Decision] = {}
        self.findings: list[Finding] = []
        self.taught: list[tuple[KnownAuthority, str]] = []  # what is to be joined from now on, and where it was told
        self.told = False  # a pair was learnt in this transaction, or committed by another one meanwhile

    def learn(self, use: AuthorityUse, identifier: EntityId, location: str) -> EntityId:
        """Learn what an identifier tells of its authority. It stays as it is."""
        self._decision(use, identifier, location)
        return identifier

    def identifier(self, use: AuthorityUse, identifier: EntityId, location: str) -> EntityId:
        """An identifier under the key of its authority."""
        decision = self._decision(use, identifier, location)
        if decision is None:
            return identifier
        if decision.contradicts:
            text = f"{decision.contradicts}: the identifier is kept apart"
            self.findings.append(Finding(location, ErrorCode.DUPLICATE_KEY, text, Severity.WARNING))
        return recognizing.under_key(self._connection, use, identifier, decision.key)

    def _decision(self, use: AuthorityUse, identifier: EntityId, location: str) -> authorities.Decision | None:
        """What is decided of the authority of an identifier; None if it has no universal ID."""
        names = authorities.names(identifier)
        if not identifier.number or not names[1]:
            return None
        if (use, *names) not in self._decisions:
            decision = self._decide(use, *names, location)
            if decision.learns:  # for those decided before, too
                self._decisions.clear()
            self._decisions[use, *names] = decision
        return self._decisions[use, *names]

    def _decide(self, use: AuthorityUse, namespace: str, universal_id: str, location: str) -> authorities.Decision:
        found = store.known(self._connection, namespace, universal_id)
        decision = authorities.decide(use, namespace, universal_id, [pair for pair, _ in found])
        if decision.learns or decision.key == universal_id:
            # somebody else may be about to learn it: what is read now holds until this is committed
            store.hold(self._connection, {namespace, universal_id} - {""}, learning=decision.learns)
            before, found = found, store.known(self._connection, namespace, universal_id)
            decision = authorities.decide(use, namespace, universal_id, [pair for pair, _ in found])
            self.told = self.told or decision.learns or found != before
        if decision.learns:
            self._learn(KnownAuthority(use, namespace, universal_id), [other for other, _ in found], location)
        for pair, seen in found:
            if seen < self._context.at.timestamp() - _CERTAIN:
                self._context.authorities.note(pair)
        return decision

    def _learn(self, pair: KnownAuthority, others: Sequence[KnownAuthority], location: str) -> None:
        """Keep a pair. What it tells of each use is to be joined; what it makes doubtful is no longer."""
        at = self._context.at.timestamp()
        store.learn(self._connection, pair, at, self._context.actor)
        uses = authorities.uses_that_join(pair, others)
        for use in AuthorityUse:
            joined = KnownAuthority(use, pair.namespace, pair.universal_id)
            if use in uses and joined_names.PLACES[use]:
                store.begin_join(self._connection, joined, at)
                self.taught.append((joined, location))
            elif not any(other.use is use for other in others):
                store.end_join(self._connection, joined)  # two namespaces of other uses: it may be either


@dataclass(frozen=True, slots=True)
class Joined:
    """What is to be said of what was joined, and what to record in the audit trail."""

    findings: Sequence[Finding] = ()
    audit: Sequence[AuditEntry] = ()


def join(connection: Connection, numbers: Numbers, context: StoryContext) -> Joined:
    """Join what is stored under these numbers by the two names of an authority, as far as that is still to be done.

    `numbers`: by use, each with where a message has it; of visits the patients (rows). Whoever names a number finds all
    that has it under one key, however much of the authority is still to be joined.
    """
    pending = store.joins(connection)
    if not pending or not numbers:
        return Joined()
    joining = _Joining(connection, context)
    people = recognizing.people(connection, numbers)
    reading.lock(connection, [patients.patient_name(number) for number in people])
    named = {**numbers, AuthorityUse.PATIENT: people}
    for use in sorted({one.pair.use for one in pending}, key=list(AuthorityUse).index):
        if use is AuthorityUse.VISIT:
            rows = {*joined_names.patient_rows(connection, people), *numbers.get(use, ())}
            named[use] = dict.fromkeys(sorted(rows), "")
        stand = joined_names.issuers(connection, use, named.get(use, {}))
        for one in pending:
            if one.pair.use is use and one.pair.universal_id in stand:
                joining.join(use, named[use], one.pair.universal_id, one.pair.namespace)
    joining.unite_orders()
    return Joined(joining.findings, joining.audit)


class _Joining:
    """Some numbers being joined."""

    def __init__(self, connection: Connection, context: StoryContext) -> None:
        self._connection, self._context = connection, context
        self.findings: list[Finding] = []
        self.audit: list[AuditEntry] = []
        self._orders: list[tuple[int, int, str]] = []  # two with one number, and where the message has it
        self._cancelled: list[tuple[int, str]] = []  # those for which a cancel is kept

    def join(self, use: AuthorityUse, numbers: Mapping[Any, str], before: str, after: str) -> None:
        """Give what stands under these numbers the other name of their authority."""
        if use is AuthorityUse.PATIENT:
            self._join_patients(numbers, before, after)
        elif use is AuthorityUse.VISIT:
            joined_names.rename_visits(self._connection, list(numbers), before, after)
        else:
            self._join_orders(use, numbers, before, after)

    def _join_orders(self, use: AuthorityUse, numbers: Mapping[str, str], before: str, after: str) -> None:
        location = next(iter(numbers.values()), "")
        rows = joined_names.cancelled_elsewhere(self._connection, use, list(numbers), before, after)
        self._cancelled += [(row, location) for row in rows]
        twice = joined_names.rename_numbers(self._connection, use, list(numbers), before, after)
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

    def _join_patients(self, numbers: Mapping[str, str], before: str, after: str) -> None:
        connection, mine = self._connection, list(numbers)
        for number in joined_names.patients_twice(connection, mine, before, after):
            one = reading.find_patient(connection, number, before)
            other = reading.find_patient(connection, number, after)
            if one is None or other is None or one.row is None or other.row is None or one.row == other.row:
                continue
            if not persons.differ(one.attributes, other.attributes):
                self._unite(one, other)
            elif joined_names.keep_apart(connection, number, before):
                self.findings.append(Finding(numbers[number], ErrorCode.DUPLICATE_KEY, _APART, Severity.WARNING))
                self.audit.append(AuditEntry("patient.kept-apart", "patient", one.row, {"patient": other.row}))
        joined_names.rename_waiting(connection, mine, before, after)
        retired = joined_names.retired_of(connection, mine, before)
        at = self._context.at.timestamp()
        for number in joined_names.rename_patients(connection, mine, before, after, lifecycle.OPEN):
            renamed = reading.find_patient(connection, number, after)
            if renamed is not None:
                writing.propagate(connection, replace(renamed, issuer=before), renamed, None, at)
        for number, row in retired:
            owner = reading.find_patient(connection, number, after)
            if owner is None or owner.row != row:  # it stays apart: somebody else has, or had, it under the other name
                continue
            gone = EntityId(number, before)
            aliases = tuple(replace(alias, issuer=after) if alias == gone else alias for alias in owner.aliases)
            own = EntityId(owner.patient_id, owner.issuer)
            said = joined_names.written_at(connection, row)
            save(connection, owner, replace(owner, aliases=patients.without(aliases, own)), at, said=said)

    def _unite(self, one: Patient, other: Patient) -> None:
        """Make one patient of two with the same identifier; what was written last of each attribute stands."""
        connection, at = self._connection, self._context.at.timestamp()
        assert one.row is not None
        assert other.row is not None
        times = joined_names.written_at(connection, one.row), joined_names.written_at(connection, other.row)
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
