"""Serves `/api/v1/sessions`: where people are signed in; each ends its own sessions, admins those of others too."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from pydantic import BaseModel

from broker.accounts import sessions
from broker.accounts.roles import Person, Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext, deed_of
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.store.accounts.sessions import StoredSession


class SessionView(BaseModel):
    """A browser in which somebody is signed in; times in s since the epoch. `current`: the one that asks."""

    id: int
    user: int
    name: str
    method: str
    address: str
    browser: str
    created_at: float
    last_used_at: float
    expires_at: float
    current: bool


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/sessions: own ones for everybody, those of others for who may make accounts."""
    routes = admin_router("/api/v1/sessions", None, tags=["sessions"])
    database, idle = context.database, context.settings.web.session_idle

    @routes.get("")
    def in_force(request: Request, user: RowNumber | None = None, everybody: bool = False) -> list[SessionView]:
        """List sessions in force: own ones; with `user` those of one; with `everybody` all of them."""
        person = _person(request)
        own = person.user if person is not None else None
        chosen = None if everybody else user if user is not None else own
        if chosen is None or chosen != own:
            _must_be_admin(request)
        listed = database.read(sessions.listed, time.time(), idle, chosen).result()
        return [session_view(session, person) for session in listed]

    @routes.post("/{session}/revoke", status_code=204, responses={409: {"description": "It has ended already"}})
    def revoke(session: RowNumber, request: Request) -> None:
        """End a session now."""
        person = _person(request)
        own = [] if person is None else database.read(sessions.listed, time.time(), idle, person.user).result()
        if session not in {one.row for one in own}:
            _must_be_admin(request)
        if not database.execute(sessions.end, session, deed_of(request)):
            raise Problem(409, "No session of this number is in force")

    return routes


def session_view(session: StoredSession, person: Person | None) -> SessionView:
    """A session without its secret, as `person` sees it."""
    return SessionView(
        id=session.row,
        user=session.user,
        name=session.user_name,
        method=session.method,
        address=session.address,
        browser=session.browser,
        created_at=session.created_at,
        last_used_at=session.seen_at,
        expires_at=session.expires_at,
        current=person is not None and person.session == session.row,
    )


def _person(request: Request) -> Person | None:
    person: Person | None = request.state.caller.person
    return person


def _must_be_admin(request: Request) -> None:
    if Right.ACCOUNTS not in request.state.rights:
        raise Problem(403, f"This needs the right `{Right.ACCOUNTS}`")
