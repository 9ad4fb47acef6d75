"""Decides which passwords are taken (OWASP ASVS 5.0 §6.2).

Long ones of any characters; nothing demands digits or signs. Refused is what people take first: the commonest
passwords also with something appended, words of this place, runs of the keyboard, one part again and again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from enum import StrEnum
from functools import cache
from itertools import pairwise

SHORTEST, LONGEST = 12, 128  # characters; ASVS §6.2.1 and §6.2.9 demand at least 8, and that 64 are taken
OF_THIS_PLACE = ("broker", "worklist", "hospital", "radiology", "dicom", "modality", "pacs")
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm")
_LOOKS = str.maketrans("013457@$!€", "oleastasie")
_TAIL = re.compile(r"^[\W\d_]+|[\W\d_]+$")


class PasswordFault(StrEnum):
    """Why a password is refused."""

    SHORT = "short"
    LONG = "long"
    PATTERN = "pattern"  # a run of the keyboard, or one part again and again
    COMMON = "common"  # one of the commonest, or one with something appended
    OWN_WORDS = "own-words"  # made of names of the user or of words of this place


def fault_of(password: str, words: Collection[str] = ()) -> PasswordFault | None:
    """Why a password is not taken, None if it is. `words`: names of the user, which it must not be made of."""
    if len(password) < SHORTEST:
        return PasswordFault.SHORT
    if len(password) > LONGEST:
        return PasswordFault.LONG
    plain = unicodedata.normalize("NFKC", password).lower()
    if _is_repeated(plain) or _is_run(plain):
        return PasswordFault.PATTERN
    own = {word.lower() for word in words if len(word) > 2}
    for core in {plain, _TAIL.sub("", plain), _TAIL.sub("", plain).translate(_LOOKS), plain.translate(_LOOKS)}:
        if core in _common():
            return PasswordFault.COMMON
        if _is_made_of(core, own.union(OF_THIS_PLACE)):
            return PasswordFault.OWN_WORDS
    return None


@cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # 13 MiB, which a broker without new passwords does not need

    return frozenset(FREQUENCY_LISTS["passwords"])


def _is_repeated(text: str) -> bool:
    """One part of at most a third of the length, again and again."""
    return any(
        text == (text[:size] * (len(text) // size + 1))[: len(text)] for size in range(1, len(text) // 3 + 1)
    ) or (len(text) % 2 == 0 and text[: len(text) // 2] == text[len(text) // 2 :])


def _is_run(text: str) -> bool:
    """Nearly each character stands beside the one before it on the keyboard or in the alphabet."""
    pairs = {pair for run in _RUNS for way in (run, run[::-1]) for pair in pairwise(way)}
    steps = sum(pair in pairs or pair[0] == pair[1] for pair in pairwise(text))
    return steps >= 0.8 * (len(text) - 1)


def _is_made_of(text: str, words: Collection[str]) -> bool:
    """Not more than three letters are left once the words that stand in it are taken out."""
    rest = text
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != text and len(re.sub(r"[\W\d_]", "", rest)) <= 3
