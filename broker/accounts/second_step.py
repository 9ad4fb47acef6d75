"""Ends a sign-in by a second factor: the user proves it by a code, or sets it up where the role asks for one.

Wrong codes count as wrong passwords do, for the account and for the address. A flow ends after MOST_WRONG of them, and
when the password is changed or the user is disabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.accounts import sessions, tries
from broker.accounts.deed import Deed
from broker.accounts.second_factor.factors import FreshSecret, WrongCode
from broker.accounts.second_factor.second_flow import CODE, SET_UP
from broker.accounts.secret_text import digest_of, is_secret
from broker.accounts.sessions import NewSession, SignInPlace
from broker.accounts.signing_in import SignIn
from broker.accounts.tries import Buckets
from broker.store.accounts import flows
from broker.store.accounts import users as user_rows
from broker.store.accounts.flows import StoredFlow
from broker.store.accounts.users import StoredUser

MOST_WRONG = 5  # codes of one flow


class FlowUnknown(Exception):
    """The flow was used, is too old, has had too many wrong codes, or never was one: sign in from the beginning."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who has come in: the session, the page that was asked for, and recovery codes that were made just now."""

    session: NewSession
    next_path: str
    codes: Sequence[str] = ()


class SecondStep:
    """The second part of the sign-ins of `SignIn`. Blocks for the database: for threads that may wait."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in, self._factors = sign_in, sign_in.factors
        self._database, self._clock = sign_in.database, sign_in.clock

    def kind(self, text: str) -> str:
        """What the user has to do in the flow of a cookie: CODE or SET_UP. Raises FlowUnknown."""
        return self._database.read(self._looked, text).result()[0].kind

    def fresh(self, text: str) -> FreshSecret:
        """The secret to set up in a flow. Raises FlowUnknown, Unavailable."""
        return self._database.read(self._fresh, text).result()

    def by_code(self, text: str, code: str, place: SignInPlace) -> Entry:
        """Come in by a code of the app, or by a recovery code. Raises FlowUnknown, TooManyTries, WrongCode."""
        user = self._database.read(self._looked, text).result()[1]
        _, buckets = self._database.execute(self._sign_in.begin_try, user.name, place)
        entry = self._database.execute(self._proved, text, code, buckets, place)
        if entry is None:
            raise WrongCode
        return entry

    def by_first_code(self, text: str, code: str, place: SignInPlace) -> Entry:
        """Put the second factor in force and come in. Raises FlowUnknown, WrongCode."""
        return self._database.execute(self._set_up, text, code, place)

    def _looked(self, connection: Connection, text: str, lock: bool = False) -> tuple[StoredFlow, StoredUser]:
        """The flow of a cookie, and its user. Raises FlowUnknown."""
        at = self._clock()
        for kind in (CODE, SET_UP) if is_secret(text) else ():
            flow = flows.look(connection, digest_of(text), kind, at, lock=lock)
            if flow is not None and flow.user is not None:
                user = user_rows.by_row(connection, flow.user, lock=lock)
                if user is not None and user.disabled_at is None and (user.password_at or 0.0) <= flow.began_at:
                    return flow, user
        raise FlowUnknown

    def _fresh(self, connection: Connection, text: str) -> FreshSecret:
        flow, user = self._looked(connection, text)
        fresh = self._factors.fresh(connection, user, self._clock()) if flow.kind == SET_UP else None
        if fresh is None:
            raise FlowUnknown
        return fresh

    def _proved(
        self, connection: Connection, text: str, code: str, buckets: Buckets, place: SignInPlace
    ) -> Entry | None:
        """The transaction: a session, or None for a wrong code, which counts."""
        flow, user = self._looked(connection, text, lock=True)
        if flow.kind != CODE:
            raise FlowUnknown
        at, digest = self._clock(), digest_of(text)
        how = self._factors.proved(connection, user, code, Deed(f"user:{user.name}", at, place.address))
        if not how:
            self._sign_in.note_refusal(connection, user, place, "code")
            flows.count_wrong(connection, digest)
            if flow.wrong + 1 >= MOST_WRONG:
                flows.take(connection, digest, CODE, at)
            return None
        flows.take(connection, digest, CODE, at)
        tries.succeeded(connection, buckets, at)
        method = f"{flow.method}+{how}"
        return Entry(sessions.begin(connection, user, method, place, self._sign_in.times, at), flow.next_path)

    def _set_up(self, connection: Connection, text: str, code: str, place: SignInPlace) -> Entry:
        flow, user = self._looked(connection, text, lock=True)
        if flow.kind != SET_UP:
            raise FlowUnknown
        at = self._clock()
        deed = Deed(f"user:{user.name}", at, place.address)
        codes = self._factors.confirm(connection, user, code, deed)
        flows.take(connection, digest_of(text), SET_UP, at)
        session = sessions.begin(connection, user, f"{flow.method}+code", place, self._sign_in.times, at)
        return Entry(session, flow.next_path, codes)
