"""Recovery codes: each stands once for a code of the app, if the telephone is lost.

A code has 120 random bits, so that a plain hash of it can be stored (OWASP ASVS 5.0 §6.5.2). Its letters are those that
nobody confuses (Crockford's base32), in groups. Pure.
"""

from __future__ import annotations

import hashlib
import re
import secrets

COUNT = 10  # codes of one person
LETTERS, LENGTH, GROUP = "0123456789abcdefghjkmnpqrstvwxyz", 24, 4
_CODE = re.compile(rf"[{LETTERS}]{{{LENGTH}}}\Z")
_READ_AS = str.maketrans("oil", "011")  # what people read in their place
_LONGEST = 100  # characters that are looked at


def new_codes() -> list[str]:
    """Codes as they are shown once."""
    made = ("".join(secrets.choice(LETTERS) for _ in range(LENGTH)) for _ in range(COUNT))
    return ["-".join(code[place : place + GROUP] for place in range(0, LENGTH, GROUP)) for code in made]


def digest_of(text: str) -> bytes | None:
    """What is stored of a code, with capitals, blanks or without hyphens. None for what is none."""
    code = re.sub(r"[\s-]", "", text[:_LONGEST]).lower().translate(_READ_AS)
    return hashlib.sha256(code.encode()).digest() if _CODE.match(code) else None
