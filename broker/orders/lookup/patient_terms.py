"""Makes the words that people find patients by: those of their names, folded, and the birth date.

A name is folded as the columns are that C-FIND searches: without case, accents and strokes. Each component of each
component group is found by its beginning. A group of ideographs or of their sound is also found as it is written
without spaces.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.dicom.dataset.folding import fold_for_search
from broker.model.order import Document, Patient

MOST = 24  # words of one patient
LONGEST = 64  # characters of a word
BORN = "="  # stands before a birth date, and never in a word
_BREAKS = str.maketrans(dict.fromkeys("^=,.'’-", " "))


def words_of(text: str) -> tuple[str, ...]:
    """The folded words of a text, each once."""
    words = fold_for_search(text).translate(_BREAKS).split()
    return tuple(dict.fromkeys(word[:LONGEST] for word in words))[:MOST]


def terms_of(attributes: Document) -> tuple[str, ...]:
    """What a patient with these attributes is found by."""
    name, born = attributes.get("PatientName") or "", attributes.get("PatientBirthDate") or ""
    groups = name.split("=")
    joined = ("".join(words_of(group))[:LONGEST] for group in groups[1:])
    found = dict.fromkeys([*words_of(name), *(word for word in joined if word)])
    return (*tuple(found)[:MOST], *([BORN + born] if born.isdigit() else []))


def news(before: Patient | None, after: Patient) -> tuple[str, ...] | None:
    """What a known patient is found by from now on; None if that has not changed, and for a new one (`term_walk`)."""
    if before is None:
        return None
    terms = terms_of(after.attributes)
    return None if terms_of(before.attributes) == terms else terms


def fit(attributes: Document, beginnings: Iterable[str]) -> bool:
    """A patient with these attributes is found by all of these beginnings."""
    terms = terms_of(attributes)
    return all(any(term.startswith(beginning) for term in terms) for beginning in beginnings)
