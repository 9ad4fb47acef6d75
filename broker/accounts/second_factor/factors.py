"""Sets up, checks and takes away second factors. Each change is an audit row and ends the other sessions of the user.

A new secret waits until a code of it was typed: nobody is shut out by an app that has not taken it. The one of before
counts until then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker import telemetry
from broker.accounts import users
from broker.accounts.deed import Deed
from broker.accounts.second_factor import recovery, totp
from broker.accounts.second_factor.seal import Seal, SealBroken
from broker.store.accounts import second_factors as store
from broker.store.accounts import sessions
from broker.store.accounts.users import StoredUser

FRESH_LIFE = 900.0  # seconds in which a new secret must be confirmed
APP, RECOVERY = "code", "recovery-code"  # by what a second factor was proved


class WrongCode(Exception):
    """The code is wrong, too old, or was used before."""


class FactorRequired(Exception):
    """The role of the user asks for a second factor: it can be replaced, not taken away."""


@dataclass(frozen=True, slots=True)
class FactorState:
    """Since when a user has a second factor (s since the epoch, None for none), how many recovery codes are left, and
    whether the role asks for one."""

    since: float | None
    codes_left: int
    required: bool


@dataclass(frozen=True, slots=True)
class FreshSecret:
    """A secret that waits for its first code: as people type it, and the address in its QR code."""

    text: str
    address: str


class SecondFactors:
    """Stories about second factors, each in the transaction of its caller."""

    def __init__(self, seal: Seal, roles: Collection[str], place: str) -> None:
        """`roles` that must have one. `place`: as apps name this broker."""
        self._seal, self._roles, self._place = seal, frozenset(roles), place

    def state(self, connection: Connection, user: StoredUser) -> FactorState:
        """What a user has."""
        factor = store.by_user(connection, user.row)
        since = factor.since if factor is not None else None
        required = not user.issuer and user.role in self._roles
        return FactorState(since, store.codes_left(connection, user.row) if since is not None else 0, required)

    def begin(self, connection: Connection, user: StoredUser, at: float) -> None:
        """Make a secret that waits for its first code. Raises Unavailable."""
        store.put_fresh(connection, user.row, self._seal.close(totp.new_secret(), _about(user)), at)

    def fresh(self, connection: Connection, user: StoredUser, at: float) -> FreshSecret | None:
        """The secret that waits for its first code; None if there is none, or if it has waited too long."""
        secret = self._fresh(connection, user, at)
        if secret is None:
            return None
        return FreshSecret(totp.spelled(secret), totp.address(secret, user.name, self._place))

    def confirm(self, connection: Connection, user: StoredUser, code: str, deed: Deed, session: int = 0) -> list[str]:
        """Put the waiting secret in force by its first code; the recovery codes. All sessions but one (row) end.

        Raises WrongCode.
        """
        store.lock(connection, user.row)
        secret = self._fresh(connection, user, deed.at)
        step = totp.step_of(secret, code, deed.at, 0) if secret is not None else None
        if step is None:
            raise WrongCode
        store.put_in_force(connection, user.row, deed.at, step)
        sessions.end_all(connection, user.row, deed.at, session)
        deed.note(connection, "user.second_factor_set", user.row, {"name": user.name})
        return self._codes(connection, user)

    def new_codes(self, connection: Connection, user: StoredUser, deed: Deed) -> list[str]:
        """Recovery codes in place of those of before; none for who has no second factor."""
        factor = store.by_user(connection, user.row)
        if factor is None or factor.since is None:
            return []
        deed.note(connection, "user.recovery_codes_made", user.row, {"name": user.name})
        return self._codes(connection, user)

    def proved(self, connection: Connection, user: StoredUser, typed: str, deed: Deed) -> str:
        """By what a user has proved the second factor: APP or RECOVERY; empty for a wrong code.

        The code is used up.
        """
        factor = store.lock(connection, user.row)
        if factor is None or factor.since is None:
            return ""
        code = "".join(typed[:100].split())
        if totp.looks_like_one(code):
            secret = self._opened(factor.secret, user)
            step = totp.step_of(secret, code, deed.at, factor.last_step) if secret is not None else None
            if step is not None:
                store.use_step(connection, user.row, step)
            return APP if step is not None else ""
        digest = recovery.digest_of(typed)
        if digest is None or not store.use_code(connection, user.row, digest, deed.at):
            return ""
        left = store.codes_left(connection, user.row)
        deed.note(connection, "user.recovery_code_used", user.row, {"name": user.name, "left": left})
        return RECOVERY

    def remove(self, connection: Connection, user: StoredUser, deed: Deed, session: int) -> bool:
        """Take away the own one; False if there is none. All sessions but one (row) end. Raises FactorRequired."""
        if user.role in self._roles:
            raise FactorRequired(user.role)
        return _taken(connection, user, deed, "user.second_factor_removed", session)

    def _codes(self, connection: Connection, user: StoredUser) -> list[str]:
        codes = recovery.new_codes()
        digests = [digest for code in codes if (digest := recovery.digest_of(code)) is not None]
        store.put_codes(connection, user.row, digests)
        return codes

    def _fresh(self, connection: Connection, user: StoredUser, at: float) -> bytes | None:
        factor = store.by_user(connection, user.row)
        if factor is None or factor.fresh is None or not 0 <= at - factor.fresh_at <= FRESH_LIFE:
            return None
        return self._opened(factor.fresh, user)

    def _opened(self, sealed: bytes | None, user: StoredUser) -> bytes | None:
        """A secret; None for one that this data folder cannot open: the recovery codes still count."""
        if sealed is None:
            return None
        try:
            return self._seal.open(sealed, _about(user))
        except SealBroken:
            telemetry.logger().error("user.second_factor_unreadable")
            return None


def reset(connection: Connection, row: int, deed: Deed) -> bool:
    """Take away the second factor of a user (row) who has lost it; False if there is none. All sessions end.

    Raises UserUnknown.
    """
    user = users.found(connection, row)
    return _taken(connection, user, deed, "user.second_factor_reset", 0)


def having(connection: Connection) -> Sequence[int]:
    """The users (rows) who have a second factor."""
    return store.having(connection)


def _taken(connection: Connection, user: StoredUser, deed: Deed, action: str, session: int) -> bool:
    factor = store.lock(connection, user.row)
    if factor is None or not store.drop(connection, user.row):
        return False
    if factor.since is None:  # it had only begun
        return False
    sessions.end_all(connection, user.row, deed.at, session)
    deed.note(connection, action, user.row, {"name": user.name})
    return True


def _about(user: StoredUser) -> str:
    return f"second factor of user {user.row}"
