"""Reads the values that a `tag.` field means from the elements of an object. Decodes only what is asked for."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping

from pydicom.charset import python_encoding

from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET, TEXT_VRS, dictionary_vr
from broker.dicom.dataset.scan import DataSetScan, RawElement, items_of
from broker.errors import BadContent
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.tag_paths import COMPONENTS, EACH, GROUPS, PREFIX, PathStep, TagPath, tag_path

MAX_TEXT, MAX_VALUES = 1024, 64
Elements = Mapping[int, RawElement]
Values = tuple[str | float, ...]
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_ESCAPE = re.compile(r"\x1b[ -/]+[0-~]")  # ISO 2022 designations that a codec left in the text
_SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_BLOCKS = range(0x10, 0x100)  # of private elements in a group (PS3.5 7.8.1)


def tags_for(field: str) -> Iterator[int]:
    """The top-level tags that a field needs; none for one that is no `tag.` field. Raises NoSuchField."""
    if not field.startswith(PREFIX):
        return
    step = tag_path(field).steps[0]
    if not step.creator:
        yield step.tag
        return
    group = step.tag & 0xFFFF0000
    for block in _BLOCKS:
        yield group | block
        yield group | block << 8 | (step.tag & 0xFF)


class ElementReader:
    """Reads fields of one object; sequences that several fields go through are entered once."""

    def __init__(self, scanned: DataSetScan) -> None:
        self._scan = scanned
        self._items: dict[int, list[Elements]] = {}

    def read(self, field: str) -> Iterator[tuple[str, Values]]:
        """The field with its values, if it has any; for `[*]` one for each item. What cannot be read is not there."""
        path = tag_path(field)
        if not any(step.index == EACH for step in path.steps):
            if found := self._of_kind(field, path, self._scan.elements, path.steps):
                yield field, found
            return
        yield from self._each(field, path, self._scan.elements, path.steps, field)

    def _each(
        self, field: str, path: TagPath, elements: Elements, steps: tuple[PathStep, ...], name: str
    ) -> Iterator[tuple[str, Values]]:
        """The values in each item, under a name that says which. The first steps with `[*]` are counted through."""
        before, star, after = name.partition("[*]")
        if not star:
            if found := self._of_kind(field, path, elements, steps):
                yield name, found
            return
        place = next(number for number, step in enumerate(steps) if step.index == EACH)
        holders = self._reached(elements, steps[:place])
        items = [item for holder in holders for item in self._entered(holder, steps[place])]
        for number, item in enumerate(items, 1):
            yield from self._each(field, path, item, steps[place + 1 :], f"{before}[{number}]{after}")

    def _of_kind(self, field: str, path: TagPath, elements: Elements, steps: tuple[PathStep, ...]) -> Values:
        kind = kind_of(field)
        holders = self._reached(elements, steps[:-1])
        last = steps[-1]
        if kind == FieldKind.ITEMS:
            count = sum(len(self._entered(holder, last)) for holder in holders)
            return (float(count),) if count else ()
        values = [value for holder in holders for value in self._values(holder, last)]
        if path.part:
            values = [text for value in values if isinstance(value, str) for text in _part(value, path.part)]
        return tuple(_of_kind(kind, values))[:MAX_VALUES]

    def _reached(self, elements: Elements, steps: tuple[PathStep, ...]) -> list[Elements]:
        """The elements of all items that these steps lead to."""
        holders: list[Elements] = [elements]
        for step in steps:
            holders = [item for holder in holders for item in self._entered(holder, step)][:MAX_VALUES]
        return holders

    def _entered(self, holder: Elements, step: PathStep) -> list[Elements]:
        """The items of a sequence, or the one that the step means; none of what is no sequence."""
        element = _found(holder, step)
        if element is None:
            return []
        key = id(element)
        if key not in self._items:
            try:
                self._items[key] = list[Elements](items_of(element, self._scan))
            except BadContent:
                self._items[key] = []
        items = self._items[key]
        return items[step.index - 1 : step.index] if step.index > 0 else items

    def _values(self, holder: Elements, step: PathStep) -> list[str | float]:
        """The values of an element, or the one that the step means. Empty ones are counted, and are not there."""
        element = _found(holder, step)
        if element is None or not element.value:
            return []
        values = element_values(element, self._scan.big_endian, self._charset(holder))
        if step.index:
            values = values[step.index - 1 : step.index]
        return [value for value in values if value != ""]

    def _charset(self, holder: Elements) -> RawElement | None:
        """The character set of an item, else that of the object (PS3.3 C.12.1.1.2)."""
        return holder.get(SPECIFIC_CHARACTER_SET) or self._scan.elements.get(SPECIFIC_CHARACTER_SET)


def _found(holder: Elements, step: PathStep) -> RawElement | None:
    if not step.creator:
        return holder.get(step.tag)
    group = step.tag & 0xFFFF0000
    for block in _BLOCKS:
        creator = holder.get(group | block)
        if creator is not None and ascii_text(creator) == step.creator:
            found = holder.get(group | block << 8 | (step.tag & 0xFF))
            return found._replace(vr=step.vr) if found is not None and found.vr in ("", "UN") else found
    return None


def _part(name: str, part: str) -> list[str]:
    """A component of each component group of a name, or one of the groups (PS3.5 6.2.1.2)."""
    groups = name.split("=")
    if part in GROUPS:
        found = groups[GROUPS.index(part) :][:1]
    else:
        place = COMPONENTS.index(part)
        found = [component for group in groups for component in group.split("^")[place : place + 1]]
    return [text.strip() for text in found if text.strip()]


def _of_kind(kind: FieldKind, values: list[str | float]) -> Iterator[str | float]:
    """Values of the kind that the field has in the catalogue, whatever VR the device wrote."""
    for value in values:
        if kind != FieldKind.NUMBER:
            if isinstance(value, str):
                yield value
            continue
        number = _decimal(value) if isinstance(value, str) else value
        if number is not None:
            yield number


def ascii_text(element: RawElement | None) -> str:
    """The text of an element without its padding; empty for none."""
    return element.value.decode("latin-1").strip(" \0").replace("\0", "") if element else ""


def element_values(element: RawElement, big_endian: bool, charset: RawElement | None) -> list[str | float]:
    """All values of an element in their places, empty ones as empty text; of binary ones those that are numbers."""
    vr = element.vr
    if not vr or vr == "UN":
        vr = dictionary_vr(element.tag).split(" ")[0] or "UN"
    if vr in _BINARY:
        return list(_numbers(element.value, (">" if big_endian else "<") + _BINARY[vr]))
    text = _decode(element.value, charset, vr)
    parts = [text] if vr in _SINGLE_VALUED else text.split("\\")[:MAX_VALUES]
    return [part.strip(" \0")[:MAX_TEXT].replace("\0", "") for part in parts]


def _numbers(value: bytes, code: str) -> Iterator[float]:
    size = struct.calcsize(code)
    count = min(len(value) // size, MAX_VALUES)
    numbers = (float(struct.unpack_from(code, value, i * size)[0]) for i in range(count))
    return (number for number in numbers if math.isfinite(number))


def _decimal(text: str) -> float | None:
    """A DS or IS value (PS3.5 6.2); Python's own reading would also take `nan` and `1_000`."""
    if len(text) > 24 or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _decode(value: bytes, charset: RawElement | None, vr: str) -> str:
    """Text by Specific Character Set; undecodable bytes become replacement characters, never an error."""
    if vr not in TEXT_VRS:
        return value.decode("latin-1")
    terms = ascii_text(charset).split("\\")
    codec = python_encoding.get(terms[-1].strip(), "latin-1")  # with ISO 2022 the last term holds the escapes
    return _ESCAPE.sub("", value.decode(codec, "replace"))
