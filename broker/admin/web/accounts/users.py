"""The pages of users: who may sign in, with which role; the links by which they set a password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from broker.accounts import links, sessions, users
from broker.accounts.links import NewLink, NoPasswordHere
from broker.accounts.roles import Right, UserRole
from broker.accounts.second_factor import factors
from broker.accounts.second_factor.factors import FactorState
from broker.accounts.users import LastAdmin, NewUser, UserNameTaken, UserUnknown
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext, deed_of
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.accounts.role_words import LANGUAGE_NAMES, ROLE_NAMES, ROLES, STATES
from broker.admin.web.accounts.sign_in import BAD_NAME, TAKEN
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.listing import Asked, Column, Filter, Listing, Table
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.errors import BadContent
from broker.store.accounts.sessions import StoredSession
from broker.store.accounts.users import StoredUser

LINK = PageLink(title=Sentence("Users"), path="/users", icon="user", right=Right.ACCOUNTS)
LAST = Sentence("This is the only administrator who can sign in. Make another one first.")
STATE_WORDS = tuple((state, STATES[state][1]) for state in ("active", "invited", "disabled"))
TABLE = Table(
    path="/users",
    region="people",
    title=Sentence("Users"),
    columns=(
        Column(name="name", title=Sentence("Name"), sortable=True),
        Column(name="full_name", title=Sentence("Full name"), sortable=True),
        Column(name="role", title=Sentence("Role"), sortable=True),
        Column(name="state", title=Sentence("State")),
        Column(name="factor", title=Sentence("Second factor")),
        Column(name="seen", title=Sentence("Last sign-in")),
    ),
    filters=(
        Filter(name="q", title=Sentence("Search"), kind="search", hint=Sentence("name")),
        Filter(
            name="role",
            title=Sentence("Role"),
            kind="choice",
            choices=tuple((role.value, word) for role, word in ROLE_NAMES.items()),
        ),
        Filter(name="state", title=Sentence("State"), kind="choice", choices=STATE_WORDS),
    ),
    size=200,
)


@dataclass(frozen=True, slots=True)
class UsersView:
    """The users that match, and the form to add one as it was sent."""

    listing: Listing[StoredUser]
    states: Mapping[int, tuple[str, Sentence]]
    secured: Collection[int]  # who has a second factor
    roles: Mapping[UserRole, Sentence]
    role_names: Mapping[UserRole, Sentence]
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserPage:
    """One user. `url`: a link that was made just now."""

    user: StoredUser
    state: tuple[str, Sentence]
    sessions: Sequence[StoredSession]
    roles: Sequence[tuple[str, Sentence]]
    languages: Sequence[tuple[str, Sentence]]
    factor: FactorState
    errors: FieldErrors = field(default_factory=dict)
    url: str = ""
    until: float = 0.0


def router(context: AdminContext) -> APIRouter:
    """The routes of the pages."""
    routes = page_router(Right.ACCOUNTS)
    people = _People(context)

    @routes.get("/users")
    def page(request: Request) -> Response:
        return people.all(request)

    @routes.post("/users")
    async def add(request: Request) -> Response:
        return await asyncio.to_thread(people.add, request, await forms.read(request))

    @routes.get("/users/{user}")
    def one(user: RowNumber, request: Request) -> Response:
        return people.one(request, user)

    @routes.post("/users/{user}")
    async def change(user: RowNumber, request: Request) -> Response:
        return await asyncio.to_thread(people.change, request, user, await forms.read(request))

    @routes.post("/users/{user}/{deed}")
    async def do(user: RowNumber, deed: str, request: Request) -> Response:
        return await asyncio.to_thread(people.do, request, user, deed, await forms.read(request))

    return routes


class _People:
    """What the routes do. Waits for the database."""

    def __init__(self, context: AdminContext) -> None:
        self._context, self._database = context, context.database

    def all(
        self, request: Request, typed: Mapping[str, str] | None = None, errors: FieldErrors | None = None
    ) -> Response:
        """All users, and the form to add one."""
        asked = TABLE.ask(request.query_params)
        found = [user for user in self._database.read(users.listed).result() if _matches(user, asked)]
        column = asked.sort.removeprefix("-") or "name"
        found.sort(key=lambda user: str(getattr(user, column)), reverse=asked.sort.startswith("-"))
        after = next((place for place, user in enumerate(found, 1) if str(user.row) == asked.after), 0)
        listing = asked.filled(found[after : after + TABLE.size + 1], len(found), lambda user: str(user.row))
        states = {user.row: STATES[state_of(user)] for user in listing.rows}
        secured = set(self._database.read(factors.having).result())
        view = UsersView(listing, states, secured, ROLES, ROLE_NAMES, typed or {}, errors or {})
        return shell.render(request, "users", view, 422 if errors else 200)

    def add(self, request: Request, form: FormFields) -> Response:
        """Add a user; the page shows the link once."""
        typed = {name: form.get(name) for name in ("name", "full_name", "role")}
        if typed["role"] not in ROLES:
            return self.all(request, typed, {"role": Sentence("Choose one of the list.")})
        role, full_name = UserRole(typed["role"]), typed["full_name"]
        new = NewUser(name=typed["name"], role=role, full_name=full_name)
        try:
            row = self._database.execute(users.add, new, deed_of(request))
        except UserNameTaken:
            return self.all(request, typed, {"name": TAKEN})
        except BadContent as error:
            return self.all(request, typed, _wrong(error))
        return self._show_link(request, row)

    def one(
        self, request: Request, row: int, errors: FieldErrors | None = None, link: NewLink | None = None
    ) -> Response:
        """One user, with a link that was made just now. Raises Problem for nobody."""
        try:
            user = self._database.read(users.found, row).result()
        except UserUnknown:
            raise Problem(404, "") from None
        listed = self._database.read(sessions.listed, time.time(), self._context.sign_in.times.idle, row).result()
        view = UserPage(
            user,
            STATES[state_of(user)],
            listed,
            [(role.value, word) for role, word in ROLES.items()],
            tuple(LANGUAGE_NAMES.items()),
            self._database.read(self._context.sign_in.factors.state, user).result(),
            errors or {},
            self._context.web_address() + link.path if link else "",
            link.expires_at if link else 0.0,
        )
        return shell.render(request, "user", view, 422 if errors else 200)

    def change(self, request: Request, row: int, form: FormFields) -> Response:
        """Change a user."""
        wanted = {name: form.get(name) for name in ("role", "full_name", "language")}
        if wanted["role"] not in ROLES:
            return self.one(request, row, {"role": Sentence("Choose one of the list.")})
        try:
            self._database.execute(users.change, row, wanted, deed_of(request, form.get("reason")[:500]))
        except LastAdmin:
            return self.one(request, row, {"role": LAST})
        except UserUnknown:
            raise Problem(404, "") from None
        except BadContent as error:
            return self.one(request, row, _wrong(error))
        return shell.go(f"/users/{row}", Sentence("The user is changed."))

    def do(self, request: Request, row: int, what: str, form: FormFields) -> Response:
        """Disable or enable a user, make a link, end the sessions."""
        deed = deed_of(request, form.get("reason")[:500])
        try:
            match what:
                case "link":
                    return self._show_link(request, row)
                case "disable":
                    self._database.execute(users.disable, row, deed)
                    note = Sentence("The user is disabled and signed out everywhere.")
                case "enable":
                    self._database.execute(users.enable, row, deed)
                    note = Sentence("The user may sign in again.")
                case "reset-second-factor":
                    self._database.execute(factors.reset, row, deed)
                    note = Sentence("The second factor is reset, and the user is signed out everywhere.")
                case "sign-out":
                    self._database.execute(sessions.end_all, row, deed)
                    note = Sentence("The user is signed out everywhere.")
                case _:
                    raise Problem(404, "")
        except LastAdmin:
            return self.one(request, row, {"reason": LAST})
        except UserUnknown:
            raise Problem(404, "") from None
        request.state.callers.forget(request.scope)  # it may have been the own session
        return shell.go(f"/users/{row}", note)

    def _show_link(self, request: Request, row: int) -> Response:
        try:
            link = self._database.execute(links.invite, row, deed_of(request))
        except NoPasswordHere:
            return self.one(request, row, {"reason": Sentence("This user cannot have a password here.")})
        except UserUnknown:
            raise Problem(404, "") from None
        return self.one(request, row, link=link)


def state_of(user: StoredUser) -> str:
    """A key of STATES."""
    if user.disabled_at is not None:
        return "disabled"
    return "active" if user.password or user.issuer else "invited"


def _matches(user: StoredUser, asked: Asked) -> bool:
    text = asked.values.get("q", "").casefold()
    found = text in user.name or text in user.full_name.casefold()
    return (
        found
        and asked.values.get("role", user.role) == user.role
        and asked.values.get("state", state_of(user)) == (state_of(user))
    )


def _wrong(error: BadContent) -> FieldErrors:
    """What the stories say, beside the field that it is about."""
    name = str(error).partition(":")[0]
    return {name: BAD_NAME if name == "name" else Sentence("At most 100 characters, without control characters.")}
