"""Looks passwords up in a file of breached ones that a site keeps (OWASP ASVS 5.0 §6.2.4, §6.2.12).

The file is that of Have I Been Pwned: a line for each password with its SHA-1 as 40 hex digits, and `:` with a count
behind it, in the order of the hashes. It may have any size: it is never read whole, about thirty places are looked at.
No password leaves the machine. SHA-1 protects nothing here; it is how the list is written.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from broker.errors import BrokerError

LINE = 100  # bytes; the longest line of such a list has 52
_HASH = re.compile(rb"([0-9A-Fa-f]{40})(?::\d{1,12})?\r?\n?\Z")


class BreachedListUnreadable(BrokerError):
    """The file is not there, cannot be read, or is no list of hashes in their order. The text names no password."""

    code = "breached-list"


class BreachedPasswords:
    """The list of a site; without a file nothing is on it."""

    def __init__(self, file: Path | None) -> None:
        """`file`: of hashes in their order."""
        self._file = file

    def check(self) -> None:
        """Look at the beginning of the file. Raises BreachedListUnreadable."""
        if self._file is not None:
            self._look(self._file, b"0" * 40)

    def has(self, password: str) -> bool:
        """Whether a password is on the list. Raises BreachedListUnreadable."""
        if self._file is None:
            return False
        wanted = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
        return self._look(self._file, wanted.encode("ascii"))

    def _look(self, file: Path, wanted: bytes) -> bool:
        try:
            with file.open("rb") as opened:
                return _found(opened, wanted)
        except OSError as error:
            raise BreachedListUnreadable(f"cannot be read ({type(error).__name__})") from None


def _found(file: BinaryIO, wanted: bytes) -> bool:
    """Halve the part of the file in which the line must begin, until it is one line."""
    first = _hash_at(file, 0)
    if first is None:
        raise BreachedListUnreadable("it is empty")
    low, high = 0, file.seek(0, 2)  # a line that begins at `low` or before has at most the wanted hash
    if wanted <= first:
        return wanted == first
    while high - low > 1:
        middle = (low + high) // 2
        found = _hash_at(file, middle)
        if found is None or found > wanted:
            high = middle
        elif found == wanted:
            return True
        else:
            low = middle
    return False


def _hash_at(file: BinaryIO, place: int) -> bytes | None:
    """The hash of the first line that begins at a place or behind it; None behind the last one."""
    file.seek(max(0, place - 1))
    if place:
        _line(file)  # the end of the line before
    line = _line(file)
    if not line:
        return None
    match = _HASH.match(line)
    if match is None:
        raise BreachedListUnreadable("a line is no SHA-1 of 40 hex digits")
    return match[1].upper()


def _line(file: BinaryIO) -> bytes:
    line = file.readline(LINE)
    if len(line) == LINE:
        raise BreachedListUnreadable("a line is too long")
    return line
