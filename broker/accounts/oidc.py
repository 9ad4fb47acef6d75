"""Signs people in by OpenID Connect: authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636).

The browser has the secret of its flow in a cookie, so that nobody can be signed in by the answer to somebody else's
question. State, nonce and verifier are made of that secret. The database has its hash, from the question to the first
answer: each process may finish what another one began, and a restart ends no flow. The issuer is asked with time-outs,
its answers are bounded, no redirect is followed. Blocks: for threads that may wait.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
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

from broker.accounts.secret_text import digest_of, is_secret, new_secret
from broker.errors import BrokerError
from broker.settings.web import OidcSection
from broker.store.accounts import flows
from broker.store.accounts.flows import StoredFlow
from broker.store.db.database import Database
from broker.whole_time import WholeTime

BACK = "/sign-in/oidc/back"
KIND = "oidc"  # of a flow
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LARGEST = 512 * 1024  # bytes of an answer of the issuer
PATIENCE = httpx.Timeout(5.0)  # seconds for each part of a request
WHOLE = 15.0  # seconds for a whole answer
FLOW_LIFE = 600.0  # seconds that a person has at the issuer
MOST_FLOWS = 10_000  # more are begun by somebody who floods: the oldest go
FRESH = 3600.0  # seconds for which metadata and keys of the issuer count
LEEWAY = 120  # seconds by which its clock may be off


class OidcFailed(BrokerError):
    """The issuer cannot be asked, or what it says cannot be believed. `code` says why."""

    code = "oidc"


@dataclass(frozen=True, slots=True)
class OidcQuestion:
    """What one question to the issuer has to prove. It is made of the secret of the browser."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def of(cls, secret: str) -> OidcQuestion:
        """The question of a flow. None of its parts tells another one."""
        return cls(*(_part(secret, name) for name in ("state", "nonce", "verifier")))


class OpenIdProvider:
    """The issuer of the settings."""

    def __init__(
        self,
        settings: OidcSection,
        web_address: Callable[[], str],
        database: Database,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`web_address` gives the address of the web, without a slash at its end; `clock` s since the epoch."""
        self.settings = settings
        self._web_address = web_address
        self._database = database
        self._clock = clock
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def _redirect_uri(self) -> str:
        """Where the issuer sends the browser back to."""
        return self._web_address() + BACK

    def begin(self, next_path: str) -> tuple[str, str]:
        """The address to send the browser to, and the secret that it keeps. Raises OidcFailed, StoreUnavailable."""
        endpoint = self._endpoint("authorization_endpoint")
        secret, now = new_secret(), self._clock()
        question = OidcQuestion.of(secret)
        flow = StoredFlow(kind=KIND, method=KIND, user=None, next_path=next_path, began_at=now, wrong=0)
        self._database.execute(flows.add, digest_of(secret), flow, now + FLOW_LIFE, MOST_FLOWS)
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": question.state,
            "nonce": question.nonce,
            "code_challenge": create_s256_code_challenge(question.verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", secret

    def finish(self, secret: str, state: str, code: str, issuer: str) -> tuple[Mapping[str, Any], str]:
        """The claims about who has signed in, and the page that was asked for. A flow ends by its first answer.

        `issuer`: as the answer names it (RFC 9207), empty for not at all. Raises OidcFailed, StoreUnavailable.
        """
        known = is_secret(secret)
        flow = self._database.execute(flows.take, digest_of(secret), KIND, self._clock()) if known else None
        question = OidcQuestion.of(secret)
        if flow is None or not hmac.compare_digest(question.state.encode(), state.encode("utf-8", "replace")):
            raise OidcFailed("no flow of this browser", code="oidc-flow")
        if issuer and issuer != self.settings.issuer:
            raise OidcFailed("another issuer answers", code="oidc-issuer")
        return self._claims(self._id_token(code, question), question), flow.next_path

    def _id_token(self, code: str, question: OidcQuestion) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        form |= {"code_verifier": question.verifier, "client_id": self.settings.client_id}
        known = (self.settings.client_id, self.settings.client_secret)
        answer = self._ask("POST", self._endpoint("token_endpoint"), data=form, auth=known if known[1] else None)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcFailed("the answer has no ID token", code="oidc-token")
        return token

    def _claims(self, token: str, question: OidcQuestion) -> Mapping[str, Any]:
        """The claims of an ID token that is signed by the issuer, for us, for this flow."""
        options: Any = {"iss": {"essential": True, "value": self.settings.issuer}}
        options["aud"] = {"essential": True, "value": self.settings.client_id}
        params = {"nonce": question.nonce, "client_id": self.settings.client_id}
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
        body, limit = b"", WholeTime(WHOLE)
        asked: dict[str, Any] = {
            "headers": {"Accept": "application/json"},
            "extensions": dict(limit.extensions),
            **more,
        }
        try:
            with (
                closing(limit),
                httpx.Client(verify=_trust(self.settings.ca), timeout=PATIENCE, follow_redirects=False) as client,
                limit,
                client.stream(method, url, **asked) as answer,
            ):
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > LARGEST:
                        raise OidcFailed("the issuer answers without end", code="oidc-answer")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if limit.is_over:
                raise OidcFailed("the issuer answers without end", code="oidc-answer") from None
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


def _part(secret: str, name: str) -> str:
    """43 characters that nobody can make, or turn back, without the secret (HMAC-SHA-256)."""
    made = hmac.new(secret.encode(), name.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def _trust(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca) if ca else None)
