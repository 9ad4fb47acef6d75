"""Finds the jobs of a claim whose answer its owner did not get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, update

from broker.model.lane import JobState
from broker.store.schema import tables

_t = tables.job


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim of which its owner did not hear: the stored name of its lane, and when its lease ends."""

    lane: str
    owner: str
    until: float


def free_claims(connection: Connection, claims: Sequence[LostClaim]) -> list[int]:
    """Put back the jobs of claims that are in nobody's hand; how many of each."""
    counts = []
    for claim in claims:
        leased = _t.c.lane == claim.lane, _t.c.lease_owner == claim.owner, _t.c.lease_until == claim.until
        back = update(_t).where(*leased, _t.c.state == JobState.LEASED).values(state=JobState.READY, lease_owner="")
        counts.append(int(connection.execute(back).rowcount))
    return counts
