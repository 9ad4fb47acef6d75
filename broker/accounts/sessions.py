"""Begins, checks and ends the sessions of users: by its cookie a browser proves whose it is.

A session ends when it was not used for a while, when it is old, when its user signs out, is disabled, or gets another
role or password (OWASP ASVS 5.0 §7.3, §7.4). What a user may is looked up at each request, not kept in the session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.accounts.deed import Deed
from broker.accounts.roles import RIGHTS, Person, Principal, UserRole
from broker.accounts.secret_text import digest_of, new_secret
from broker.store.accounts import sessions as store
from broker.store.accounts import users as user_rows
from broker.store.accounts.sessions import StoredSession
from broker.store.accounts.users import StoredUser
from broker.store.db.database import Database

SEEN = 60.0  # seconds between two notes of the last use
MOST = 20  # sessions of one user: the one that was used longest ago ends for another one
KEPT = 90 * 86_400.0  # seconds that a session stays after its time was over
BROWSER = 200  # characters of the name that a browser gives itself


@dataclass(frozen=True, slots=True)
class SignInPlace:
    """From where a request comes: an address (the /64 of IPv6), and what the browser calls itself."""

    address: str
    browser: str = ""


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """Seconds without use after which a session ends, and seconds after which it ends in any case."""

    idle: float
    lifetime: float


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that began just now: its row, its user (row), and the text of its cookie, which is stored nowhere."""

    row: int
    user: int
    text: str


def begin(
    connection: Connection, user: StoredUser, method: str, place: SignInPlace, times: SessionTimes, at: float
) -> NewSession:
    """Sign a user in. `method`: `password`, `link` or `oidc`."""
    store.forget(connection, at - KEPT)
    for old in store.find(connection, at, times.idle, user.row)[MOST - 1 :]:
        store.end(connection, old.row, at)
    text = new_secret()
    until = at + times.lifetime
    values = {"user": user.row, "digest": digest_of(text), "method": method, "address": place.address}
    values |= {"browser": place.browser[:BROWSER], "created_at": at, "seen_at": at, "expires_at": until}
    row = store.add(connection, values)
    user_rows.change(connection, user.row, {"last_sign_in_at": at})
    deed = Deed(f"user:{user.name}", at, place.address)
    deed.note(connection, "user.signed_in", user.row, {"name": user.name, "method": method, "session": row})
    return NewSession(row, user.row, text)


def end(connection: Connection, row: int, deed: Deed) -> bool:
    """End a session (row); False if none of it is in force."""
    session = store.by_row(connection, row)
    if session is None or not store.end(connection, row, deed.at):
        return False
    deed.note(connection, "user.signed_out", session.user, {"name": session.user_name, "session": row})
    return True


def end_all(connection: Connection, user: int, deed: Deed, but: int = 0) -> int:
    """End the sessions of a user (row), all `but` one; how many."""
    ended = store.end_all(connection, user, deed.at, but)
    if ended:
        deed.note(connection, "user.signed_out", user, {"sessions": ended})
    return ended


def listed(connection: Connection, at: float, idle: float, user: int | None = None) -> Sequence[StoredSession]:
    """The sessions in force, of one user (row) or of all, the one used last first."""
    return store.find(connection, at, idle, user)


class SessionCheck:
    """Tells whose session it is."""

    def __init__(self, database: Database, clock: Callable[[], float], idle: float) -> None:
        """`clock` gives s since the epoch; `idle`: seconds without use after which a session ends."""
        self._database = database
        self._clock = clock
        self._idle = idle

    def caller(self, text: str) -> Future[Principal | None]:
        """Who calls with a cookie; None for one that is not in force. The future raises StoreUnavailable."""
        return self._database.read(self._found, digest_of(text))

    def _found(self, connection: Connection, digest: bytes) -> Principal | None:
        now = self._clock()
        known = store.by_digest(connection, digest)
        if known is None:
            return None
        session, user = known
        if user.disabled_at is not None or not session.in_force(now, self._idle):
            return None
        if now - session.seen_at > SEEN:
            self._database.submit(store.note_use, session.row, now)  # nobody waits for it
        role = UserRole(user.role)
        person = Person(user=user.row, session=session.row, name=user.name, role=role, language=user.language)
        return Principal(f"user:{user.name}", RIGHTS[role], person)
