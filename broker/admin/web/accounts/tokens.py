"""The page of API tokens: by one a program proves who it is. The text of a token is shown once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from broker.accounts import api_tokens
from broker.accounts.api_tokens import NameTaken, NewToken
from broker.accounts.roles import Right, UserRole
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.accounts.role_words import ROLE_NAMES, ROLES, STATES
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.errors import BadContent
from broker.store.accounts.api_tokens import StoredToken

LINK = PageLink(title=Sentence("Tokens"), path="/tokens", icon="key", right=Right.ACCOUNTS)
DAY = 86_400.0  # seconds
DAYS = {"30": Sentence("30 days"), "365": Sentence("a year"), "1826": Sentence("five years")}
NAME_TAKEN = Sentence("A token of this name is in force. Revoke it, or take another name.")
BAD_TOKEN_NAME = Sentence("Take 1 to 40 letters, digits, dots, hyphens or underscores.")


@dataclass(frozen=True, slots=True)
class TokensView:
    """All tokens with their states, the form as it was sent, and a token that was made just now."""

    rows: Sequence[tuple[StoredToken, tuple[str, Sentence], Sentence]]
    roles: Sequence[tuple[str, Sentence]]
    days: Sequence[tuple[str, Sentence]]
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)
    made: NewToken | None = None


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router(Right.ACCOUNTS)
    database = context.database

    def show(request: Request, typed: Mapping[str, str], errors: FieldErrors, made: NewToken | None = None) -> Response:
        now = time.time()
        rows = [
            (token, STATES[_state(token, now)], ROLE_NAMES[UserRole(token.role)])
            for token in database.read(api_tokens.listed).result()
        ]
        roles = [(role.value, word) for role, word in ROLES.items()]
        view = TokensView(rows, roles, tuple(DAYS.items()), typed, errors, made)
        return shell.render(request, "tokens", view, 422 if errors else 200)

    def make(request: Request, form: FormFields) -> Response:
        typed = {name: form.get(name) for name in ("name", "role", "days")}
        if typed["role"] not in ROLES or typed["days"] not in DAYS:
            return show(request, typed, {"role": Sentence("Choose one of the list.")})
        now, state = time.time(), request.state
        end = now + float(typed["days"]) * DAY
        try:
            role = UserRole(typed["role"])
            made = database.execute(api_tokens.make, typed["name"], role, end, state.actor, now, state.address)
        except NameTaken:
            return show(request, typed, {"name": NAME_TAKEN})
        except BadContent:
            return show(request, typed, {"name": BAD_TOKEN_NAME})
        return show(request, {}, {}, made)

    @routes.get("/tokens")
    def page(request: Request) -> Response:
        return show(request, {}, {})

    @routes.post("/tokens")
    async def add(request: Request) -> Response:
        return await asyncio.to_thread(make, request, await forms.read(request))

    @routes.post("/tokens/{token}/revoke")
    async def revoke(token: RowNumber, request: Request) -> Response:
        reason, state = (await forms.read(request)).get("reason")[:500], request.state
        await asyncio.to_thread(
            database.execute, api_tokens.revoke, token, state.actor, reason, time.time(), state.address
        )
        return shell.go("/tokens", Sentence("The token is revoked."))

    return routes


def _state(token: StoredToken, now: float) -> str:
    return "revoked" if token.revoked_at is not None else "active" if token.in_force(now) else "expired"
