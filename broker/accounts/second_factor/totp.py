"""Codes that an app shows for half a minute (TOTP, RFC 6238), as all authenticator apps make them. Pure.

SHA-1 stands for HMAC-SHA-1 here, which is sound; apps know no other one. The address that a QR code carries is that of
Google's Key URI Format, which all apps read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from urllib.parse import quote, urlencode

STEP = 30.0  # seconds of a code
DIGITS = 6
SIZE = 20  # bytes of a secret: as many as a hash has (RFC 4226 §4, R6)
EARLY = LATE = 1  # steps by which the clock of a telephone may be off (RFC 6238 §5.2)
_CODE = re.compile(r"[0-9]{6}\Z")


def new_secret() -> bytes:
    """A secret to share with an app."""
    return secrets.token_bytes(SIZE)


def looks_like_one(text: str) -> bool:
    """Whether a text can be a code."""
    return _CODE.match(text) is not None


def code_at(secret: bytes, step: int) -> str:
    """The code of a step of time (RFC 4226 §5.3)."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    place = digest[-1] & 0x0F
    number = int.from_bytes(digest[place : place + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, at: float, used: int) -> int | None:
    """The step whose code it is at `at` (s since the epoch); None for a wrong code.

    A step up to `used` counts no more: each code is good for one use (RFC 6238 §5.2).
    """
    now = int(at // STEP)
    found = None
    for step in range(now - LATE, now + EARLY + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > used:
            found = step
    return found


def spelled(secret: bytes) -> str:
    """A secret as people type it into an app that has no camera (base32)."""
    return base64.b32encode(secret).decode().rstrip("=")


def address(secret: bytes, account: str, place: str) -> str:
    """What the QR code says: `otpauth://totp/PLACE:ACCOUNT?secret=…`. `place`: as the app names this broker."""
    query = urlencode(
        {"secret": spelled(secret), "issuer": place, "digits": DIGITS, "period": int(STEP)}, quote_via=quote
    )
    return f"otpauth://totp/{quote(f'{place}:{account}', safe='')}?{query}"
