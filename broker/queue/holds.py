"""Releases or discards a held job, as a person decided, and notes it in the audit trail.

A held job of an ordered group keeps back the later ones of that group, and only these.
"""

from __future__ import annotations

from sqlalchemy import Connection

from broker.model.lane import JobState
from broker.store import jobs
from broker.store.audit.adding import add_audit


def release(connection: Connection, job: int, actor: str, at: float, address: str = "") -> bool:
    """Try a held job (row) again, as if for the first time; False if it is not held."""
    return _end(connection, job, JobState.READY, "job.released", at, actor, address)


def discard(connection: Connection, job: int, actor: str, reason: str, at: float, address: str = "") -> bool:
    """Never try a held job (row) again; it stays, as discarded. False if it is not held."""
    return _end(connection, job, JobState.DISCARDED, "job.discarded", at, actor, address, reason)


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
