"""Says whether two descriptions can be of one person: name, birth date and sex. An empty value says nothing."""

from __future__ import annotations

import re

from broker.dicom.dataset.folding import fold_for_search
from broker.model.order import Document

_WORDS = re.compile(r"[^\w]+")
KEYWORDS = ("PatientName", "PatientBirthDate", "PatientSex")
_LEAST = 3  # letters of a word that may be the beginning of another: devices cut names


def differ(one: Document, other: Document) -> bool:
    """True if they look like two persons.

    They do if two of name, birth date and sex contradict, or one of name and birth date while nothing agrees. A name
    alone may have been corrected, married or typed.
    """
    pairs = [(one.get(keyword, ""), other.get(keyword, "")) for keyword in KEYWORDS]
    names, births, sexes = pairs
    told = {
        "name": _same_name(*names) if all(names) else None,
        "birth": births[0] == births[1] if all(births) else None,
        "sex": sexes[0] == sexes[1] if all(sexes) and "O" not in sexes else None,
    }
    against = [key for key, same in told.items() if same is False]
    return len(against) > 1 or (against in (["name"], ["birth"]) and True not in told.values())


def _same_name(one: str, other: str) -> bool:
    """True if all words of one writing of a name are in a writing of the other, in any order, perhaps cut."""
    writings = [[_words(group) for group in fold_for_search(name).split("=")] for name in (one, other)]
    pairs = [(mine, its) for mine in writings[0] for its in writings[1] if mine and its]
    return not pairs or any(_within(mine, its) or _within(its, mine) for mine, its in pairs)


def _words(group: str) -> list[str]:
    return [word for word in _WORDS.split(group) if word]


def _within(few: list[str], many: list[str]) -> bool:
    return all(any(_same_word(word, other) for other in many) for word in few)


def _same_word(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (long.startswith(short) and (len(short) >= _LEAST or len(short) == 1))
