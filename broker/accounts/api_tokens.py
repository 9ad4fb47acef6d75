"""Makes, checks and revokes API tokens: by one a program that calls REST proves who it is.

A token is 256 random bits and is shown once. Only its SHA-256 is stored: nothing can be guessed from that, as it could
be from the hash of a password (OWASP ASVS 5.0 §6.5). Each has a role and an end.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from broker.accounts.roles import RIGHTS, Principal, UserRole
from broker.errors import BadContent
from broker.store.accounts import api_tokens as store
from broker.store.accounts.api_tokens import StoredToken
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database

PREFIX = "wlb_"  # by which programs that look for leaked secrets know one
LONGEST = 5 * 366 * 86_400.0  # seconds; one for ever would be forgotten
SEEN = 60.0  # seconds between two notes of the last use
_FORM = re.compile(rb"wlb_[A-Za-z0-9_-]{43}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")


class NameTaken(Exception):
    """A token of this name is in use."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was made just now: its row, and its text, which nobody can see again."""

    row: int
    text: str


def looks_like_one(credentials: bytes) -> bool:
    """Whether it is worth a look into the database."""
    return _FORM.match(credentials) is not None


def make(
    connection: Connection, name: str, role: UserRole, expires_at: float, actor: str, at: float, address: str = ""
) -> NewToken:
    """A new token; `at` and `expires_at` in s since the epoch.

    Raises BadContent for a name or an end that it cannot have, NameTaken.
    """
    if not _NAME.match(name):
        raise BadContent("name: 1 to 40 letters, digits, `.`, `_`, `-`, the first a letter or digit")
    if not at < expires_at <= at + LONGEST:
        raise BadContent("expires_at: in the future, in at most five years")
    text = PREFIX + secrets.token_urlsafe(32)
    store.close_expired(connection, name, at)
    try:
        row = store.add(connection, name, role, _digest(text.encode()), at, actor, expires_at)
    except IntegrityError:
        raise NameTaken(name) from None
    detail = {"name": name, "role": role, "until": expires_at}
    add_audit(connection, at, actor, "token.made", "token", row, detail, address=address)
    return NewToken(row, text)


def revoke(connection: Connection, row: int, actor: str, reason: str, at: float, address: str = "") -> bool:
    """End a token (row) now; False if there is none that is in force."""
    done = store.revoke(connection, row, at)
    if done:
        detail = {"reason": reason} if reason else {}
        add_audit(connection, at, actor, "token.revoked", "token", row, detail, address=address)
    return done


class TokenCheck:
    """Tells whose token it is. A revoked one is refused at once."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """`clock` gives s since the epoch."""
        self._database = database
        self._clock = clock

    def caller(self, credentials: bytes) -> Future[Principal | None]:
        """Who calls with a token; None for one that is not in force. The future raises StoreUnavailable."""
        return self._database.read(self._found, _digest(credentials))

    def _found(self, connection: Connection, digest: bytes) -> Principal | None:
        now = self._clock()
        token = store.by_digest(connection, digest)
        if token is None or not token.in_force(now):
            return None
        if token.last_used_at is None or now - token.last_used_at > SEEN:
            self._database.submit(store.note_use, token.row, now)  # nobody waits for it
        return Principal(f"token:{token.name}", RIGHTS[UserRole(token.role)])


def listed(connection: Connection) -> Sequence[StoredToken]:
    """All tokens, also those that have ended, the latest first."""
    return store.find(connection)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
