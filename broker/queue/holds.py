"""Releases or discards held jobs, as a person decided, and notes each in the audit trail.

A held job of an ordered group keeps back the later ones of that group, and only these. One that a later version of its
object has overtaken is released only by who says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.model.lane import JobState
from broker.store import claims, jobs
from broker.store.audit.adding import add_audit
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter


class ListChanged(Exception):
    """Not as many jobs match as a person saw."""


class NewerSent(BadContent):
    """The destination has a newer version of the object: a delivery that is released goes over it."""

    code = "newer-version-sent"

    def __init__(self) -> None:
        super().__init__("a newer version of the object was sent: this one would go over it. Nothing was changed")


def release(
    connection: Connection, job: int, actor: str, at: float, address: str = "", *, anyway: bool = False
) -> bool:
    """Try a held job (row) again, as if for the first time; False if it is not held.

    Raises NewerSent if it sends an older version of an object over a newer one, unless that is wanted `anyway`.
    """
    if not anyway and claims.overtaken(connection, job):
        raise NewerSent
    return _end(connection, job, JobState.READY, "job.released", at, actor, address)


def discard(connection: Connection, job: int, actor: str, reason: str, at: float, address: str = "") -> bool:
    """Never try a held job (row) again; it stays, as discarded. False if it is not held."""
    return _end(connection, job, JobState.DISCARDED, "job.discarded", at, actor, address, reason)


def matching(connection: Connection, wanted: HeldFilter, expected: int) -> Sequence[int]:
    """The rows of all held jobs that match. Raises ListChanged unless they are as many as expected."""
    found = held_jobs.rows(connection, wanted, expected + 1)
    if len(found) != expected:
        raise ListChanged
    return found


def end_all(connection: Connection, jobs_of: Callable[[Connection], Sequence[int]], end: Callable[..., bool]) -> int:
    """End the holds of several jobs in one transaction by `end(connection, row)`; how many were held.

    `jobs_of` finds the rows in the same transaction.
    """
    return sum(end(connection, row) for row in jobs_of(connection))


def _end(
    connection: Connection,
    job: int,
    state: JobState,
    action: str,
    at: float,
    actor: str,
    address: str,
    reason: str = "",
) -> bool:
    done = jobs.end_hold(connection, job, state, at)
    if done:
        detail = {"reason": reason} if reason else {}
        add_audit(connection, at, actor, action, "job", job, detail, address=address)
    return done
