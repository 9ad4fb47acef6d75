"""Reads and writes the cookie of a session (OWASP ASVS 5.0 §3.3)."""

from __future__ import annotations

from functools import partial

from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

NAME = "broker_session"
FLOW, FLOW_AGE = "broker_flow", 600  # of a sign-in by OpenID Connect; seconds


def cookie_name(scope: Scope) -> str:
    """Over HTTPS a name that browsers keep to this host and to HTTPS; else the plain one."""
    return f"__Host-{NAME}" if scope["scheme"] == "https" else NAME


def session_text(scope: Scope) -> str:
    """The text in the cookie of a request, empty for none."""
    given = (value for name, value in scope["headers"] if name.lower() == b"cookie")
    return next((text for text in map(partial(_named, cookie_name(scope)), given) if text), "")


def flow_text(scope: Scope) -> str:
    """The secret of a flow of OpenID Connect, empty for none."""
    given = (value for name, value in scope["headers"] if name.lower() == b"cookie")
    return next((text for text in map(partial(_named, FLOW), given) if text), "")


def set_flow(response: Response, scope: Scope, text: str) -> None:
    """Let the browser keep the secret of a flow until it comes back; empty: take it away."""
    secure = scope["scheme"] == "https"
    age = FLOW_AGE if text else 0
    response.set_cookie(FLOW, text, age, path="/sign-in/oidc", httponly=True, samesite="lax", secure=secure)


def _named(name: str, header: bytes) -> str:
    return cookie_parser(header.decode("latin-1")).get(name, "") if name.encode() in header else ""


def set_session(response: Response, scope: Scope, text: str) -> None:
    """Give the browser a session. It ends with the browser, and here when its time is over."""
    secure = scope["scheme"] == "https"
    response.set_cookie(cookie_name(scope), text, path="/", httponly=True, samesite="lax", secure=secure)


def clear_session(response: Response, scope: Scope) -> None:
    """Take the cookie from the browser."""
    secure = scope["scheme"] == "https"
    response.delete_cookie(cookie_name(scope), path="/", httponly=True, samesite="lax", secure=secure)
