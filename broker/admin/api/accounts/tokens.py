"""Serves `/api/v1/tokens`: makes, lists and revokes API tokens."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts import api_tokens
from broker.accounts.api_tokens import NameTaken
from broker.accounts.roles import Right, UserRole
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import admin_router
from broker.errors import BadContent
from broker.store.accounts.api_tokens import StoredToken

DAY = 86_400.0  # seconds


class NewTokenBody(BaseModel):
    """A token to be made: for whom, with which role, for how many days."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=40, description="Names the program, for the audit trail.")]
    role: UserRole
    days: Annotated[float, Field(gt=0, le=1826, allow_inf_nan=False)] = 365


class RevokeBody(BaseModel):
    """Why a token is revoked; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[str, Field(max_length=500)] = ""


class NewTokenView(BaseModel):
    """A token that was made just now. Nobody can see `token` again. `expires_at` in s since the epoch."""

    id: int
    token: str
    expires_at: float


class TokenView(BaseModel):
    """A token without its secret; times in s since the epoch."""

    id: int
    name: str
    role: str
    state: Literal["active", "expired", "revoked"]
    created_at: float
    created_by: str
    expires_at: float
    last_used_at: float | None


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/tokens, for who may make accounts."""
    routes = admin_router("/api/v1/tokens", Right.ACCOUNTS, tags=["tokens"])
    database = context.database

    @routes.get("")
    def tokens() -> list[TokenView]:
        """List the tokens, also those that have ended, the latest first."""
        now = time.time()
        return [_view(token, now) for token in database.read(api_tokens.listed).result()]

    @routes.post("", status_code=201, responses={409: {"description": "A token of this name is in force"}})
    def make(body: NewTokenBody, request: Request) -> NewTokenView:
        """Make a token. Its text is in this answer, and nowhere else."""
        now = time.time()
        until = now + body.days * DAY
        try:
            who, where = request.state.actor, request.state.address
            made = database.execute(api_tokens.make, body.name, body.role, until, who, now, where)
        except NameTaken:
            raise Problem(409, "A token of this name is in force: revoke it, or take another name") from None
        except BadContent as error:
            place, _, text = str(error).partition(": ")
            raise Problem(422, "The token cannot be made", [FieldError(place, text)]) from None
        return NewTokenView(id=made.row, token=made.text, expires_at=until)

    @routes.post("/{token}/revoke", status_code=204, responses={409: {"description": "It has ended already"}})
    def revoke(token: RowNumber, request: Request, body: RevokeBody | None = None) -> None:
        """End a token now. It stays in the list."""
        reason = body.reason if body is not None else ""
        who, where = request.state.actor, request.state.address
        if not database.execute(api_tokens.revoke, token, who, reason, time.time(), where):
            raise Problem(409, "No token of this number is in force")

    return routes


def _view(token: StoredToken, now: float) -> TokenView:
    return TokenView(
        id=token.row,
        name=token.name,
        role=token.role,
        state="revoked" if token.revoked_at is not None else "active" if token.in_force(now) else "expired",
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )
