"""Laws about values, on generated messages: no text that a mapping reads disappears or changes without a finding.

200 examples of each, 25 of each source; with `BROKER_FULL=1` 10,000 and 1,000.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.orders.intake import ZONE
from support.orders.values import message_of, texts
from support.scale import scaled

from broker.hl7 import message as hl7
from broker.orders.core.values import Conversion, OrderChange
from broker.orders.inbound import orm
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import FieldSource, FieldType, MappedAttribute
from broker.orders.mapping.representations import LINES

EXAMPLES = settings(max_examples=scaled(200, 10_000), deadline=None)
IHE = built_in()
SOURCES = [
    (section, attribute, source)
    for section in ("patient", "visit", "request", "procedure", "step")
    for attribute in IHE.sections[section]
    for source in attribute.sources
    if source.kind is not FieldType.MEASURE
]
NAMES = {FieldType.XPN: 0, FieldType.XCN: 1, FieldType.CN: 1}  # parts before the family name


def converted(source: FieldSource, text: str, attribute: MappedAttribute) -> Conversion:
    others = [other.path for other in attribute.sources if other.path != source.path]
    raw = message_of(source.path, text, source.kind, without=others)
    return orm.convert(hl7.parse(raw), IHE, ZONE)


def value_in(conversion: Conversion, section: str, keyword: str) -> Any:
    (change,) = conversion.changes
    assert isinstance(change, OrderChange)
    procedure = change.procedures[0]
    step = procedure.steps[0]
    own = {
        "AccessionNumber": change.accession,
        "StudyInstanceUID": procedure.study_instance_uid,
        "ScheduledStationAETitle": list(step.stations),
    }
    if keyword in own:
        return own[keyword] or None
    held = {
        "patient": change.patient.attributes,
        "visit": change.visit,
        "request": change.request,
        "procedure": procedure.attributes,
        "step": step.attributes,
    }
    return held[section].get(keyword)


def plain(text: str, vr: str) -> str:
    """A text as an attribute may hold it: the documented normalisation."""
    if vr in LINES:
        return text.strip(" \t\r\n")
    one_line = re.sub(r"[\\\t\r\n]", " ", text).strip(" ")
    return one_line.upper() if vr == "CS" else one_line


def moment_of(text: str, *, calendar: bool) -> tuple[str, str]:
    """Date and time of a text on the clock of the site; empty for none. An offset moves no date of the `calendar`."""
    found = re.fullmatch(r"(\d{8})(\d\d)?(\d\d)?(\d\d)?(?:\.(\d+))?([+-]\d{4})?", text.strip(), re.ASCII)
    if not found:
        return "", ""
    day, *clock, fraction, offset = found.groups()
    digits = "" if calendar else "".join(part or "" for part in clock)
    kept = (fraction or "").rstrip("0")
    try:
        moment = datetime.strptime(day + digits.ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - the clock of the site
        if offset and digits and not calendar:
            moment = datetime.strptime(f"{day}{digits:0<6}{offset}", "%Y%m%d%H%M%S%z").astimezone(ZONE)
    except (ValueError, OverflowError):
        return "", ""
    date = f"{moment.year:04}{moment:%m%d}"
    return date, f"{moment:%H%M%S}" + (f".{kept}" if kept else "") if digits else ""


def letters(text: str) -> str:
    return re.sub(r"[\^=\\\s&]", "", text)


def known_elsewhere(attribute: MappedAttribute, source: FieldSource, text: str) -> bool:
    """Whether the table of another attribute of the same field has a text, as of PV1-15."""
    return any(
        text.strip().upper() in IHE.values.get(other.keyword, {})
        for _, other, place in SOURCES
        if place.path == source.path and other.keyword != attribute.keyword
    )


def expected(attribute: MappedAttribute, source: FieldSource, text: str, value: Any) -> bool:
    """Whether a value is what its text says."""
    keyword, vr, kind = attribute.keyword, attribute.vr, source.kind
    if text.strip() == '""' and kind is FieldType.CODE and source.path.component:
        return True  # without a code in this part of the field, that of the next source counts
    if text.strip() == '""':
        return value in ("", [], None)
    if table := IHE.values.get(keyword):
        entry = table.get(text.strip().upper(), table.get("*", text.strip()))
        entry = entry if isinstance(entry, int) else plain(entry, vr)
        if value is None and known_elsewhere(attribute, source, text):
            return True
        known = text.strip().upper() in table or "*" not in table
        return known and (value == entry or value == [entry])
    if vr in ("DA", "TM"):
        day, clock = moment_of(text, calendar=keyword == "PatientBirthDate")
        return bool(day) and (value == day if vr == "DA" else (value or "000000") == (clock or "000000"))
    if kind in NAMES:
        names = value if isinstance(value, list) else [value or ""]
        return letters("".join(names)) == letters(text)
    if kind is FieldType.CODE:
        return bool(value) and text.strip() in (value[0].get("CodeValue"), value[0].get("LongCodeValue"))
    if vr == "SQ":
        return bool(value) and any(text.strip() in item.values() for item in value)
    if attribute.multiple:
        return value == [plain(text, vr)]
    return value == plain(text, vr)


@pytest.mark.parametrize(
    ("section", "attribute", "source"),
    [pytest.param(*one, id=f"{one[1].keyword}-{one[2].text}") for one in SOURCES],
)
def test_a_text_gives_its_value_or_a_finding(section: str, attribute: MappedAttribute, source: FieldSource) -> None:
    """L1 and L7, for each source of the built-in profile."""

    @settings(max_examples=scaled(25, 1_000), deadline=None)
    @given(texts())
    def holds(text: str) -> None:
        conversion = converted(source, text, attribute)
        place = f"{source.path.segment}^1^{source.path.field}"
        found = [finding for finding in conversion.findings if finding.location == place]
        value = value_in(conversion, section, attribute.keyword) if conversion.changes else None
        assert not text.strip() or found or expected(attribute, source, text, value), (text, value, conversion.findings)

    holds()


@EXAMPLES
@given(
    st.sampled_from(SOURCES),
    texts(),
)
def test_a_text_gives_a_finding_only_once(one: tuple[str, MappedAttribute, FieldSource], text: str) -> None:
    _, attribute, source = one
    found = converted(source, text, attribute).findings
    assert len(found) == len(set(found))


@EXAMPLES
@given(
    st.decimals(0, 400, places=2).map(str),
    st.sampled_from(["kg", "g", "lb", "oz", "st", "", "KG", "[lb_av]", "m", "?"]),
    st.sampled_from([".", ","]),
    st.sampled_from(["", "D", "F", "W"]),
)
def test_a_weight_gives_its_value_or_a_finding(number: str, unit: str, separator: str, status: str) -> None:
    written = number.replace(".", separator)
    obx = f"OBX|1|NM|29463-7^Body weight^LN||{written}|{unit}|||||{status}"
    conversion = orm.convert(hl7.parse(message_of(None, "", FieldType.PLAIN) + b"\r" + obx.encode()), IHE, ZONE)
    weight = value_in(conversion, "patient", "PatientWeight")
    found = [finding for finding in conversion.findings if finding.location == "OBX^1^5"]
    factor = {"kg": 1, "g": 0.001, "lb": 0.45359237, "[lb_av]": 0.45359237, "oz": 0.028349523125}.get(unit.lower())
    assert (weight is None) == bool(found)
    if weight is not None:
        assert factor is not None
        assert 0.2 <= float(weight) <= 650
        assert float(weight) == pytest.approx(float(number) * factor, rel=1e-4)
