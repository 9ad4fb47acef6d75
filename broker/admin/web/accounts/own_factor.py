"""The page of the own second factor: set it up, replace it, take it away, make other recovery codes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from broker.accounts.own_factor import NoFactorHere, OwnFactor
from broker.accounts.passwords import TooManyAtOnce
from broker.accounts.roles import Person
from broker.accounts.second_factor.factors import FactorRequired, FactorState, WrongCode
from broker.accounts.signing_in import TooManyTries, WrongPassword
from broker.admin.context import AdminContext, deed_of
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.accounts.me import OWN_WRONG, person_of
from broker.admin.web.accounts.second_step import WRONG_CODE, RecoveryView, SetUpView, set_up_view
from broker.admin.web.accounts.sign_in import BUSY, place_of, too_many
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence

PATH = "/me/second-factor"
REQUIRED = Sentence("Your role asks for a second factor. You can replace it, not take it away.")
GONE = Sentence("Your second factor is taken away. All other browsers are signed out.")


@dataclass(frozen=True, slots=True)
class OwnFactorView:
    """What there is. `waiting`: a secret that waits for its first code."""

    state: FactorState
    waiting: SetUpView | None
    errors: FieldErrors = field(default_factory=dict)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router()
    page_of = _OwnFactorPage(context)

    @routes.get(PATH)
    def page(request: Request) -> Response:
        return page_of.show(request, person_of(request))

    @routes.post(f"{PATH}/{{deed}}")
    async def do(deed: str, request: Request) -> Response:
        person = person_of(request)
        return await asyncio.to_thread(page_of.do, request, person, deed, await forms.read(request))

    return routes


class _OwnFactorPage:
    """What the routes do. Waits for the database and for a hash."""

    def __init__(self, context: AdminContext) -> None:
        self._own = OwnFactor(context.sign_in)

    def show(self, request: Request, person: Person, errors: FieldErrors | None = None, status: int = 200) -> Response:
        """The page. Raises Problem for who signs in elsewhere."""
        try:
            fresh = self._own.fresh(person)
            waiting = None if fresh is None else set_up_view(fresh, errors)
            view = OwnFactorView(self._own.state(person), waiting, errors or {})
        except NoFactorHere:
            raise Problem(404, "") from None
        return shell.render(request, "own_factor", view, status)

    def do(self, request: Request, person: Person, what: str, form: FormFields) -> Response:
        """Do what a form asks for; what is wrong stands beside its field."""
        status, field_name = 422, "own"
        try:
            return self._done(request, person, what, form)
        except NoFactorHere:
            raise Problem(404, "") from None
        except WrongCode:
            error, field_name = WRONG_CODE, "code"
        except WrongPassword:
            error = OWN_WRONG
        except FactorRequired:
            error = REQUIRED
        except TooManyAtOnce:
            error, status = BUSY, 503
        except TooManyTries as tries:
            response = self.show(request, person, {"own": too_many(tries)}, 429)
            response.headers["Retry-After"] = str(math.ceil(tries.seconds))
            return response
        return self.show(request, person, {field_name: error}, status)

    def _done(self, request: Request, person: Person, what: str, form: FormFields) -> Response:
        own, place, deed = form.typed("own"), place_of(request), deed_of(request)
        match what:
            case "begin":
                self._own.begin(person, own, place)
                return shell.go(PATH)
            case "confirm":
                codes = self._own.confirm(person, "".join(form.get("code").split()), deed)
            case "codes":
                codes = self._own.new_codes(person, own, place, deed)
            case "remove":
                self._own.remove(person, own, place, deed)
                return shell.go(PATH, GONE)
            case _:
                raise Problem(404, "")
        return shell.render(request, "recovery_codes", RecoveryView(codes, "/me")) if codes else shell.go(PATH)
