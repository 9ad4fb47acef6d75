"""The pages by which people come in: sign-in, the link of the first admin, invitations; and the way out."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from broker.accounts import links, sessions, users
from broker.accounts.breached import BreachedPasswords
from broker.accounts.links import LinkUnknown
from broker.accounts.passwords import TooManyAtOnce
from broker.accounts.roles import RIGHTS, UserRole
from broker.accounts.second_factor.second_flow import NewFlow
from broker.accounts.secret_text import is_secret
from broker.accounts.sessions import NewSession, SignInPlace
from broker.accounts.signing_in import TooManyTries, WrongPassword
from broker.accounts.users import UserNameTaken
from broker.admin.context import AdminContext, deed_of
from broker.admin.cookies import FLOW, FLOW_AGE, LANGUAGE, LANGUAGE_AGE, SESSION, drop_cookie, keep_cookie
from broker.admin.routers import page_router
from broker.admin.same_origin import is_local
from broker.admin.web import forms, shell
from broker.admin.web.accounts.password_form import password_errors
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import LOCALES, Sentence
from broker.errors import BadContent
from broker.seats import share_of
from broker.store.accounts.users import StoredUser

SECOND = "/sign-in/second-factor"
WRONG = Sentence("Name or password is wrong.")
BUSY = Sentence("Too many people sign in at this moment. Try again in a few seconds.")
BAD_NAME = Sentence("Take 1 to 64 small letters, digits, dots, hyphens or underscores; begin with a letter or a digit.")
TAKEN = Sentence("There is a user of this name. Take another one.")


@dataclass(frozen=True, slots=True)
class SignInView:
    """The form to sign in, as it was sent. `next`: the page that was asked for; `oidc`: there is another way in."""

    next: str
    name: str = ""
    error: Sentence | None = None
    oidc: bool = False


@dataclass(frozen=True, slots=True)
class WelcomeView:
    """The form in which the first admin or an invited user takes a password. `known`: the name stands already."""

    name: str = ""
    known: bool = False
    errors: FieldErrors = field(default_factory=dict)


def too_many(tries: TooManyTries) -> Sentence:
    """How long to wait."""
    return Sentence("Too many wrong tries. Try again in %(count)s seconds.", {"count": math.ceil(tries.seconds)})


def place_of(request: Request) -> SignInPlace:
    """From where a request comes."""
    return SignInPlace(share_of(request.state.address), request.headers.get("user-agent", ""))


def router(context: AdminContext) -> APIRouter:
    """The routes by which people come in and go out."""
    routes = page_router()
    doors = WaysIn(context)

    @routes.get("/sign-in")
    def form(request: Request, next: str = "") -> Response:
        if request.state.caller is not None:
            return shell.go(doors.landing(request, next))
        view = SignInView(next if is_local(next) else "", oidc=context.oidc is not None)
        return shell.render(request, "sign_in", view)

    @routes.post("/sign-in")
    async def enter(request: Request) -> Response:
        return await asyncio.to_thread(doors.sign_in, request, await forms.read(request))

    @routes.post("/sign-in/language")
    async def speak(request: Request) -> Response:
        fields = await forms.read(request)
        code, wanted = fields.get("language"), fields.get("next")
        response = shell.go(f"/sign-in?next={quote(wanted, safe='/')}" if is_local(wanted) else "/sign-in")
        if code in LOCALES:
            keep_cookie(response, request.scope, LANGUAGE, code, LANGUAGE_AGE)
        return response

    @routes.post("/sign-out")
    def leave(request: Request) -> Response:
        person = request.state.caller.person
        if person is not None:
            context.database.execute(sessions.end, person.session, deed_of(request))
        request.state.callers.forget(request.scope)
        response = shell.go("/sign-in", Sentence("You are signed out."))
        drop_cookie(response, request.scope, SESSION)
        return response

    @routes.get("/first/{text}")
    def first(request: Request, text: str) -> Response:
        known = is_secret(text) and context.database.read(links.open_first_admin, text, time.time()).result()
        return shell.render(request, "first", WelcomeView()) if known else _void(request)

    @routes.post("/first/{text}")
    async def make_first(request: Request, text: str) -> Response:
        return await asyncio.to_thread(doors.make_first, request, text, await forms.read(request))

    @routes.get("/invite/{text}")
    def invited(request: Request, text: str) -> Response:
        user = doors.invited(text)
        return _void(request) if user is None else shell.render(request, "invite", WelcomeView(user.name, known=True))

    @routes.post("/invite/{text}")
    async def accept(request: Request, text: str) -> Response:
        return await asyncio.to_thread(doors.accept, request, text, await forms.read(request))

    return routes


class WaysIn:
    """What the routes do. Each waits for the database or for a hash."""

    def __init__(self, context: AdminContext) -> None:
        self._database, self._sign_in, self._oidc = context.database, context.sign_in, context.oidc is not None
        self._breached = BreachedPasswords(context.settings.web.breached_passwords)

    def sign_in(self, request: Request, form: FormFields) -> Response:
        """Check name and password."""
        name, wanted = form.get("name")[:200], form.get("next")
        wanted = wanted if is_local(wanted) else ""
        headers, status = {}, 422
        try:
            entry = self._sign_in.by_password(name, form.typed("password"), place_of(request), wanted)
        except WrongPassword:
            error = WRONG
        except TooManyTries as tries:
            error, headers, status = too_many(tries), {"Retry-After": str(math.ceil(tries.seconds))}, 429
        except TooManyAtOnce:
            error, headers, status = BUSY, {"Retry-After": "5"}, 503
        else:
            return self.go_on(request, entry, wanted)
        response = shell.render(request, "sign_in", SignInView(wanted, name, error, self._oidc), status)
        response.headers.update(headers)
        return response

    def make_first(self, request: Request, text: str, form: FormFields) -> Response:
        """Make the first admin by a link."""
        name, now = form.get("name"), time.time()
        if not is_secret(text) or not self._database.read(links.open_first_admin, text, now).result():
            return _void(request)
        if not (errors := password_errors(form, (name,), self._breached)):
            encoded = self._sign_in.passwords.hash(form.typed("password")).result()
            try:
                user = self._database.execute(links.make_first_admin, text, name, encoded, now, request.state.address)
                return self._welcome(request, user)
            except LinkUnknown:
                return _void(request)
            except BadContent:
                errors = {"name": BAD_NAME}
            except UserNameTaken:
                errors = {"name": TAKEN}
        return shell.render(request, "first", WelcomeView(name, errors=errors), 422)

    def invited(self, text: str) -> StoredUser | None:
        """The user who may set a password by a link."""
        if not is_secret(text):
            return None
        return self._database.read(links.invited, text, time.time()).result()

    def accept(self, request: Request, text: str, form: FormFields) -> Response:
        """Give an invited user a password."""
        user = self.invited(text)
        if user is None:
            return _void(request)
        if errors := password_errors(form, (user.name, *user.full_name.split()), self._breached):
            return shell.render(request, "invite", WelcomeView(user.name, known=True, errors=errors), 422)
        encoded = self._sign_in.passwords.hash(form.typed("password")).result()
        try:
            user = self._database.execute(links.accept, text, encoded, time.time(), request.state.address)
        except LinkUnknown:
            return _void(request)
        return self._welcome(request, user)

    def _welcome(self, request: Request, user: StoredUser) -> Response:
        """Sign in who has just taken a password by a link."""
        return self.go_on(request, self._sign_in.by_link(user, place_of(request)), "")

    def go_on(self, request: Request, entry: NewSession | NewFlow, wanted: str) -> Response:
        """Let somebody in, or send it on to the second factor."""
        if isinstance(entry, NewSession):
            return self.let_in(request, entry, wanted)
        response = shell.go(SECOND)
        keep_cookie(response, request.scope, FLOW, entry.text, FLOW_AGE)
        return response

    def let_in(self, request: Request, session: NewSession, wanted: str) -> Response:
        """Send somebody who has come in to a page."""
        response = shell.go(self.landing_of(request, session, wanted))
        self.open_to(request, response, session)
        return response

    def open_to(self, request: Request, response: Response, session: NewSession) -> None:
        """Hand out the cookie. The session that this browser had before ends."""
        caller = request.state.caller
        if caller is not None and caller.person is not None:
            self._database.execute(sessions.end, caller.person.session, deed_of(request))
            request.state.callers.forget(request.scope)
        user = self._database.read(users.found, session.user).result()
        keep_cookie(response, request.scope, SESSION, session.text)
        if user.language:  # the sign-in of this browser speaks it too from now on
            keep_cookie(response, request.scope, LANGUAGE, user.language, LANGUAGE_AGE)

    def landing_of(self, request: Request, session: NewSession, wanted: str) -> str:
        """The page to which somebody goes who has come in."""
        user = self._database.read(users.found, session.user).result()
        return self.landing(request, wanted, UserRole(user.role))

    def landing(self, request: Request, wanted: str, role: UserRole | None = None) -> str:
        """The page to go to: what was asked for, else the first one that the caller may see."""
        rights = RIGHTS[role] if role is not None else request.state.rights
        pages = [link.path for link in request.app.state.shell.links if link.is_for(rights)]
        return wanted if is_local(wanted) else next(iter(pages), "/me")


def _void(request: Request) -> Response:
    return shell.render(request, "void_link", None, 404)
