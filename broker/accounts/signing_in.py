"""Lets a person in by name and password. A wrong password and an unknown name are answered alike, after like work."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from broker.accounts import sessions, tries, users
from broker.accounts.deed import Deed
from broker.accounts.passwords import Passwords
from broker.accounts.sessions import NewSession, SessionTimes, SignInPlace
from broker.accounts.tries import KNOWN, Buckets
from broker.store.accounts import sessions as session_rows
from broker.store.accounts import users as user_rows
from broker.store.accounts.users import StoredUser
from broker.store.db.database import Database

STRANGER = "stranger"  # actor of what nobody did who is known
LONGEST_NAME = 200  # characters of a name that is looked up


class TooManyTries(Exception):
    """Too many wrong tries from here, or for this account. `seconds`: until another one."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class WrongPassword(Exception):
    """No user of this name has this password."""


class SignIn:
    """Signs people in. Blocks for the database and for the hash: for threads that may wait."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        times: SessionTimes,
        secret: bytes,
        clock: Callable[[], float],
    ) -> None:
        """`secret` keys the hashes of names that were tried. `clock` gives s since the epoch."""
        self._database = database
        self.passwords = passwords
        self.times = times
        self._secret = secret
        self._clock = clock

    def by_password(self, name: str, password: str, place: SignInPlace) -> NewSession:
        """Sign in. Raises TooManyTries, WrongPassword, and Unavailable while it cannot be found out."""
        name = users.folded(name[:LONGEST_NAME])
        user, buckets = self._database.execute(self._begin, name, place)
        encoded = user.password if user is not None and user.disabled_at is None and not user.issuer else ""
        if not self.passwords.verify(encoded, password).result() or user is None:
            self._database.execute(self._refused, user, place)
            raise WrongPassword
        renewed = self.passwords.hash(password).result() if self.passwords.outdated(encoded) else ""
        session = self._database.execute(self._let_in, user, buckets, place, renewed)
        if session is None:
            raise WrongPassword
        return session

    def confirm(self, user_row: int, password: str, place: SignInPlace) -> None:
        """Check the password of a user who is signed in, before a change that needs it. Raises as `by_password`."""
        name = self._database.read(users.found, user_row).result().name
        user, buckets = self._database.execute(self._begin, name, place)
        if user is None or not self.passwords.verify(user.password, password).result():
            self._database.execute(self._refused, user, place)
            raise WrongPassword
        self._database.execute(tries.succeeded, buckets, self._clock())

    def _begin(self, connection: Connection, name: str, place: SignInPlace) -> tuple[StoredUser | None, Buckets]:
        """Count the try. Raises TooManyTries."""
        at = self._clock()
        user = users.named(connection, name)
        known = user is not None and place.address in session_rows.addresses(connection, user.row, at - KNOWN)
        buckets = tries.sources(self._secret, name, place.address, known)
        if wait := tries.begin(connection, buckets, at):
            raise TooManyTries(wait)
        return user, buckets

    def _refused(self, connection: Connection, user: StoredUser | None, place: SignInPlace) -> None:
        if user is not None:
            deed = Deed(STRANGER, self._clock(), place.address)
            deed.note(connection, "user.sign_in_refused", user.row, {"name": user.name})

    def _let_in(
        self, connection: Connection, user: StoredUser, buckets: Buckets, place: SignInPlace, renewed: str
    ) -> NewSession | None:
        """Begin the session, unless the user was changed while the password was checked.

        `renewed`: the hash of the same password at today's cost, empty if that of before is good enough.
        """
        at = self._clock()
        now = user_rows.by_row(connection, user.row, lock=True)
        if now is None or now.disabled_at is not None or now.password != user.password:
            return None
        tries.succeeded(connection, buckets, at)
        if renewed:
            user_rows.change(connection, user.row, {"password": renewed})
        return sessions.begin(connection, now, "password", place, self.times, at)
