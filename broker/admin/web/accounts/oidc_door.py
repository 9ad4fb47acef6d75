"""The way to the OpenID Connect issuer and back.

It begins by a link: browsers apply `form-action` of the CSP to where a form leads in the end, and that is the issuer.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from broker import telemetry
from broker.accounts import oidc_entry
from broker.accounts.oidc import BACK, OidcFailed
from broker.accounts.oidc_entry import OidcRefused
from broker.admin.context import AdminContext
from broker.admin.cookies import FLOW, FLOW_AGE, cookie_text, drop_cookie, keep_cookie
from broker.admin.routers import page_router
from broker.admin.same_origin import is_local
from broker.admin.web import shell
from broker.admin.web.accounts.sign_in import SignInView, WaysIn, place_of
from broker.admin.web.words import Sentence

WHY_NOT = {
    "role": Sentence("Your account at the hospital has no role here. Ask an administrator of the hospital sign-in."),
    "disabled": Sentence("Your account is disabled here. Ask an administrator."),
    "name": Sentence("Your name cannot be used here, or another account has it. Ask an administrator."),
    "subject": Sentence("The hospital sign-in did not say who you are."),
}
FAILED = Sentence("The hospital sign-in did not work. Try again; if it happens again, tell an administrator.")
CANCELLED = Sentence("The hospital sign-in was not completed.")


def router(context: AdminContext) -> APIRouter:
    """The routes; without `[web.oidc]` there are none."""
    routes = page_router()
    provider, database, doors = context.oidc, context.database, WaysIn(context)
    if provider is None:
        return routes

    @routes.get("/sign-in/oidc")
    def begin(request: Request, next: str = "") -> Response:
        try:
            url, secret = provider.begin(next if is_local(next) else "")
        except OidcFailed as error:
            return _failed(request, error)
        response = shell.go(url)
        keep_cookie(response, request.scope, FLOW, secret, FLOW_AGE)
        return response

    @routes.get(BACK)
    def come_back(request: Request, state: str = "", code: str = "", iss: str = "", error: str = "") -> Response:
        if error:  # its text is the issuer's, or of whoever made the address up
            return _told(request, CANCELLED)
        try:
            claims, wanted = provider.finish(cookie_text(request.scope, FLOW), state, code, iss)
            place, times = place_of(request), context.sign_in.times
            session = database.execute(oidc_entry.let_in, claims, provider.settings, place, times, time.time())
        except OidcFailed as failure:
            return _failed(request, failure)
        except OidcRefused as refused:
            return _told(request, WHY_NOT[refused.reason])
        response = doors.let_in(request, session, wanted)
        drop_cookie(response, request.scope, FLOW)
        return response

    return routes


def _failed(request: Request, error: OidcFailed) -> Response:
    telemetry.logger().warning("user.oidc_failed", code=error.code, message=str(error))
    return _told(request, FAILED)


def _told(request: Request, error: Sentence) -> Response:
    return shell.render(request, "sign_in", SignInView("", error=error, oidc=True), 403)
