"""Tells who calls: a user of this machine (control socket), a program (token), or a person (cookie of a session)."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from starlette.types import Scope

from broker.accounts.api_tokens import looks_like_one
from broker.accounts.roles import RIGHTS, Principal, UserRole
from broker.accounts.secret_text import is_secret
from broker.admin.cookies import SESSION, cookie_text
from broker.admin.problems import Problem
from broker.errors import Unavailable

LOCAL_USER = "broker.local_user"  # of an ASGI scope: who calls over the control socket
REMEMBERED = 1.0  # seconds for which a token counts without a look into the database: a revoked one is used so long
MOST = 1000  # tokens and sessions that are remembered
_RETRY = {"Retry-After": "5"}


class KnownTokens(Protocol):
    """Knows API tokens: `accounts.api_tokens.TokenCheck`, or nothing, where there is none."""

    def caller(self, credentials: bytes) -> Future[Principal | None]:
        """Who calls with a token; None for one that is not in force. The future raises Unavailable."""
        ...


class KnownSessions(Protocol):
    """Knows the sessions of users: `accounts.sessions.SessionCheck`, or nothing, where nobody can sign in."""

    def caller(self, text: str) -> Future[Principal | None]:
        """Who calls with a cookie; None for one that is not in force. The future raises Unavailable."""
        ...


class Callers:
    """Who calls, by the scope of a request."""

    def __init__(
        self,
        admin_token: str,
        tokens: KnownTokens,
        sessions: KnownSessions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`admin_token`: bearer token with the admin role, empty for none. `sessions`: None where there are none."""
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._seen: dict[bytes, tuple[Principal, float]] = {}  # by token or cookie: until when it counts

    def at_once(self, scope: Scope) -> Principal | None:
        """Who calls, if that is known without the database."""
        local = scope.get(LOCAL_USER)
        if local:
            return Principal(f"cli:{local}", RIGHTS[UserRole.ADMIN])
        given = _bearer(scope)
        if self._admin_token and hmac.compare_digest(given, self._admin_token):
            return Principal("api", RIGHTS[UserRole.ADMIN])
        caller, until = self._seen.get(given or _cookie(scope), (None, 0.0))
        return caller if self._clock() < until else None

    async def looked_up(self, scope: Scope) -> Principal | None:
        """Who calls by an API token or by a session; None for a stranger. A token counts before a cookie.

        Raises Problem while that cannot be found out.
        """
        given, cookie = _bearer(scope), _cookie(scope)
        if given and looks_like_one(given):
            asked = self._tokens.caller(given)
        elif not given and cookie and self._sessions is not None:
            asked = self._sessions.caller(cookie_text(scope, SESSION))
        else:
            return None
        try:
            caller = await asyncio.wrap_future(asked)
        except Unavailable:
            raise Problem(503, "Who calls cannot be found out now", headers=_RETRY) from None
        if caller is not None:
            if len(self._seen) >= MOST:
                self._seen.clear()
            self._seen[given or cookie] = caller, self._clock() + REMEMBERED
        return caller

    def forget(self, scope: Scope) -> None:
        """Look a caller up at the next request: its session has ended or was changed just now."""
        self._seen.pop(_cookie(scope), None)


def _bearer(scope: Scope) -> bytes:
    """What stands behind `Bearer` (RFC 6750 2.1), empty for nothing."""
    given: bytes = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
    scheme, _, credentials = given.partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else b""


def _cookie(scope: Scope) -> bytes:
    """The key of a session in the memory, empty for none; no token looks like it."""
    text = cookie_text(scope, SESSION)
    return b"cookie " + text.encode() if is_secret(text) else b""
