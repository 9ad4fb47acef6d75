"""Releases or discards a held job, as a person decided, and notes it in the audit trail.

A held job of an ordered group keeps back the later ones of that group, and only these.
"""

from __future__ import annotations

from sqlalchemy import Connection

from broker.model.lane import JobState
from broker.store import jobs
from broker.store.orders.saving import add_audit


def release(connection: Connection, job: int, actor: str, at: float) -> bool:
    """Try a held job (row) again, as if for the first time; False if it is not held."""
    return _end(connection, job, JobState.READY, "job.released", actor, "", at)


def discard(connection: Connection, job: int, actor: str, reason: str, at: float) -> bool:
    """Never try a held job (row) again; it stays, as discarded. False if it is not held."""
    return _end(connection, job, JobState.DISCARDED, "job.discarded", actor, reason, at)


def _end(connection: Connection, job: int, state: JobState, action: str, actor: str, reason: str, at: float) -> bool:
    done = jobs.end_hold(connection, job, state, at)
    if done:
        add_audit(connection, at, actor, action, "job", job, {"reason": reason} if reason else {})
    return done
