"""Seals secrets that must be read again (AES-256-GCM), so that the database alone does not tell them.

The key is a file of the data folder, `seal.key`, closed to others. Who has a copy of the database has no second factor
of anybody; who has the data folder too has all of them. Each text is bound to what it is about.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import BrokerError

NONCE = 12  # bytes


class SealBroken(BrokerError):
    """The text was sealed with another key, or for something else, or was changed."""

    code = "seal"


class Seal:
    """Seals and opens with one key."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        """`key` gives the 32 bytes when they are needed. It raises Unavailable while they cannot be kept."""
        self._key = key

    def close(self, plain: bytes, about: str) -> bytes:
        """Seal a text that is about something. Raises Unavailable."""
        nonce = os.urandom(NONCE)
        return nonce + AESGCM(self._key()).encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """The text. Raises SealBroken, Unavailable."""
        try:
            return AESGCM(self._key()).decrypt(sealed[:NONCE], sealed[NONCE:], about.encode())
        except (InvalidTag, ValueError):
            raise SealBroken from None
