"""Says to a DICOMweb service who the broker is: bearer token from a file, or one asked for by client credentials.

Tokens and secrets stand in headers and in the body of the token request, in no address, log or error.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from pathlib import Path
from urllib.parse import quote_plus

import httpx

from broker.delivery.web.http_parts import USER_AGENT, unreached
from broker.errors import PeerFault
from broker.site.nodes import Node
from broker.site.tables.stow import OAuth

SECRET_MOST = 16 * 1024  # bytes of a file with a secret, and of a token
ANSWER_MOST = 64 * 1024  # bytes of the answer to a token request
WITHIN = 20.0  # seconds for a token request
EARLY = 30.0  # seconds before its end a token is renewed, at most half of its life
USUAL_LIFE = 300.0  # seconds of a token that does not say how long it lives
_TOKEN = re.compile(r"[!-~]+")


class Credentials:
    """The headers and tokens for one node as it is."""

    def __init__(self, node: Node, base: Path) -> None:
        """Relative paths count from `base`."""
        self._node, self._base = node, base
        self._token, self._ends = "", 0.0
        self._asking = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """A new token can be had."""
        return self._node.stow.oauth is not None or self._node.stow.token_file is not None

    def forget(self) -> None:
        """The token was not taken."""
        self._token = ""

    async def headers(self) -> dict[str, str]:
        """What says who we are. Raises PeerFault if that cannot be had."""
        node = self._node
        if node.stow.token_file is not None:
            return _bearer(await asyncio.to_thread(self._secret, node.stow.token_file, "token-file"))
        if node.stow.oauth is not None:
            async with self._asking:
                if not self._token or time.monotonic() >= self._ends:
                    await self._renew(node.stow.oauth)
                return _bearer(self._token)
        return {}

    async def _renew(self, oauth: OAuth) -> None:
        """Ask for a token (RFC 6749 4.4.2). Raises PeerFault."""
        secret = await asyncio.to_thread(self._secret, oauth.client_secret_file, "oauth-secret-file")
        context = await asyncio.to_thread(self._trust, oauth)
        form = {"grant_type": "client_credentials"} | ({"scope": oauth.scope} if oauth.scope else {})
        asked = time.monotonic()
        try:
            async with (
                asyncio.timeout(WITHIN),
                httpx.AsyncClient(verify=context, timeout=WITHIN, trust_env=False) as client,
                client.stream(
                    "POST",
                    oauth.token_url,
                    data=form,
                    headers={"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"},
                    auth=httpx.BasicAuth(quote_plus(oauth.client_id), quote_plus(secret)),
                ) as answer,
            ):
                status, body = answer.status_code, await body_of(answer, ANSWER_MOST)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            code = unreached(error)
            raise PeerFault("no token", code="oauth-" + code) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError):
            raise PeerFault("no token", code="oauth-unreachable") from None
        if status != 200:
            raise PeerFault("no token", code="oauth-refused" if 400 <= status < 500 else "oauth-failing")
        self._token, life = _token_of(body)
        self._ends = asked + life - min(EARLY, life / 2)

    def _secret(self, path: str, code: str) -> str:
        """The line of a file. Raises PeerFault."""
        try:
            with (self._base / path).open("rb") as file:
                text = file.read(SECRET_MOST + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise PeerFault("a file with a secret cannot be read", code=code) from None
        if not _TOKEN.fullmatch(text) or len(text) > SECRET_MOST:
            raise PeerFault("a file with a secret has none", code=code)
        return text

    def _trust(self, oauth: OAuth) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if oauth.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(self._base / oauth.ca)
            except OSError:
                raise PeerFault("authorities cannot be read", code="oauth-tls-files") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


async def body_of(answer: httpx.Response, most: int) -> bytes | None:
    """The body of an answer as it came; None for one that is longer, or packed: it might become any length."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return None
    data = bytearray()
    async for piece in answer.aiter_raw():
        data += piece
        if len(data) > most:
            return None
    return bytes(data)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _token_of(body: bytes | None) -> tuple[str, float]:
    """A token, and the seconds that it lives (RFC 6749 5.1). Raises PeerFault."""
    try:
        found = json.loads(body or b"")
        token, kind, life = found["access_token"], found.get("token_type", "bearer"), found.get("expires_in")
        good = _TOKEN.fullmatch(token) and len(token) <= SECRET_MOST and kind.lower() == "bearer"
        life = USUAL_LIFE if life is None else min(max(float(life), 1.0), 86_400.0)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        good = None
    if not good:
        raise PeerFault("an answer that has no token", code="oauth-bad-answer")
    return token, life
