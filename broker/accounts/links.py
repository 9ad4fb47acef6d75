"""Makes links that are used once: to make the first admin, and for a user to set a password.

Only the hash of a link is stored. To look at one does not use it up: programs that read mail do so.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from broker.accounts import users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.accounts.secret_text import digest_of, new_secret
from broker.accounts.users import NewUser
from broker.store.accounts import links as store
from broker.store.accounts import users as user_rows
from broker.store.accounts.users import StoredUser

FIRST, INVITATION = "first-admin", "invitation"
LIFE = {FIRST: 86_400.0, INVITATION: 3 * 86_400.0}  # seconds
KEPT = 90 * 86_400.0  # seconds that a link stays after its time was over
AT_START = "first-admin link"  # actor of what nobody does who is known


class NoPasswordHere(Exception):
    """The user is disabled, or signs in by OpenID Connect."""


class LinkUnknown(Exception):
    """The link was used, is too old, was replaced by a newer one, or never was one."""


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was made just now: the end of its address, which is stored nowhere, and until when it works."""

    path: str
    expires_at: float


def first_admin(connection: Connection, at: float) -> NewLink | None:
    """A link to make the first admin, which replaces the one of before; None if there is an admin."""
    if user_rows.any_enabled(connection, UserRole.ADMIN):
        return None
    return _made(connection, FIRST, None, AT_START, at)


def invite(connection: Connection, row: int, deed: Deed) -> NewLink:
    """A link by which a user sets a password, also in place of a forgotten one; it replaces the link of before.

    Raises UserUnknown, NoPasswordHere.
    """
    user = users.found(connection, row)
    if user.disabled_at is not None or user.issuer:
        raise NoPasswordHere(user.name)
    link = _made(connection, INVITATION, row, deed.actor, deed.at)
    deed.note(connection, "user.invited", row, {"name": user.name, "until": link.expires_at})
    return link


def open_first_admin(connection: Connection, text: str, at: float) -> bool:
    """Whether a link makes the first admin, and there is none yet."""
    link = store.by_digest(connection, digest_of(text), at)
    return link is not None and link.kind == FIRST and not user_rows.any_enabled(connection, UserRole.ADMIN)


def invited(connection: Connection, text: str, at: float) -> StoredUser | None:
    """The user who may set a password by a link; None for a link that does not work."""
    link = store.by_digest(connection, digest_of(text), at)
    if link is None or link.kind != INVITATION or link.user is None:
        return None
    user = user_rows.by_row(connection, link.user)
    return None if user is None or user.disabled_at is not None else user


def make_first_admin(connection: Connection, text: str, name: str, encoded: str, at: float, address: str) -> StoredUser:
    """Use a link: add the first admin with a password, by its hash.

    Raises LinkUnknown, BadContent for a name, UserNameTaken.
    """
    link = store.by_digest(connection, digest_of(text), at)
    if link is None or link.kind != FIRST or not store.use(connection, link.row, at):
        raise LinkUnknown
    if user_rows.any_enabled(connection, UserRole.ADMIN):
        raise LinkUnknown
    deed = Deed(AT_START, at, address)
    row = users.add(connection, NewUser(name=name, role=UserRole.ADMIN), deed)
    users.set_password(connection, row, encoded, deed)
    return users.found(connection, row)


def accept(connection: Connection, text: str, encoded: str, at: float, address: str) -> StoredUser:
    """Use a link: give its user a password, by its hash. Raises LinkUnknown."""
    user = invited(connection, text, at)
    link = store.by_digest(connection, digest_of(text), at)
    if user is None or link is None or not store.use(connection, link.row, at):
        raise LinkUnknown
    users.set_password(connection, user.row, encoded, Deed(f"user:{user.name}", at, address))
    return users.found(connection, user.row)


def _made(connection: Connection, kind: str, user: int | None, actor: str, at: float) -> NewLink:
    store.forget(connection, at - KEPT)
    store.end(connection, kind, user, at)
    text = new_secret()
    until = at + LIFE[kind]
    values = {"kind": kind, "user": user, "digest": digest_of(text), "created_at": at, "created_by": actor}
    store.add(connection, {**values, "expires_at": until})
    return NewLink(f"/first/{text}" if kind == FIRST else f"/invite/{text}", until)
