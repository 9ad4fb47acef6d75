"""The page of the second part of a sign-in: a code of the app, or the set-up of one where the role asks for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from broker.accounts.second_factor.factors import FreshSecret, WrongCode
from broker.accounts.second_factor.second_flow import CODE
from broker.accounts.second_step import Entry, FlowUnknown, SecondStep
from broker.accounts.signing_in import TooManyTries
from broker.admin.context import AdminContext
from broker.admin.cookies import FLOW, cookie_text, drop_cookie
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.accounts.qr_code import QrCode, qr_code
from broker.admin.web.accounts.sign_in import SECOND, SignInView, WaysIn, place_of, too_many
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence

WRONG_CODE = Sentence("This code is wrong, too old, or was used before. Wait for the next one, and type it.")
AGAIN = Sentence("Sign in again: this sign-in took too long, or had too many wrong codes.")


@dataclass(frozen=True, slots=True)
class CodeView:
    """The form for a code."""

    errors: FieldErrors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetUpView:
    """The secret to put into an app, and the form for its first code."""

    fresh: FreshSecret
    qr: QrCode
    errors: FieldErrors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecoveryView:
    """Recovery codes, which are shown only now, and where to go on."""

    codes: Sequence[str]
    path: str


def set_up_view(fresh: FreshSecret, errors: FieldErrors | None = None) -> SetUpView:
    """What a page needs to show a secret."""
    return SetUpView(fresh, qr_code(fresh.address), errors or {})


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router()
    step = _Step(context)

    @routes.get(SECOND)
    def page(request: Request) -> Response:
        return step.show(request)

    @routes.post(SECOND)
    async def prove(request: Request) -> Response:
        return await asyncio.to_thread(step.prove, request, await forms.read(request))

    return routes


class _Step:
    """What the routes do. Waits for the database."""

    def __init__(self, context: AdminContext) -> None:
        self._second, self._doors = SecondStep(context.sign_in), WaysIn(context)
        self._oidc = context.oidc is not None

    def show(self, request: Request, errors: FieldErrors | None = None, status: int = 200) -> Response:
        """The form of the flow of this browser."""
        text = cookie_text(request.scope, FLOW)
        try:
            if self._second.kind(text) == CODE:
                return shell.render(request, "second_step", CodeView(errors or {}), status)
            return shell.render(request, "second_set_up", set_up_view(self._second.fresh(text), errors), status)
        except FlowUnknown:
            return self._begin_again(request, 200)

    def prove(self, request: Request, form: FormFields) -> Response:
        """Check the code that was typed."""
        text, code, place = cookie_text(request.scope, FLOW), form.get("code")[:100], place_of(request)
        try:
            if self._second.kind(text) == CODE:
                return self._come_in(request, self._second.by_code(text, code, place))
            return self._come_in(request, self._second.by_first_code(text, "".join(code.split()), place))
        except FlowUnknown:
            return self._begin_again(request, 422)
        except WrongCode:
            return self.show(request, {"code": WRONG_CODE}, 422)
        except TooManyTries as tries:
            response = self.show(request, {"code": too_many(tries)}, 429)
            response.headers["Retry-After"] = str(math.ceil(tries.seconds))
            return response

    def _come_in(self, request: Request, entry: Entry) -> Response:
        if not entry.codes:
            response = self._doors.let_in(request, entry.session, entry.next_path)
        else:
            path = self._doors.landing_of(request, entry.session, entry.next_path)
            response = shell.render(request, "recovery_codes", RecoveryView(entry.codes, path))
            self._doors.open_to(request, response, entry.session)
        drop_cookie(response, request.scope, FLOW)
        return response

    def _begin_again(self, request: Request, status: int) -> Response:
        """The form to sign in, in place of one whose flow is over."""
        response = shell.render(request, "sign_in", SignInView("", error=AGAIN, oidc=self._oidc), status)
        drop_cookie(response, request.scope, FLOW)
        return response
