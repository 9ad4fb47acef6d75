"""Serves `/api/v1/users`: users, their roles, and the links by which they set a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from broker.accounts import links, sessions, users
from broker.accounts.deed import Deed
from broker.accounts.links import NoPasswordHere
from broker.accounts.roles import Right, UserRole
from broker.accounts.second_factor import factors
from broker.accounts.users import LastAdmin, NewUser, UserNameTaken, UserUnknown
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext, deed_of
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import admin_router
from broker.errors import BadContent
from broker.store.accounts.users import StoredUser

SpokenLanguage = Literal["", "en", "fr"]
FullName = Annotated[str, Field(max_length=100, description="As people say it.")]
Reason = Annotated[str, Field(max_length=500, description="It stands in the audit trail.")]


class UserBody(BaseModel):
    """A user to be added."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=64, description="By which the user signs in; lower case.")]
    role: UserRole
    full_name: FullName = ""
    language: SpokenLanguage = ""


class UserChangeBody(BaseModel):
    """What is to change of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    role: UserRole | None = None
    full_name: FullName | None = None
    language: SpokenLanguage | None = None
    reason: Reason = ""


class UserReasonBody(BaseModel):
    """Why something is done to a user."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Reason = ""


class UserView(BaseModel):
    """A user; times in s since the epoch. `invited`: there is no password yet."""

    id: int
    name: str
    full_name: str
    role: str
    language: str
    state: Literal["active", "invited", "disabled"]
    kind: Literal["local", "oidc"]
    created_at: float
    created_by: str
    last_sign_in_at: float | None
    second_factor: bool


class UserLinkView(BaseModel):
    """An address that works once, to set a password. Nobody can see it again. `expires_at` in s since the epoch."""

    url: str
    expires_at: float


class NewUserView(BaseModel):
    """A user who was added just now, and the link to hand over."""

    user: UserView
    link: UserLinkView


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/users, for who may make accounts."""
    routes = admin_router("/api/v1/users", Right.ACCOUNTS, tags=["users"])
    database = context.database

    @routes.get("")
    def all_users() -> list[UserView]:
        """List the users by name, also those who are disabled."""
        secured = set(database.read(factors.having).result())
        return [user_view(user, user.row in secured) for user in database.read(users.listed).result()]

    @routes.post("", status_code=201, responses={409: {"description": "There is a user of this name"}})
    def add(body: UserBody, request: Request) -> NewUserView:
        """Add a user. The link in the answer is to be handed over; it stands nowhere else."""
        deed = deed_of(request)
        with refusals():
            row = database.execute(users.add, NewUser(**body.model_dump()), deed)
            return NewUserView(user=_view(context, row), link=_link(context, row, deed))

    @routes.get("/{user}")
    def one(user: RowNumber) -> UserView:
        """Show a user."""
        with refusals():
            return _view(context, user)

    @routes.patch("/{user}", responses={409: {"description": "The last admin stays one"}})
    def change(user: RowNumber, body: UserChangeBody, request: Request) -> UserView:
        """Change a user. Another role ends the sessions of the user."""
        wanted = {key: str(value) for key, value in body.model_dump(exclude={"reason"}).items() if value is not None}
        with refusals():
            database.execute(users.change, user, wanted, deed_of(request, body.reason))
            return _view(context, user)

    _coming_in(routes, context)
    return routes


def _coming_in(routes: APIRouter, context: AdminContext) -> None:
    """Routes that say whether a user may come in."""
    database = context.database

    @routes.post("/{user}/disable", responses={409: {"description": "The last admin stays"}})
    def disable(user: RowNumber, request: Request, body: UserReasonBody | None = None) -> UserView:
        """Let a user sign in no more, and end the sessions of the user."""
        with refusals():
            database.execute(users.disable, user, deed_of(request, body.reason if body else ""))
            return _view(context, user)

    @routes.post("/{user}/enable")
    def enable(user: RowNumber, request: Request, body: UserReasonBody | None = None) -> UserView:
        """Let a user sign in again."""
        with refusals():
            database.execute(users.enable, user, deed_of(request, body.reason if body else ""))
            return _view(context, user)

    @routes.post("/{user}/link", status_code=201, responses={409: {"description": "The user has no password here"}})
    def link(user: RowNumber, request: Request) -> UserLinkView:
        """Make a link by which a user sets a password, also a forgotten one. It replaces the link of before."""
        with refusals():
            return _link(context, user, deed_of(request))

    @routes.post("/{user}/reset-second-factor", responses={409: {"description": "The user has none"}})
    def reset(user: RowNumber, request: Request, body: UserReasonBody | None = None) -> UserView:
        """Take away the second factor of a user who has lost it, and end the sessions of the user."""
        with refusals():
            if not database.execute(factors.reset, user, deed_of(request, body.reason if body else "")):
                raise Problem(409, "The user has no second factor")
            return _view(context, user)

    @routes.post("/{user}/sign-out", status_code=204)
    def sign_out(user: RowNumber, request: Request) -> None:
        """End all sessions of a user."""
        with refusals():
            _view(context, user)
            database.execute(sessions.end_all, user, deed_of(request))


def _view(context: AdminContext, row: int) -> UserView:
    """A user by row. Raises UserUnknown."""
    return context.database.read(_view_in, row).result()


def _view_in(connection: Connection, row: int) -> UserView:
    return user_view(users.found(connection, row), row in factors.having(connection))


def _link(context: AdminContext, row: int, deed: Deed) -> UserLinkView:
    """A new link for a user. Raises UserUnknown."""
    link = context.database.execute(links.invite, row, deed)
    return UserLinkView(url=context.web_address() + link.path, expires_at=link.expires_at)


@contextmanager
def refusals() -> Iterator[None]:
    """Answer what the stories of users refuse as problems."""
    try:
        yield
    except UserNameTaken:
        raise Problem(409, "There is a user of this name, perhaps a disabled one") from None
    except LastAdmin:
        raise Problem(409, "This is the only admin who can sign in: make another one first") from None
    except UserUnknown:
        raise Problem(404, "There is no user of this number") from None
    except NoPasswordHere:
        raise Problem(409, "A disabled user cannot set a password, nor one of OpenID Connect") from None
    except BadContent as error:
        place, _, text = str(error).partition(": ")
        raise Problem(422, "The user cannot be so", [FieldError(place, text)]) from None


def user_view(user: StoredUser, second_factor: bool) -> UserView:
    """A user without what is secret. `second_factor`: whether there is one."""
    invited = not user.password and not user.issuer
    return UserView(
        id=user.row,
        name=user.name,
        full_name=user.full_name,
        role=user.role,
        language=user.language,
        state="disabled" if user.disabled_at is not None else "invited" if invited else "active",
        kind="oidc" if user.issuer else "local",
        created_at=user.created_at,
        created_by=user.created_by,
        last_sign_in_at=user.last_sign_in_at,
        second_factor=second_factor,
    )
