"""Users for tests, with passwords whose hashes cost little."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from broker.accounts import sessions, users
from broker.accounts.deed import Deed
from broker.accounts.passwords import Passwords
from broker.accounts.roles import UserRole
from broker.accounts.second_factor.factors import SecondFactors
from broker.accounts.second_factor.seal import Seal
from broker.accounts.sessions import NewSession, SessionTimes, SignInPlace
from broker.accounts.users import NewUser
from broker.store.db.database import Database

PASSWORD = "green tea and rain 7"
TIMES = SessionTimes(idle=1800.0, lifetime=43_200.0)
HOME = SignInPlace("192.0.2.7", "Firefox")


def cheap() -> Passwords:
    """Passwords whose hashes cost next to nothing. Close it."""
    return Passwords(memory=8, passes=1, lanes=1)


def factors(roles: Sequence[str] = (), key: bytes = b"k" * 32) -> SecondFactors:
    """Second factors that are sealed by a key. `roles` must have one."""
    return SecondFactors(Seal(lambda: key), roles, "Broker")


def added(database: Database, name: str, role: UserRole, at: float, password: str = PASSWORD) -> int:
    """A user with a password; the row."""
    hashing = cheap()
    encoded = hashing.hash(password).result(20)
    hashing.close()

    def add(connection: Connection) -> int:
        row = users.add(connection, NewUser(name=name, role=role), Deed("cli:test", at))
        users.set_password(connection, row, encoded, Deed("cli:test", at))
        return row

    return database.submit(add).result(20)


def signed_in(database: Database, row: int, at: float, place: SignInPlace = HOME) -> NewSession:
    """A session of a user (row)."""

    def begin(connection: Connection) -> NewSession:
        return sessions.begin(connection, users.found(connection, row), "password", place, TIMES, at)

    return database.submit(begin).result(20)
