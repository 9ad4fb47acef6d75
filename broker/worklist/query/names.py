"""Matches person names: literally without case and accents, and by likeness where a device negotiates it.

Literal (PS3.4 C.2.2.2.1): what is insensitive is ours to choose: names are folded (`dicom/dataset/folding.py`).

Fuzzy (byte 3 of extended negotiation, K.4.1.1.3.1): what matches literally matches still. Beyond that the words of a
component group come in any order, and each word asked for must be like one of the stored words: the same, its
beginning (one letter or more), alike in letters (Jaro-Winkler 0.92 and above), or alike in sound (the same Soundex or
Metaphone) and not too different in letters (0.72: Jane is not John). Umlauts and other scripts are compared in ASCII,
ideographs by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import jellyfish

from broker import telemetry
from broker.dicom.dataset.folding import fold_name
from broker.dicom.dataset.transliterate import to_ascii
from broker.wildcard import Wildcard, compile_wildcard, has_wildcard

_GROUPS = 3  # of a name: alphabetic, ideographic, phonetic (PS3.5 6.2.1.1)
_COMPONENTS = 5  # of a group: family, given, middle name, prefix, suffix
MAX_WORDS = 16  # of one group, in either name; more are left out of fuzzy matching
_LONGEST = 64
_ALIKE, _NOT_TOO_DIFFERENT = 0.92, 0.72
_BREAKS = re.compile(r"[\s^=,.'’\-゠˄]+")


@dataclass(frozen=True, slots=True)
class NameKey:
    """A person name: any of `names`, each a folded pattern per component group.

    One group is tried against all groups of the stored name; several go by position, empty ones aside.
    """

    keyword: str
    names: tuple[tuple[Wildcard | None, ...], ...]


@dataclass(frozen=True, slots=True)
class FuzzyKey:
    """A person name to be matched by likeness: any of `names`, each the words of its component groups."""

    keyword: str
    literal: NameKey
    names: tuple[tuple[tuple[str, ...], ...], ...]


def _groups(name: str) -> list[str]:
    """The component groups of a name as it is compared; what stands behind the third is one more, whatever it holds."""
    return fold_name(name).split("=", _GROUPS)


def name_pattern(text: str) -> tuple[Wildcard | None, ...]:
    """The pattern of each component group; None for an empty one. Raises BadContent for one beyond all reason."""
    return tuple(compile_wildcard(group) if group else None for group in _groups(text))


def name_words(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of each component group that has any."""
    groups = (_words(group) for group in _groups(text))
    return tuple(words for words in groups if words)


def name_fits(value: str, key: NameKey) -> bool:
    """PS3.4 C.2.2.2.1: case, accents and the kind of component group do not count for names."""
    groups = _groups(value)
    for name in key.names:
        if len(name) == 1:
            pattern = name[0]
            if pattern is not None and any(group and _fits(group, pattern) for group in groups):
                return True
        elif any(name) and all(
            pattern is None or (i < len(groups) and groups[i] != "" and _fits(groups[i], pattern))
            for i, pattern in enumerate(name)
        ):
            return True
    return False


def _fits(group: str, pattern: Wildcard) -> bool:
    """Components that are empty at the end may be left out (PS3.5 6.2.1.2): a group is tried with those asked for."""
    if pattern.matches(group):
        return True
    components = pattern.accepts.get("^", pattern.any_character).bit_count() - pattern.any_character.bit_count()
    return group.count("^") < components < _COMPONENTS and pattern.matches(
        group + "^" * (components - group.count("^"))
    )


def fuzzy_fits(value: str, key: FuzzyKey) -> bool:
    """True for a name that matches literally or is like one of those asked for."""
    if name_fits(value, key.literal):
        return True
    stored = name_words(value)
    return any(name and all(any(_like(group, words) for words in stored) for group in name) for name in key.names)


def _like(asked: tuple[str, ...], stored: tuple[str, ...]) -> bool:
    return all(any(_similar(word, other) for other in stored) for word in asked)


def _words(group: str) -> tuple[str, ...]:
    words = (to_ascii(word) or word for word in _BREAKS.split(group) if word)
    return tuple(word[:_LONGEST] for word in words)[:MAX_WORDS]


@lru_cache(65536)
def _similar(asked: str, stored: str) -> bool:
    if has_wildcard(asked):
        return compile_wildcard(asked).matches(stored)
    if stored.startswith(asked):
        return True
    if not (asked.isascii() and asked.isalpha() and stored.isascii() and stored.isalpha()) or len(asked) < 2:
        return False
    likeness = jellyfish.jaro_winkler_similarity(asked, stored)
    if likeness >= _ALIKE or likeness < _NOT_TOO_DIFFERENT:
        return likeness >= _ALIKE
    return jellyfish.soundex(asked) == jellyfish.soundex(stored) or (
        jellyfish.metaphone(asked) == jellyfish.metaphone(stored)
    )


telemetry.count_entries("similar-names", _similar)
