"""Folds text for comparing: without case, accents, strokes and compatibility forms.

A Latin letter without a decomposition is the plain one (ł is l, ø is o, æ is ae: `transliterate.LETTERS`). Marks that
make another letter stay (voiced kana, Thai tone marks), and a syllable of Hangul is one character.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from broker import telemetry
from broker.dicom.dataset.transliterate import LETTERS

WIDE = "゠˄"  # what stands for wide signs whose compatibility forms are delimiters of names
_SIGNS = str.maketrans({"＝": "゠", "﹦": "゠", "⁼": "゠", "₌": "゠", "≠": "゠", "＾": "˄"})


def fold_text(text: str) -> str:
    """Text as it is compared."""
    plain = text.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = unicodedata.normalize("NFC", "".join(c for c in plain if not _accent(c)))
        plain = plain.casefold().translate(LETTERS)
    return plain


def fold_name(name: str) -> str:
    """A name as it is compared: folded, without padding of components and trailing `^` and `=` (PS3.5 6.2.1)."""
    return trim_name(fold_text(name if name.isascii() else name.translate(_SIGNS)))


def fold_for_search(name: str) -> str:
    """A name as the columns have it that searches go by: without combining marks. What they find is compared again."""
    plain = name.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold().translate(LETTERS)
    return trim_name(plain)


def trim_name(name: str) -> str:
    """A name without padding of its components and without `^` and `=` that nothing follows."""
    groups = ("^".join(part.strip() for part in group.split("^")).rstrip("^") for group in name.split("="))
    return "=".join(groups).rstrip("=")


@lru_cache(4096)
def _accent(char: str) -> bool:
    """Marks above and below letters (classes 200 and up, 1) and the points of Hebrew and Arabic (10 to 35)."""
    kind = unicodedata.combining(char)
    return kind >= 200 or kind == 1 or 10 <= kind <= 35


telemetry.count_entries("accents", _accent)
