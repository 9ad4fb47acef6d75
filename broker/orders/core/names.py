"""Converts person names from HL7 XPN, XCN and CN to DICOM PN (PS3.5 6.2.1), and folds names for searching."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from broker.dicom.dataset.transliterate import LETTERS
from broker.hl7.message import Repetition, undeleted

GROUP = 64  # characters of one component group of PN
_GROUPS = "AIP"
_BREAK = str.maketrans({"^": " ", "=": " ", "\\": " ", "\t": " ", "\r": " ", "\n": " "})


def fold(name: str) -> str:
    """A name for searching: without case, accents, strokes of letters (`LETTERS`) and padding.

    Components are stripped of spaces, groups of trailing `^`, the name of trailing empty groups.
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold().translate(LETTERS)
    groups = ("^".join(part.strip() for part in group.split("^")).rstrip("^") for group in plain.split("="))
    return "=".join(groups).rstrip("=")


def from_components(parts: Sequence[str]) -> str:
    """One group of PN from family, given, middle, suffix, prefix, degree (the order of HL7)."""
    family, given, middle, suffix, prefix, degree = (
        " ".join(undeleted(part).translate(_BREAK).split()) for part in (*parts[:6], *[""] * (6 - len(parts[:6])))
    )
    # DICOM: family, given, middle, prefix, suffix
    group = "^".join((family, given, middle, prefix, " ".join(part for part in (suffix, degree) if part)))
    return group.rstrip("^")[:GROUP].rstrip("^ ")


def _six(repetition: Repetition, first: int) -> list[str]:
    # from v2.5 the family name has subcomponents, of which the first is the surname with its prefix
    return [repetition.get(first, 1), *(repetition.get(first + number) for number in range(1, 6))]


def _grouped(repetitions: Sequence[Repetition], first: int, kind: int, form: int) -> str:
    """PN of the first name and of its other writings (same name type)."""
    groups: dict[str, str] = {}
    named = [r for r in repetitions if r.text]
    if not named:
        return ""
    wanted = undeleted(named[0].get(kind))
    for repetition in named:
        letter = undeleted(repetition.get(form)) or "A"
        if letter in _GROUPS and letter not in groups and undeleted(repetition.get(kind)) == wanted:
            groups[letter] = from_components(_six(repetition, first))
    if not groups:  # a representation code of another table
        groups["A"] = from_components(_six(named[0], first))
    return "=".join(groups.get(letter, "") for letter in _GROUPS).rstrip("=")


def to_xpn(name: str) -> list[tuple[str, list[str]]]:
    """The writings of a PN as XPN, by their type A, I or P: family, given, middle, suffix, prefix (HL7 2.5.1 §2.A.88).

    DICOM has prefix before suffix; empty writings are left out.
    """
    found: list[tuple[str, list[str]]] = []
    for letter, group in zip(_GROUPS, name.split("="), strict=False):
        family, given, middle, prefix, suffix = (*group.split("^")[:5], *[""] * (5 - len(group.split("^")[:5])))
        if group.strip("^ "):
            found.append((letter, [family, given, middle, suffix, prefix]))
    return found


def from_xpn(repetitions: Sequence[Repetition]) -> str:
    """PN of a repeated XPN: repetitions of type A, I and P become the three groups (HL7 2.5.1 §2.A.88)."""
    return _grouped(repetitions, first=1, kind=7, form=8)


def from_xcn(repetitions: Sequence[Repetition]) -> str:
    """PN of a repeated XCN: the identifier is dropped (HL7 2.5.1 §2.A.86)."""
    return _grouped(repetitions, first=2, kind=10, form=15)


def from_cn(parts: Sequence[str]) -> str:
    """PN of a CN whose parts are subcomponents: `id&family&given` (OBR-34.1)."""
    return from_components(parts[1:])
