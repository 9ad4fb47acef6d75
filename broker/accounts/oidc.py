"""Signs people in by OpenID Connect: authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636).

What a flow needs to prove (state, nonce, verifier) stays here; the browser has a secret by which the flow is found
again, so that nobody can be signed in by the answer to somebody else's question. The issuer is asked with time-outs,
its answers are bounded, no redirect is followed. Blocks: for threads that may wait.
"""

from __future__ import annotations

import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from broker.accounts.secret_text import new_secret
from broker.errors import BrokerError
from broker.settings.web import OidcSection

BACK = "/sign-in/oidc/back"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LARGEST = 512 * 1024  # bytes of an answer of the issuer
PATIENCE = httpx.Timeout(5.0)  # seconds for each part of a request
WHOLE = 15.0  # seconds for a whole answer
FLOW_LIFE = 600.0  # seconds that a person has at the issuer
MOST_FLOWS = 1000
FRESH = 3600.0  # seconds for which metadata and keys of the issuer count
LEEWAY = 120  # seconds by which its clock may be off


class OidcFailed(BrokerError):
    """The issuer cannot be asked, or what it says cannot be believed. `code` says why."""

    code = "oidc"


@dataclass(frozen=True, slots=True)
class OidcFlow:
    """A question to the issuer that waits for its answer. `next_path`: the page that was asked for."""

    state: str
    nonce: str
    verifier: str
    next_path: str
    began: float


class OpenIdProvider:
    """The issuer of the settings."""

    def __init__(self, settings: OidcSection, web_address: Callable[[], str]) -> None:
        """`web_address` gives the address of the web, without a slash at its end."""
        self.settings = settings
        self._web_address = web_address
        self._lock = threading.Lock()
        self._flows: dict[str, OidcFlow] = {}  # by the secret of the browser, the oldest first
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def _redirect_uri(self) -> str:
        """Where the issuer sends the browser back to."""
        return self._web_address() + BACK

    def begin(self, next_path: str) -> tuple[str, str]:
        """The address to send the browser to, and the secret that it keeps. Raises OidcFailed."""
        endpoint = self._endpoint("authorization_endpoint")
        flow = OidcFlow(new_secret(), new_secret(), new_secret(), next_path, time.monotonic())
        secret = new_secret()
        with self._lock:
            self._forget(flow.began)
            self._flows[secret] = flow
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": create_s256_code_challenge(flow.verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", secret

    def finish(self, secret: str, state: str, code: str, issuer: str) -> tuple[Mapping[str, Any], str]:
        """The claims about who has signed in, and the page that was asked for. A flow ends by its first answer.

        `issuer`: as the answer names it (RFC 9207), empty for not at all. Raises OidcFailed.
        """
        with self._lock:
            self._forget(time.monotonic())
            flow = self._flows.pop(secret, None)
        if flow is None or not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise OidcFailed("no flow of this browser", code="oidc-flow")
        if issuer and issuer != self.settings.issuer:
            raise OidcFailed("another issuer answers", code="oidc-issuer")
        return self._claims(self._id_token(code, flow), flow), flow.next_path

    def _forget(self, now: float) -> None:
        """Drop flows that are too old, or too many."""
        old = [secret for secret, flow in self._flows.items() if now - flow.began > FLOW_LIFE]
        for secret in old + list(self._flows)[: max(0, len(self._flows) - MOST_FLOWS)]:
            self._flows.pop(secret, None)

    def _id_token(self, code: str, flow: OidcFlow) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        form |= {"code_verifier": flow.verifier, "client_id": self.settings.client_id}
        known = (self.settings.client_id, self.settings.client_secret)
        answer = self._ask("POST", self._endpoint("token_endpoint"), data=form, auth=known if known[1] else None)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcFailed("the answer has no ID token", code="oidc-token")
        return token

    def _claims(self, token: str, flow: OidcFlow) -> Mapping[str, Any]:
        """The claims of an ID token that is signed by the issuer, for us, for this flow."""
        options: Any = {"iss": {"essential": True, "value": self.settings.issuer}}
        options["aud"] = {"essential": True, "value": self.settings.client_id}
        params = {"nonce": flow.nonce, "client_id": self.settings.client_id}
        try:
            decoded = self._decoded(token)
            checked = CodeIDToken(decoded.claims, decoded.header, options, params)
            checked.validate(int(time.time()), LEEWAY)
        except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
            raise OidcFailed(f"the ID token: {type(error).__name__}", code="oidc-token") from None
        return dict(decoded.claims)

    def _decoded(self, token: str) -> jwt.Token:
        """A token with a signature of the issuer; its keys are asked for anew once, as it may have new ones."""
        try:
            return jwt.decode(token, self._key_set(FRESH), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            return jwt.decode(token, self._key_set(0.0), algorithms=ALGORITHMS)

    def _key_set(self, age: float) -> KeySet:
        now = time.monotonic()
        if self._keys is None or now - self._keys[0] >= age:
            document: Any = self._ask("GET", self._endpoint("jwks_uri"))
            self._keys = now, KeySet.import_key_set(document)
        return self._keys[1]

    def _endpoint(self, name: str) -> str:
        """An address of the issuer, from its metadata (OpenID Connect Discovery 1.0 §4)."""
        now = time.monotonic()
        if self._metadata is None or now - self._metadata[0] >= FRESH:
            found = self._ask("GET", f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.settings.issuer:
                raise OidcFailed("the metadata names another issuer", code="oidc-issuer")
            self._metadata = now, found
        address = str(self._metadata[1].get(name, ""))
        if not address.startswith(
            ("https://", "http://") if self.settings.issuer.startswith("http://") else "https://"
        ):
            raise OidcFailed(f"the metadata has no {name}", code="oidc-metadata")
        return address

    def _ask(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        """A JSON object from the issuer, in bounded time and size. Raises OidcFailed."""
        until = time.monotonic() + WHOLE
        body = b""
        try:
            with (
                httpx.Client(verify=_trust(self.settings.ca), timeout=PATIENCE, follow_redirects=False) as client,
                client.stream(method, url, headers={"Accept": "application/json"}, **more) as answer,
            ):
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > LARGEST or time.monotonic() > until:
                        raise OidcFailed("the issuer answers without end", code="oidc-answer")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise OidcFailed(f"the issuer cannot be asked: {type(error).__name__}", code="oidc-away") from None
        if answer.status_code != 200:
            raise OidcFailed(f"the issuer answers {answer.status_code}", code=f"oidc-{answer.status_code}")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise OidcFailed("the answer of the issuer is no JSON object", code="oidc-answer")
        return found


def _trust(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca) if ca else None)
