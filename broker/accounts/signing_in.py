"""Lets a person in by name and password, and where there is one by a second factor.

A wrong password and an unknown name are answered alike, after like work. Who has a second factor, or must set one up,
gets a flow in place of a session; `second_step.py` ends it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from broker import telemetry
from broker.accounts import sessions, tries, users
from broker.accounts.deed import Deed
from broker.accounts.passwords import Passwords
from broker.accounts.second_factor.factors import SecondFactors
from broker.accounts.second_factor.second_flow import NewFlow, begun
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
        factors: SecondFactors,
        secret: bytes,
        clock: Callable[[], float],
    ) -> None:
        """`secret` keys the hashes of names that were tried. `clock` gives s since the epoch."""
        self.database = database
        self.passwords = passwords
        self.times = times
        self.factors = factors
        self.clock = clock
        self._secret = secret

    def by_password(self, name: str, password: str, place: SignInPlace, next_path: str = "") -> NewSession | NewFlow:
        """Sign in, or go on to the second factor. `next_path`: the page that was asked for.

        Raises TooManyTries, WrongPassword, and Unavailable while it cannot be found out.
        """
        name = users.folded(name[:LONGEST_NAME])
        user, buckets = self.database.execute(self.begin_try, name, place)
        encoded = user.password if user is not None and user.disabled_at is None and not user.issuer else ""
        if not self.passwords.verify(encoded, password).result() or user is None:
            self.database.execute(self.note_refusal, user, place)
            raise WrongPassword
        renewed = self.passwords.hash(password).result() if self.passwords.outdated(encoded) else ""
        entry = self.database.execute(self._let_in, user, buckets, place, renewed, next_path)
        if entry is None:
            raise WrongPassword
        return entry

    def by_link(self, user: StoredUser, place: SignInPlace) -> NewSession | NewFlow:
        """Sign in who has just set a password by a link, or go on to the second factor."""
        return self.database.execute(self._enter, user, "link", place, "", self.clock())

    def confirm(self, user_row: int, password: str, place: SignInPlace) -> None:
        """Check the password of a user who is signed in, before a change that needs it. Raises as `by_password`."""
        name = self.database.read(users.found, user_row).result().name
        user, buckets = self.database.execute(self.begin_try, name, place)
        if user is None or not self.passwords.verify(user.password, password).result():
            self.database.execute(self.note_refusal, user, place)
            raise WrongPassword
        self.database.execute(tries.succeeded, buckets, self.clock())

    def begin_try(self, connection: Connection, name: str, place: SignInPlace) -> tuple[StoredUser | None, Buckets]:
        """Count a try. Raises TooManyTries."""
        at = self.clock()
        user = users.named(connection, name)
        known = user is not None and place.address in session_rows.addresses(connection, user.row, at - KNOWN)
        buckets = tries.sources(self._secret, name, place.address, known)
        if wait := tries.begin(connection, buckets, at):
            raise TooManyTries(wait)
        return user, buckets

    def note_refusal(
        self, connection: Connection, user: StoredUser | None, place: SignInPlace, wrong: str = "password"
    ) -> None:
        """Put a wrong try for somebody who is known into the audit trail, else into the log, without what was typed.

        `wrong`: `password` or `code`.
        """
        if user is None:
            telemetry.logger().warning("user.sign_in_refused", peer=place.address)
        else:
            deed = Deed(STRANGER, self.clock(), place.address)
            deed.note(connection, "user.sign_in_refused", user.row, {"name": user.name, "wrong": wrong})

    def _let_in(
        self,
        connection: Connection,
        user: StoredUser,
        buckets: Buckets,
        place: SignInPlace,
        renewed: str,
        next_path: str,
    ) -> NewSession | NewFlow | None:
        """Go on, unless the user was changed while the password was checked.

        `renewed`: the hash of the same password at today's cost, empty if that of before is good enough. The tries
        count until the second factor is proved too: else who knows the password has tries without end for the code.
        """
        at = self.clock()
        now = user_rows.by_row(connection, user.row, lock=True)
        if now is None or now.disabled_at is not None or now.password != user.password:
            return None
        if renewed:
            user_rows.change(connection, user.row, {"password": renewed})
        entry = self._enter(connection, now, "password", place, next_path, at)
        if isinstance(entry, NewSession):
            tries.succeeded(connection, buckets, at)
        return entry

    def _enter(
        self, connection: Connection, user: StoredUser, method: str, place: SignInPlace, next_path: str, at: float
    ) -> NewSession | NewFlow:
        """A session, or a flow for who has a second factor or must set one up."""
        flow = begun(connection, self.factors, user, method, next_path, at)
        return flow or sessions.begin(connection, user, method, place, self.times, at)
