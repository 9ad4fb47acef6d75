"""Makes the secrets of sessions and links, and the hashes by which they are found again.

A secret is 256 random bits. Only its SHA-256 is stored: nothing can be guessed from that, as it could be from the hash
of a password (OWASP ASVS 5.0 §7.2.3, §11.4).
"""

from __future__ import annotations

import hashlib
import re
import secrets

_FORM = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def new_secret() -> str:
    """43 characters that stand in cookies and addresses as they are."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether it is worth a look into the database."""
    return _FORM.match(text) is not None


def digest_of(text: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(text.encode()).digest()
