"""Serves `/api/v1/me/second-factor`: the second factor of the person who is signed in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.own_factor import NoFactorHere, OwnFactor
from broker.accounts.passwords import TooManyAtOnce
from broker.accounts.roles import Person
from broker.accounts.second_factor.factors import FactorRequired, WrongCode
from broker.accounts.sessions import SignInPlace
from broker.accounts.signing_in import TooManyTries, WrongPassword
from broker.admin.context import AdminContext, deed_of
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.seats import share_of


class OwnPasswordBody(BaseModel):
    """The password of who asks."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    password: Annotated[str, Field(max_length=1000)]


class FactorCodeBody(BaseModel):
    """A code that the app shows."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    code: Annotated[str, Field(max_length=20, description="Six digits.")]


class FactorView(BaseModel):
    """Since when there is a second factor (s since the epoch), and whether the role asks for it."""

    since: float | None
    recovery_codes_left: int
    required: bool


class FreshFactorView(BaseModel):
    """A secret for the app: as a text, and as the address in its QR code. It counts once a code of it is confirmed."""

    secret: str
    address: str


class RecoveryCodesView(BaseModel):
    """Recovery codes. Nobody can see them again."""

    recovery_codes: list[str]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/me/second-factor, for people who are signed in."""
    routes = admin_router("/api/v1/me/second-factor", None, tags=["sessions"])
    own = OwnFactor(context.sign_in)

    @routes.get("")
    def state(request: Request) -> FactorView:
        """Show whether there is a second factor."""
        with _refusals():
            found = own.state(_person(request))
        return FactorView(since=found.since, recovery_codes_left=found.codes_left, required=found.required)

    @routes.post("/begin", status_code=201)
    def begin(body: OwnPasswordBody, request: Request) -> FreshFactorView:
        """Make a secret for the app. What was in force before counts until the new one is confirmed."""
        person = _person(request)
        with _refusals():
            own.begin(person, body.password, _place(request))
            fresh = own.fresh(person)
        if fresh is None:
            raise Problem(409, "The secret was confirmed or replaced meanwhile")
        return FreshFactorView(secret=fresh.text, address=fresh.address)

    @routes.post("/confirm", status_code=201)
    def confirm(body: FactorCodeBody, request: Request) -> RecoveryCodesView:
        """Put the secret in force by its first code. All other sessions end."""
        with _refusals():
            return RecoveryCodesView(recovery_codes=own.confirm(_person(request), body.code, deed_of(request)))

    @routes.post("/recovery-codes", status_code=201, responses={409: {"description": "There is no second factor"}})
    def codes(body: OwnPasswordBody, request: Request) -> RecoveryCodesView:
        """Make recovery codes in place of those of before."""
        with _refusals():
            made = own.new_codes(_person(request), body.password, _place(request), deed_of(request))
        if not made:
            raise Problem(409, "There is no second factor")
        return RecoveryCodesView(recovery_codes=made)

    @routes.post("/remove", status_code=204, responses={409: {"description": "There is none, or the role asks for it"}})
    def remove(body: OwnPasswordBody, request: Request) -> None:
        """Take the second factor away. All other sessions end."""
        with _refusals():
            if not own.remove(_person(request), body.password, _place(request), deed_of(request)):
                raise Problem(409, "There is no second factor")

    return routes


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer what the stories of a second factor refuse as problems."""
    try:
        yield
    except NoFactorHere:
        raise Problem(409, "You sign in by OpenID Connect: a second factor is the issuer's") from None
    except WrongPassword:
        raise Problem(403, "The password is wrong") from None
    except WrongCode:
        raise Problem(403, "The code is wrong, too old, or was used before") from None
    except FactorRequired:
        raise Problem(409, "Your role asks for a second factor: it can be replaced, not taken away") from None
    except TooManyTries as tries:
        retry = {"Retry-After": str(math.ceil(tries.seconds))}
        raise Problem(429, "Too many wrong tries", headers=retry) from None
    except TooManyAtOnce:
        raise Problem(503, "Too many passwords are being checked", headers={"Retry-After": "5"}) from None


def _place(request: Request) -> SignInPlace:
    return SignInPlace(share_of(request.state.address), request.headers.get("user-agent", ""))


def _person(request: Request) -> Person:
    """Who is signed in. Raises Problem for a program, which has no account."""
    person: Person | None = request.state.caller.person
    if person is None:
        raise Problem(404, "Only people who are signed in have a second factor")
    return person
