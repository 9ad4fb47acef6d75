"""Texts of all sorts for fields of orders, and order messages that hold one of them."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from broker.hl7.paths import Path
from broker.orders.mapping.profile import FieldType

_CODES = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
_BASE = {
    "MSH": {},
    "PID": {3: "PAT1", 5: "DOE^JANE"},
    "PV1": {2: "O"},
    "ORC": {1: "NW", 2: "P1"},
    "TQ1": {7: "20260312103000"},
    "OBR": {2: "P1", 4: "CHEST^Chest"},
    "IPC": {5: "CR"},
}
_HEAD = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||{type}|{control_id}|P|2.5.1||||||UNICODE UTF-8"


def escaped(text: str) -> str:
    """A text with the separators of HL7 escaped (HL7 2.5.1 §2.7.1)."""
    return "".join(f"\\{_CODES[c]}\\" if c in _CODES else c for c in text)


def texts() -> st.SearchStrategy[str]:
    """What senders write: codes, numbers, dates of all sorts, long texts, any characters."""
    characters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    return st.one_of(
        st.sampled_from(
            ["M", "F", "X", "male", "S", "R", "URG", "TS10", "B6", "A1", "PREG", "CT", "ct", "QQ", "CT01", '""', "N/A"]
        ),
        st.from_regex(r"[0-9]{4}([0-9]{2}){0,5}(\.[0-9]{1,4})?([+-][0-9]{4})?", fullmatch=True),
        st.from_regex(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9])([01][0-9][0-5][0-9]){0,1}", fullmatch=True),
        st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}\.[0-9]{2}\.[0-9]{4}", fullmatch=True),
        st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,5}){0,12}", fullmatch=True),
        st.text(characters, min_size=1, max_size=20),
        st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1, max_size=90),
    )


def message_of(
    place: Path | None,
    text: str,
    kind: FieldType,
    *,
    without: Iterable[Path] = (),
    control: str = "NW",
    base: dict[str, dict[int, str]] | None = None,
) -> bytes:
    """An order message with a text at one place; `without` are places that hold nothing."""
    fields = {name: dict(held) for name, held in (base or _BASE).items()}
    fields["ORC"][1] = control
    for path in without:
        held = fields.get(path.segment, {})
        if path.field in held and (path.segment, path.field) not in {("PID", 3), ("OBR", 4)}:
            del held[path.field]
    if place is not None:
        _put(fields, place, escaped(text), kind)
    lines = [_HEAD.format(type="OMI^O23^OMI_O23", control_id="C1")]
    for name, held in fields.items():
        if name == "MSH":
            continue
        last = max(held, default=0)
        lines.append("|".join([name, *(held.get(number, "") for number in range(1, last + 1))]))
        if place is not None and place.parent == name:
            lines.append(f"NTE|1||{escaped(text)}")
    return "\r".join(lines).encode()


def _put(fields: dict[str, dict[int, str]], place: Path, text: str, kind: FieldType) -> None:
    if place.parent:
        return  # notes stand behind their parent
    if kind is FieldType.CN:
        text = f"1&{text}"
    elif kind is FieldType.XCN:
        text = f"1^{text}"
    elif kind is FieldType.CX_QUALIFIERS:
        text = f"PAT1^^^&{text}&ISO"
    elif kind is FieldType.OTHER_IDS:
        text = f"PAT1~{text}" if place.field == 3 else text
    component, subcomponent = place.component or 1, place.subcomponent or 1
    parts = [""] * (component - 1) + ["&" * (subcomponent - 1) + text]
    held = fields.setdefault(place.segment, {})
    before = held.get(place.field, "").split("^") if place.component > 1 else []
    parts = [new or (before[number] if number < len(before) else "") for number, new in enumerate(parts)]
    held[place.field] = "^".join(parts)
    for number in range(1, place.field):
        held.setdefault(number, "")
