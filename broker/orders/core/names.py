"""Converts person names from HL7 XPN, XCN and CN to DICOM PN (PS3.5 6.2.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from broker.hl7.message import DELETE, Repetition, undeleted

GROUP = 64  # characters of one component group of PN
_GROUPS = "AIP"
_BREAK = str.maketrans({"^": " ", "=": " ", "\\": " ", "\t": " ", "\r": " ", "\n": " "})
_HAN, _KANA, _HANGUL = "han", "kana", "hangul"
_IDEOGRAPHS = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANAS = re.compile("[\u3000\u3040-\u30ff\u31f0-\u31ff]")
_HANGULS = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_ALPHABETIC = ((), ("",), ("A",))  # representation codes of a name that has no other writing
_OTHER = frozenset("^=\\")  # a name in DICOM holds none of them (PS3.5 6.2.1)
CUT = f"Name is longer than {GROUP} characters and is cut"
RECODED = "Name holds a backslash or a separator of names in DICOM: a space stands for it"
SEVERAL = "Several names of one kind: the first is used"
NOT_USED = "Only names that are not to be used (by their type): none is taken"


class Writings(StrEnum):
    """Says to which component group of PN a writing goes that has no representation code (XPN-8, HL7 table 4000).

    Writings of one name that differ in script go by their script, but for `DECLARED`.
    """

    DECLARED = "declared"  # the first one is the alphabetic group, as HL7 has it
    JAPANESE = "japanese"  # by script where kanji are reached by escapes (ISO IR87, IR159), else as declared
    SCRIPT = "script"  # by script


@dataclass(frozen=True, slots=True)
class NameTypes:
    """Says which of several names is taken, by their type (XPN-7, XCN-10; HL7 table 0200), and how it is grouped.

    The first of `order` that is there: "" is a name without a type, `*` one of any other type. One of `never` is no
    name (NOUSE: HL7 2.7 and later, BAD: 2.9).
    """

    order: tuple[str, ...] = ("L", "D", "", "*")
    never: tuple[str, ...] = ("NOUSE", "BAD")
    writings: Writings = Writings.JAPANESE


USUAL = NameTypes()


class ReadName(NamedTuple):
    """A PN as read from a message, empty if there is none, and in what it differs from the message."""

    text: str = ""
    doubts: tuple[str, ...] = ()


def from_components(parts: Sequence[str]) -> str:
    """One group of PN from family, given, middle, suffix, prefix, degree (the order of HL7)."""
    return _group(parts).text


def _group(parts: Sequence[str]) -> ReadName:
    given_parts = [undeleted(part) if DELETE in part else part for part in (*parts, "", "", "", "", "", "")[:6]]
    odd = not _OTHER.isdisjoint("".join(given_parts))
    plain = [part.translate(_BREAK) for part in given_parts] if odd else given_parts  # split takes the line breaks
    family, given, middle, suffix, prefix, degree = [" ".join(part.split()) if part else "" for part in plain]
    # DICOM: family, given, middle, prefix, suffix
    whole = "^".join((family, given, middle, prefix, " ".join(part for part in (suffix, degree) if part))).rstrip("^")
    doubts = [CUT] if len(whole) > GROUP else []
    if odd:
        doubts.append(RECODED)
    return ReadName(whole[:GROUP].rstrip("^ "), tuple(doubts))


class _Writing(NamedTuple):
    """One repetition of a name, and its components."""

    repetition: Repetition
    parts: tuple[str, ...]

    def upper(self, number: int) -> str:
        """A code in a component, from 1."""
        return undeleted(self.parts[number - 1]).strip().upper() if len(self.parts) >= number else ""

    def read(self, first: int) -> ReadName:
        """The name whose family name is component `first`."""
        return _group((_family(self.repetition, first), *self.parts[first : first + 5]))


def _family(repetition: Repetition, first: int) -> str:
    """The surname of a FN (HL7 2.5.1 §2.A.30): its first part, else the person's own prefix and surname."""
    whole = repetition.get(first, 1)
    if undeleted(whole).strip() or not repetition.get(first):
        return whole
    own = [undeleted(repetition.get(first, part)).strip() for part in (2, 3)]
    of_partner = [undeleted(repetition.get(first, part)).strip() for part in (4, 5)]
    return " ".join(filter(None, own)) or " ".join(filter(None, of_partner))


def _of_one_type(named: Sequence[_Writing], kind: int, types: NameTypes) -> list[_Writing]:
    """The writings of the name that is taken: all of its type."""
    typed = [(writing.upper(kind), writing) for writing in named]
    usable = [name_type for name_type, _ in typed if name_type not in types.never]
    for wanted in types.order:
        others = (one for one in usable if one not in types.order)
        chosen = next(others, None) if wanted == "*" else wanted
        if chosen in usable:
            return [writing for name_type, writing in typed if name_type == chosen]
    return []


