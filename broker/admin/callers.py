"""Tells who calls: a user of this machine over the control socket, a program with the admin token or an API token."""

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
from broker.admin.problems import Problem
from broker.errors import Unavailable

LOCAL_USER = "broker.local_user"  # of an ASGI scope: who calls over the control socket
REMEMBERED = 1.0  # seconds for which a token counts without a look into the database: a revoked one is used so long
MOST = 1000  # tokens that are remembered
_RETRY = {"Retry-After": "5"}


class KnownTokens(Protocol):
    """Knows API tokens: `accounts.api_tokens.TokenCheck`, or nothing, where there is none."""

    def caller(self, credentials: bytes) -> Future[Principal | None]:
        """Who calls with a token; None for one that is not in force. The future raises Unavailable."""
        ...


class Callers:
    """Who calls, by the scope of a request."""

    def __init__(self, admin_token: str, tokens: KnownTokens, clock: Callable[[], float] = time.monotonic) -> None:
        """`admin_token`: bearer token with the admin role, empty for none."""
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._clock = clock
        self._seen: dict[bytes, tuple[Principal, float]] = {}  # by token: until when it counts

    def at_once(self, scope: Scope) -> Principal | None:
        """Who calls, if that is known without the database."""
        local = scope.get(LOCAL_USER)
        if local:
            return Principal(f"cli:{local}", RIGHTS[UserRole.ADMIN])
        given = _bearer(scope)
        if self._admin_token and hmac.compare_digest(given, self._admin_token):
            return Principal("api", RIGHTS[UserRole.ADMIN])
        caller, until = self._seen.get(given, (None, 0.0))
        return caller if self._clock() < until else None

    async def by_token(self, scope: Scope) -> Principal | None:
        """Who calls by an API token; None for a stranger. Raises Problem while that cannot be found out."""
        given = _bearer(scope)
        if not looks_like_one(given):
            return None
        try:
            caller = await asyncio.wrap_future(self._tokens.caller(given))
        except Unavailable:
            raise Problem(503, "Whose token this is cannot be found out now", headers=_RETRY) from None
        if caller is not None:
            if len(self._seen) >= MOST:
                self._seen.clear()
            self._seen[given] = caller, self._clock() + REMEMBERED
        return caller


def _bearer(scope: Scope) -> bytes:
    """What stands behind `Bearer` (RFC 6750 2.1), empty for nothing."""
    given: bytes = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
    scheme, _, credentials = given.partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else b""
