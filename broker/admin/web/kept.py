"""Seals what a person looks for, so that it can stand in the address of a list: paging, going back and a bookmark work.

The value is encrypted (AES-256-GCM) by a key of this installation and for who looks: in the history of a browser, in
the log of a proxy and in the hands of somebody else it says nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LONGEST = 16_384  # characters of a sealed text
_NONCE = 12  # bytes


class Seal:
    """Seals values and opens them again."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: of this installation."""
        self._cipher = AESGCM(hashlib.blake2b(secret, digest_size=32, person=b"kept filters").digest())

    def close(self, values: Mapping[str, str], actor: str) -> str:
        """Values as a text for an address of this person; empty for none."""
        if not values:
            return ""
        nonce, text = os.urandom(_NONCE), json.dumps(dict(values)).encode()
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, text, actor.encode())).decode()

    def open(self, text: str, actor: str) -> dict[str, str] | None:
        """The values of a text; None for one that was not made here for this person."""
        if not text or len(text) > LONGEST:
            return None if text else {}
        try:
            data = base64.urlsafe_b64decode(text)
            found: dict[str, str] = json.loads(self._cipher.decrypt(data[:_NONCE], data[_NONCE:], actor.encode()))
        except (binascii.Error, InvalidTag, ValueError):
            return None
        return found
