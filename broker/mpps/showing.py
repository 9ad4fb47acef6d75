"""Collects what a person needs to see of one performed procedure step before a decision about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.model.performed import PerformedStep, StepLink
from broker.store.mpps import performed_steps
from broker.store.orders import matching
from broker.store.orders.search import patient_of


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A performed procedure step with its items, and scheduled steps that it may mean if an item has none.

    `proposals`: rows of step and order, status and planned start of steps of the same patient and modality.
    """

    performed: PerformedStep
    items: tuple[StepLink, ...]
    proposals: tuple[dict[str, Any], ...]


def patients(connection: Connection, shown: ShownStep) -> list[int]:
    """The patients (rows) whose orders the items of a performed step belong to."""
    orders = [order_of(connection, item.step) for item in shown.items if item.step is not None]
    found = [patient_of(connection, order) for order in orders if order is not None]
    return [patient for patient in found if patient is not None]


def order_of(connection: Connection, step: int) -> int | None:
    """The order (row) of a scheduled step (row)."""
    return performed_steps.order_of(connection, step)


def show(connection: Connection, row: int) -> ShownStep | None:
    """The performed procedure step of a row; None if there is none."""
    performed = performed_steps.load(connection, row)
    if performed is None:
        return None
    items = tuple(performed_steps.links(connection, row))
    patient = str(performed.document.get("PatientID", ""))
    unlinked = patient and any(item.step is None for item in items)
    proposals = matching.of_patient(connection, patient, performed.modality) if unlinked else ()
    return ShownStep(performed, items, tuple(proposals))