def _plain(repetition: Repetition, first: int, kind: int, form: int, types: NameTypes) -> ReadName | None:
    """The short way for a name in ASCII without subcomponents and escapes, as most are. None: not for this one."""
    text, marks = repetition.text, repetition.separators
    if not text.isascii() or "&" in text or marks.escape in text or marks.subcomponent in text:
        return None
    parts = repetition.components()
    wanted = parts[kind - 1].strip().upper() if len(parts) >= kind else ""
    if wanted not in types.order or wanted in types.never or wanted == "*" or parts[form - 1 : form] not in _ALPHABETIC:
        return None
    return _group(parts[first - 1 : first + 5])


def _grouped(repetitions: Sequence[Repetition], first: int, kind: int, form: int, types: NameTypes) -> ReadName:
    """PN of the name that is taken, with its other writings (same name type)."""
    if len(repetitions) == 1 and (name := _plain(repetitions[0], first, kind, form, types)) is not None:
        return name
    held = [_Writing(repetition, repetition.components()) for repetition in repetitions if repetition.text]
    named = [one for one in held if any(undeleted(part).strip("& ") for part in one.parts[first - 1 : first + 5])]
    if not named:
        return ReadName()
    writings = _of_one_type(named, kind, types)
    groups: dict[str, ReadName] = {}
    doubts: list[str] = []
    read = [writing.read(first) for writing in writings]
    coded = [writing.upper(form) for writing in writings]
    for letter, group in zip(_letters(read, coded, writings, types.writings), read, strict=True):
        if letter in _GROUPS and groups.setdefault(letter, group).text != group.text:
            doubts.append(SEVERAL)
    if not groups and writings:  # a representation code of another table
        groups["A"] = read[0]
    doubts += [doubt for group in groups.values() for doubt in group.doubts]
    text = "=".join(groups[letter].text if letter in groups else "" for letter in _GROUPS).rstrip("=")
    return ReadName(text, tuple(dict.fromkeys(doubts if writings else [NOT_USED])))


def _letters(read: Sequence[ReadName], coded: Sequence[str], writings: Sequence[_Writing], how: Writings) -> list[str]:
    """The group of each writing: by its representation code, else by its script or as the first of HL7."""
    scripts = [code or _script(name.text) for name, code in zip(read, coded, strict=True)]
    if all(script == "A" for script in scripts):
        return scripts
    ideographic = _HAN in scripts or "I" in scripts
    phonetic = {
        _HAN: "I",
        _KANA: "P" if ideographic or "A" in scripts else "I",
        _HANGUL: "P" if ideographic else "I",  # PS3.5 I.2: beside hanja
    }
    by_script = [phonetic.get(script, script) for script in scripts]
    kanji = how is Writings.JAPANESE and any("jis" in one.repetition.codec.split("+") for one in writings)
    several = how is not Writings.DECLARED and len(set(by_script)) > 1
    return by_script if how is Writings.SCRIPT or kanji or several else [code or "A" for code in coded]


def _script(text: str) -> str:
    """The script of a writing: kana, Hangul, anything with ideographs, else `A`. Half-width kana are alphabetic.

    PS3.5 H.3.2: in the first group katakana are those of JIS X 0201, which have half the width.
    """
    if text.isascii():
        return "A"
    letters = [character for character in text if not character.isascii()]
    if any(_IDEOGRAPHS.match(character) for character in letters):
        return _HAN
    for script, pattern in ((_KANA, _KANAS), (_HANGUL, _HANGULS)):
        if letters and all(pattern.match(character) for character in letters):
            return script
    return "A"


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


def from_xpn(repetitions: Sequence[Repetition], types: NameTypes = USUAL) -> ReadName:
    """PN of a repeated XPN: repetitions of type A, I and P become the three groups (HL7 2.5.1 §2.A.88)."""
    return _grouped(repetitions, first=1, kind=7, form=8, types=types)


def from_xcn(repetitions: Sequence[Repetition], types: NameTypes = USUAL) -> ReadName:
    """PN of a repeated XCN: the identifier is dropped (HL7 2.5.1 §2.A.86)."""
    return _grouped(repetitions, first=2, kind=10, form=15, types=types)


def from_cn(parts: Sequence[str]) -> ReadName:
    """PN of a CN whose parts are subcomponents: `id&family&given` (OBR-34.1)."""
    return _group(parts[1:])
