"""Lets a person in whom the issuer of OpenID Connect has named: the user is added at the first time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from broker.accounts import sessions, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.accounts.sessions import NewSession, SessionTimes, SignInPlace
from broker.accounts.users import NewUser, UserNameTaken
from broker.errors import BadContent
from broker.settings.web import OidcSection
from broker.store.accounts import users as user_rows

LONGEST = 255  # characters of a subject (OpenID Connect Core 1.0 §2)
ACTOR = "oidc"


class OidcRefused(Exception):
    """The issuer knows the person, and this broker does not let it in. `reason`: role, disabled, name or subject."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def role_of(claims: Mapping[str, Any], settings: OidcSection) -> UserRole | None:
    """The role of a person: the first one of the settings of which the claim has a value. None for no role."""
    value: Any = claims
    for part in settings.role_claim.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    given = {value} if isinstance(value, str) else set()
    if isinstance(value, list):
        given = {one for one in value if isinstance(one, str)}
    roles = settings.roles.model_dump()
    return next((UserRole(role) for role, values in roles.items() if given.intersection(values)), None)


def let_in(
    connection: Connection,
    claims: Mapping[str, Any],
    settings: OidcSection,
    place: SignInPlace,
    times: SessionTimes,
    at: float,
) -> NewSession:
    """Begin a session. The user is known by issuer and subject, never by a name. Raises OidcRefused."""
    subject, role = claims.get("sub"), role_of(claims, settings)
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST or "\0" in subject:
        raise OidcRefused("subject")
    if role is None:
        raise OidcRefused("role")
    user = user_rows.by_subject(connection, settings.issuer, subject)
    deed = Deed(ACTOR, at, place.address)
    if user is None:
        named = claims.get(settings.name_claim)
        new = NewUser(
            name=named if isinstance(named, str) else "",
            role=role,
            full_name=_full_name(claims),
            issuer=settings.issuer,
            subject=subject,
        )
        try:
            row = users.add(connection, new, deed)
        except (BadContent, UserNameTaken):
            raise OidcRefused("name") from None
    else:
        if user.disabled_at is not None:
            raise OidcRefused("disabled")
        row = user.row
        if user.role != role:
            users.follow_role(connection, row, role, deed)
    return sessions.begin(connection, users.found(connection, row), "oidc", place, times, at)


def _full_name(claims: Mapping[str, Any]) -> str:
    name = claims.get("name")
    return name if isinstance(name, str) and users.is_full_name(name) else ""
