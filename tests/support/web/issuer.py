"""A small OpenID Connect issuer of our own: it signs in whom the test wants, and misbehaves as the test wants."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "broker", "a secret of the tests"
_KEY = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"})
_OTHER = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"})


class Issuer:
    """What the issuer says. `claims` and `header` change its ID tokens, `answers` replaces whole answers by path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.claims: dict[str, Any] = {"sub": "s-1", "preferred_username": "ben", "groups": ["broker-viewers"]}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.key = _KEY
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self._questions: dict[str, dict[str, str]] = {}  # by code

    def foreign_key(self) -> None:
        """Sign with a key that is not the issuer's."""
        self.key = _OTHER

    def authorize(self, url: str) -> dict[str, str]:
        """What a browser brings back from the address that the broker sent it to."""
        question = dict(parse_qsl(urlsplit(url).query))
        code = f"code-{len(self._questions)}"
        self._questions[code] = question
        return {"state": question["state"], "code": code, "iss": self.address}

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        """Status and body of an answer to the broker."""
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            found: Any = {name: f"{self.address}/{path}" for name, path in names.items()} | {"issuer": self.address}
        elif path == "/keys":
            found = {"keys": [_KEY.as_dict(private=False)]}
        elif path == "/token":
            return self._token(form, authorization)
        else:
            return 404, b"{}"
        return 200, json.dumps(found).encode()

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        question = self._questions.pop(form.get("code", ""), None)
        known = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if question is None or authorization != known or challenge != question["code_challenge"]:
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": question["nonce"]}
        token = jwt.encode(self.header, claims | self.claims, self.key, algorithms=[self.header["alg"]])
        return 200, json.dumps({"access_token": "x", "token_type": "Bearer", "id_token": token}).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._serve({name: values[0] for name, values in parse_qs(body).items()})

        def _serve(self, form: dict[str, str]) -> None:
            url = urlsplit(self.path)
            if url.path == "/authorize":
                back = issuer.authorize(self.path)
                place = dict(parse_qsl(url.query))["redirect_uri"]
                self.send_response(302)
                self.send_header("Location", f"{place}?{urlencode(back)}")
                self.end_headers()
                return
            status, body = issuer.answer(url.path, form, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
