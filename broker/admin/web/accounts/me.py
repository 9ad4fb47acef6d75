"""The page of the user who is signed in: language, password, and the browsers with a session."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from broker.accounts import sessions, users
from broker.accounts.breached import BreachedPasswords
from broker.accounts.passwords import TooManyAtOnce
from broker.accounts.roles import Person
from broker.accounts.second_factor.factors import FactorState
from broker.accounts.signing_in import TooManyTries, WrongPassword
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext, deed_of
from broker.admin.cookies import LANGUAGE, LANGUAGE_AGE, SESSION, drop_cookie, keep_cookie
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.accounts.password_form import password_errors
from broker.admin.web.accounts.role_words import LANGUAGE_NAMES, ROLES
from broker.admin.web.accounts.sign_in import BUSY, place_of, too_many
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence
from broker.store.accounts.sessions import StoredSession
from broker.store.accounts.users import StoredUser

OWN_WRONG = Sentence("This is not your password.")


@dataclass(frozen=True, slots=True)
class MeView:
    """The own account. `current`: the session (row) that asks. `factor`: the second factor."""

    user: StoredUser
    role: Sentence
    sessions: Sequence[StoredSession]
    current: int
    languages: Sequence[tuple[str, Sentence]]
    factor: FactorState
    errors: FieldErrors = field(default_factory=dict)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router()
    database, account = context.database, _Account(context)

    @routes.get("/me")
    def page(request: Request) -> Response:
        return account.show(request, person_of(request))

    @routes.post("/me/language")
    async def speak(request: Request) -> Response:
        person, form = person_of(request), await forms.read(request)
        wanted = {"language": form.get("language") if form.get("language") in LANGUAGE_NAMES else ""}
        await asyncio.to_thread(database.execute, users.change, person.user, wanted, deed_of(request))
        request.state.callers.forget(request.scope)
        response = shell.go("/me", Sentence("The language is changed."))
        if wanted["language"]:
            keep_cookie(response, request.scope, LANGUAGE, wanted["language"], LANGUAGE_AGE)
        else:
            drop_cookie(response, request.scope, LANGUAGE)
        return response

    @routes.post("/me/password")
    async def change(request: Request) -> Response:
        person = person_of(request)
        return await asyncio.to_thread(account.change_password, request, person, await forms.read(request))

    @routes.post("/me/sessions/{session}/end")
    def end(session: RowNumber, request: Request) -> Response:
        person = person_of(request)
        own = database.read(sessions.listed, time.time(), context.sign_in.times.idle, person.user).result()
        if session in {one.row for one in own} and session != person.session:
            database.execute(sessions.end, session, deed_of(request))
        return shell.go("/me", Sentence("This browser is signed out."))

    @routes.post("/me/sign-out-everywhere")
    def leave(request: Request) -> Response:
        database.execute(sessions.end_all, person_of(request).user, deed_of(request))
        request.state.callers.forget(request.scope)
        response = shell.go("/sign-in", Sentence("You are signed out everywhere."))
        drop_cookie(response, request.scope, SESSION)
        return response

    return routes


class _Account:
    """Shows and changes the own account. Waits for the database and for hashes."""

    def __init__(self, context: AdminContext) -> None:
        self._database, self._sign_in = context.database, context.sign_in
        self._breached = BreachedPasswords(context.settings.web.breached_passwords)

    def show(self, request: Request, person: Person, errors: FieldErrors | None = None, status: int = 200) -> Response:
        """The page, with what is wrong in the form of the password."""
        user = self._database.read(users.found, person.user).result()
        listed = self._database.read(sessions.listed, time.time(), self._sign_in.times.idle, person.user).result()
        languages = tuple(LANGUAGE_NAMES.items())
        factor = self._database.read(self._sign_in.factors.state, user).result()
        view = MeView(user, ROLES[person.role], listed, person.session, languages, factor, errors or {})
        return shell.render(request, "me", view, status)

    def change_password(self, request: Request, person: Person, form: FormFields) -> Response:
        """Take a new password from who knows the old one. All other sessions end; this browser gets a new one."""
        user, place = self._database.read(users.found, person.user).result(), place_of(request)
        if errors := password_errors(form, (user.name, *user.full_name.split()), self._breached):
            return self.show(request, person, errors, 422)
        try:
            self._sign_in.confirm(person.user, form.typed("current"), place)
            encoded = self._sign_in.passwords.hash(form.typed("password")).result()
        except WrongPassword:
            return self.show(request, person, {"current": OWN_WRONG}, 422)
        except TooManyTries as tries:
            response = self.show(request, person, {"current": too_many(tries)}, 429)
            response.headers["Retry-After"] = str(math.ceil(tries.seconds))
            return response
        except TooManyAtOnce:
            return self.show(request, person, {"current": BUSY}, 503)
        self._database.execute(users.set_password, person.user, encoded, deed_of(request))
        times = self._sign_in.times
        session = self._database.execute(sessions.begin, user, "password", place, times, time.time())
        request.state.callers.forget(request.scope)
        response = shell.go("/me", Sentence("Your password is changed. All other browsers are signed out."))
        keep_cookie(response, request.scope, SESSION, session.text)
        return response


def person_of(request: Request) -> Person:
    """Who is signed in. Raises Problem for a program, which has no account."""
    person: Person | None = request.state.caller.person
    if person is None:
        raise Problem(404, "Only people who are signed in have this page")
    return person
