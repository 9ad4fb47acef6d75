"""Begins the second part of a sign-in, where the user has a second factor or must set one up.

The browser has the secret of the flow in a cookie. The database has its hash: a restart ends no sign-in.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from broker.accounts.second_factor.factors import SecondFactors
from broker.accounts.secret_text import digest_of, new_secret
from broker.store.accounts import flows
from broker.store.accounts.flows import StoredFlow
from broker.store.accounts.users import StoredUser

CODE, SET_UP = "code", "set-up"  # what the user does in the second part
LIFE = 600.0  # seconds
MOST = 10_000  # flows of a kind; each takes a right password


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A flow that began just now: the text of its cookie, which is stored nowhere, and what the user has to do."""

    text: str
    kind: str


def begun(
    connection: Connection, factors: SecondFactors, user: StoredUser, method: str, next_path: str, at: float
) -> NewFlow | None:
    """A flow for a user who has proved the first factor; None for one who needs no second one. Raises Unavailable."""
    state = factors.state(connection, user)
    if state.since is None and not state.required:
        return None
    kind = CODE if state.since is not None else SET_UP
    if kind == SET_UP:
        factors.begin(connection, user, at)
    text = new_secret()
    flow = StoredFlow(kind=kind, method=method, user=user.row, next_path=next_path, began_at=at, wrong=0)
    flows.add(connection, digest_of(text), flow, at + LIFE, MOST)
    return NewFlow(text, kind)
