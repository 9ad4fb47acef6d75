"""Where identifiers come from that a message leaves out. What was given out once is kept for ever.

Generated values come from a random token of the message, so that a transaction that is run twice makes the
same ones: `2.25.` and the integer of a version 4 UUID (PS3.5 B.2), and 13 characters of base 32 (65 bits)
after a prefix for identifiers of at most 16 characters. Row numbers would do too, but are known only after the insert.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from uuid import UUID

SHORT = 16  # characters of an SH value


class Minter:
    """Makes identifiers from a random token."""

    def __init__(self, token: UUID) -> None:
        self._token = token.bytes
        self._count = 0

    def _bytes(self) -> bytes:
        self._count += 1
        return hashlib.blake2b(self._count.to_bytes(4, "big"), key=self._token, digest_size=16).digest()

    def uid(self) -> str:
        """A UID under 2.25."""
        return f"2.25.{UUID(bytes=self._bytes(), version=4).int}"

    def short(self, prefix: str) -> str:
        """An identifier of 16 characters that begins with `prefix` (at most 3)."""
        return prefix + base64.b32encode(self._bytes()).decode("ascii")[: SHORT - len(prefix)]


def _fits(number: str) -> str:
    return number if 0 < len(number) <= SHORT and "\\" not in number else ""


def accession(message: str, stored: str, filler: str, placer: str) -> str:
    """Accession number: message, stored, filler or placer order number if it fits, else empty."""
    return message or stored or _fits(filler) or _fits(placer)


def study_instance_uid(message: str, stored: str, mint: Minter) -> str:
    """Study Instance UID: message, stored, generated once."""
    return message or stored or mint.uid()


def requested_procedure_id(message: str, stored: str, accession: str, used: Collection[str], mint: Minter) -> str:
    """Requested Procedure ID: message, stored, the accession number if no other procedure has it, generated."""
    derived = _fits(accession)
    return message or stored or (derived if derived not in used else "") or mint.short("RP")


def step_id(message: str, stored: str, mint: Minter) -> str:
    """Scheduled Procedure Step ID: message, stored, generated; two steps never share one."""
    return message or stored or mint.short("SPS")


def stations(message: tuple[str, ...], stored: tuple[str, ...], default: str) -> tuple[str, ...]:
    """Scheduled Station AE Titles: message, stored, the default."""
    return message or stored or (default,)
