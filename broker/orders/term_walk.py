"""Writes the words of new patients, many at once, in small steps beside traffic.

An order that brings a patient does not wait for it. Whoever came before people searched by words gets them here too.
`findable` of a patient says that it is done. So a walk that was broken off goes on where it ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection

from broker import telemetry
from broker.orders.lookup.patient_terms import terms_of
from broker.store.db.pace import Pace
from broker.store.orders import patient_terms

PAGE = 512  # patients read at once
MANY = 10_000  # patients whose words are told of in the log: those of an update, or of an import


def make_findable(pace: Pace) -> int:
    """Make all patients findable; how many were not. Raises StoreUnavailable."""
    began, count = time.monotonic(), 0
    while not pace.stopped and (page := pace.read(patient_terms.unfindable, PAGE)):
        terms = [(row, terms_of(attributes)) for row, attributes in page.items()]
        for _ in pace.write(_write, terms):
            pass
        count += len(page)
    if count >= MANY and not pace.stopped:
        telemetry.logger().info("patients.findable", count=count, duration=round(time.monotonic() - began, 1))
    return count


def _write(connection: Connection, part: Sequence[tuple[int, tuple[str, ...]]]) -> None:
    patient_terms.make_findable(connection, dict(part))
