"""Reads and writes the cookies of the web (OWASP ASVS 5.0 §3.3). None of them names a patient.

All are closed to scripts and to other websites. Over HTTPS each has a name that browsers keep to this host and to HTTPS
(`__Host-`), which asks for the path `/`.
"""

from __future__ import annotations

from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

SESSION = "broker_session"  # the secret of a session; ends with the browser, and here when its time is over
FLOW, FLOW_AGE = "broker_flow", 600  # the secret of a sign-in that has begun; seconds
LANGUAGE, LANGUAGE_AGE = "broker_language", 365 * 86_400  # that a person chose in this browser; seconds
NOTE, NOTE_AGE = "broker_note", 30  # a note for the next page of this browser; seconds


def cookie_name(scope: Scope, name: str = SESSION) -> str:
    """The name of a cookie as browsers know it: another one over HTTPS."""
    return f"__Host-{name}" if scope["scheme"] == "https" else name


def cookie_text(scope: Scope, name: str) -> str:
    """The text in a cookie of a request, empty for none."""
    known = cookie_name(scope, name)
    given = (value for header, value in scope["headers"] if header.lower() == b"cookie" and known.encode() in value)
    return next((text for value in given if (text := cookie_parser(value.decode("latin-1")).get(known, ""))), "")


def keep_cookie(response: Response, scope: Scope, name: str, text: str, age: int | None = None) -> None:
    """Let the browser keep a text for `age` seconds; without it until the browser ends."""
    secure = scope["scheme"] == "https"
    response.set_cookie(cookie_name(scope, name), text, age, path="/", httponly=True, samesite="lax", secure=secure)


def drop_cookie(response: Response, scope: Scope, name: str) -> None:
    """Take a cookie from the browser."""
    secure = scope["scheme"] == "https"
    response.delete_cookie(cookie_name(scope, name), path="/", httponly=True, samesite="lax", secure=secure)
