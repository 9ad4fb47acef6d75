"""Adds and changes users. Each change is an audit row, and ends the sessions that it must end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.errors import BadContent
from broker.model.order import Document
from broker.store.accounts import links, sessions
from broker.store.accounts import users as store
from broker.store.accounts.users import StoredUser

LANGUAGES = ("", "en", "fr")  # empty: as the browser asks
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_FULL_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]{0,100}\Z")


class UserNameTaken(Exception):
    """There is a user of this name, perhaps a disabled one."""


class UserUnknown(Exception):
    """There is no user of this number."""


class LastAdmin(Exception):
    """This is the only admin who may sign in: somebody must be able to add others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to be added. Where `issuer` is empty it is a local one, who gets a password by a link."""

    name: str
    role: UserRole
    full_name: str = ""
    language: str = ""
    issuer: str = ""
    subject: str = ""


def folded(name: str) -> str:
    """A name as it is stored and compared."""
    return name.strip().lower()


def add(connection: Connection, new: NewUser, deed: Deed) -> int:
    """Add a user, who has no password yet; the row. Raises BadContent for a name it cannot have, UserNameTaken."""
    name = folded(new.name)
    if not _NAME.match(name):
        raise BadContent("name: 1 to 64 letters a to z, digits, `.`, `_`, `@`, `-`, the first a letter or digit")
    _check(new.full_name, new.language)
    values = {"name": name, "full_name": new.full_name, "role": new.role.value, "language": new.language}
    values |= {"issuer": new.issuer, "subject": new.subject}
    try:
        row = store.add(connection, {**values, "created_at": deed.at, "created_by": deed.actor})
    except IntegrityError:
        raise UserNameTaken(name) from None
    deed.note(connection, "user.added", row, {"name": name, "role": new.role.value})
    return row


def change(connection: Connection, row: int, wanted: Mapping[str, str], deed: Deed) -> None:
    """Change `role`, `full_name` or `language`. Another role ends the sessions of the user.

    Raises BadContent, LastAdmin, UserUnknown.
    """
    _check(wanted.get("full_name", ""), wanted.get("language", ""))
    user = _locked(connection, row)
    before = {"role": user.role, "full_name": user.full_name, "language": user.language}
    values = {key: value for key, value in wanted.items() if value != before[key]}
    if not values:
        return
    if "role" in values:
        UserRole(values["role"])
        _keep_an_admin(connection, user)
        sessions.end_all(connection, row, deed.at)
    store.change(connection, row, values)
    # the full name is not repeated: what the audit trail says of a person is its sign-in name
    detail: Document = {"name": user.name, "changed": sorted(values)}
    detail |= {"role": values["role"], "before": user.role} if "role" in values else {}
    deed.note(connection, "user.changed", row, detail)


def follow_role(connection: Connection, row: int, role: UserRole, deed: Deed) -> None:
    """Give a user the role that the issuer names, also the last admin: the issuer decides. The sessions end."""
    user = _locked(connection, row)
    store.change(connection, row, {"role": role.value})
    sessions.end_all(connection, row, deed.at)
    detail: Document = {"name": user.name, "changed": ["role"], "role": role.value, "before": user.role}
    deed.note(connection, "user.changed", row, detail)


def disable(connection: Connection, row: int, deed: Deed) -> bool:
    """Let a user sign in no more; sessions and links end. False if that is so already.

    Raises LastAdmin, UserUnknown.
    """
    user = _locked(connection, row)
    if user.disabled_at is not None:
        return False
    _keep_an_admin(connection, user)
    store.change(connection, row, {"disabled_at": deed.at})
    sessions.end_all(connection, row, deed.at)
    links.end(connection, "invitation", row, deed.at)
    deed.note(connection, "user.disabled", row, {"name": user.name})
    return True


def enable(connection: Connection, row: int, deed: Deed) -> bool:
    """Let a user sign in again; False if he may already. Raises UserUnknown."""
    user = _locked(connection, row)
    if user.disabled_at is None:
        return False
    store.change(connection, row, {"disabled_at": None})
    deed.note(connection, "user.enabled", row, {"name": user.name})
    return True


def set_password(connection: Connection, row: int, encoded: str, deed: Deed) -> None:
    """Give a user a password, by its hash. All sessions and links of the user end. Raises UserUnknown."""
    user = _locked(connection, row)
    store.change(connection, row, {"password": encoded, "password_at": deed.at})
    sessions.end_all(connection, row, deed.at)
    links.end(connection, "invitation", row, deed.at)
    deed.note(connection, "user.password_set", row, {"name": user.name})


def listed(connection: Connection) -> Sequence[StoredUser]:
    """All users by name, also disabled ones."""
    return store.find(connection)


def named(connection: Connection, name: str) -> StoredUser | None:
    """A user by name; None also for what no name can be."""
    name = folded(name)
    return store.by_name(connection, name) if _NAME.match(name) else None


def found(connection: Connection, row: int) -> StoredUser:
    """A user by row. Raises UserUnknown."""
    user = store.by_row(connection, row)
    if user is None:
        raise UserUnknown(str(row))
    return user


def _locked(connection: Connection, row: int) -> StoredUser:
    user = store.by_row(connection, row, lock=True)
    if user is None:
        raise UserUnknown(str(row))
    return user


def _keep_an_admin(connection: Connection, user: StoredUser) -> None:
    if user.role == UserRole.ADMIN and store.able(connection, UserRole.ADMIN) == {user.row}:
        raise LastAdmin(user.name)


def is_full_name(text: str) -> bool:
    """Whether a text can be the full name of a user."""
    return _FULL_NAME.match(text) is not None


def _check(full_name: str, language: str) -> None:
    if not is_full_name(full_name):
        raise BadContent("full_name: at most 100 characters, and none that steers a terminal")
    if language not in LANGUAGES:
        raise BadContent(f"language: one of {', '.join(filter(None, LANGUAGES))}, or empty")
