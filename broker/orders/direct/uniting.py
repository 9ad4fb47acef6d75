"""Makes one patient of two whom a person has compared: all that the one has goes to the other, as an HL7 merge does it.

So an emergency patient becomes the registered one without a message of the RIS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.model.order import EntityId, Patient
from broker.orders.core.context import StoryContext
from broker.orders.core.patients import AdtEvent, Merge, patient_name
from broker.orders.core.values import PatientChange
from broker.orders.direct.placing import OrderRefused
from broker.orders.stories import intake
from broker.store.orders import patients as store
from broker.store.orders import reading
from broker.store.room import needs_room

BY_HAND = "by-hand"  # what stands in the place of the trigger of an ADT event


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two patients to compare: the one that stays and the one that is retired, with the rows of their orders."""

    stays: Patient
    retired: Patient
    orders: tuple[Sequence[int], Sequence[int]]

    @property
    def revision(self) -> str:
        """What a merge is based on: it changes with either patient and with the orders of the retired one."""
        told = [[one.row, one.patient_id, one.issuer, one.attributes] for one in (self.stays, self.retired)]
        text = json.dumps([told, list(self.orders[1])], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def compare(connection: Connection, stays: int, retired: int) -> Pair:
    """Two patients by their rows. Raises OrderRefused: one is not there, or it is the same one."""
    found = [reading.patient_of_row(connection, row) for row in (stays, retired)]
    if found[0] is None or found[1] is None:
        raise OrderRefused("missing", "No such patient")
    if stays == retired:
        raise OrderRefused("conflict", "This is one and the same patient")
    orders = (store.orders_of(connection, stays), store.orders_of(connection, retired))
    return Pair(stays=found[0], retired=found[1], orders=orders)


@needs_room
def unite(
    connection: Connection, stays: int, retired: int, revision: str | None, context: StoryContext
) -> tuple[Finding, ...]:
    """Give all that a patient (row `retired`) has to another one (row `stays`), if both are as at `revision`.

    Warnings are returned. Raises OrderRefused.
    """
    seen = compare(connection, stays, retired)
    reading.lock(connection, [patient_name(one.patient_id) for one in (seen.stays, seen.retired)])
    pair = compare(connection, stays, retired)
    if pair.revision != (seen.revision if revision is None else revision):
        raise OrderRefused("changed", "One of the patients has changed meanwhile")
    merge = Merge(
        AdtEvent(BY_HAND, "", ""),
        PatientChange(pair.stays.patient_id, pair.stays.issuer, {}),
        EntityId(pair.retired.patient_id, pair.retired.issuer),
        "retired",
    )
    plans, audit = intake.apply(connection, [merge], context)
    findings = [finding for planned in plans for finding in planned.findings]
    if audit is None:
        errors = [finding for finding in findings if finding.is_error]
        raise OrderRefused("conflict", errors[0].text, errors)
    for entry in audit:
        intake.add_audit(connection, entry, context)
    return tuple(findings)
