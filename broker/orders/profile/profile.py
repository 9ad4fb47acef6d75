"""Mapping profiles: which HL7 field becomes which DICOM attribute, and what is done about what is missing, as data.

The format is explained in `profiles/ihe.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from broker.errors import ConfigurationError
from broker.hl7.message import Path, path
from broker.orders.core import identifiers
from broker.orders.core.identifiers import Identifiers
from broker.orders.core.values import Document
from broker.orders.profile import convert, stations
from broker.orders.profile.profile_document import resolved
from broker.orders.profile.provenance import Trace
from broker.orders.profile.senders import Sender, parse_senders
from broker.orders.profile.stations import StationRule

DEFAULT = "ihe"
SECTIONS = ("patient", "visit", "request", "procedure", "step", "appointment")
TYPES = frozenset({"", "XPN", "XCN", "CN", "CE", "TEXT", "FT", "IDS", "EI", "HD", "CXQ", "MEASURE"})
SEQUENCES = frozenset({"CE", "IDS", "EI", "HD", "CXQ"})
KEYS = frozenset(
    {
        "name", "description", "senders", "values", "measures", "check", "defaults", "station", "identifiers",
        "policy", "example", *SECTIONS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A path and how to read it; `text` as written."""

    path: Path
    kind: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A DICOM attribute with its VR, whether it takes several values, and its sources in order."""

    keyword: str
    vr: str
    multiple: bool
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """Which OBX hold a measurement, and factors of units to that of DICOM."""

    codes: frozenset[str]
    texts: frozenset[str]
    units: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about a cancel or an appointment of an unknown order, an order without a start, a cancelled
    appointment, and results: those with a value of OBR-25 (table 0123) among `result_completes` complete their order.
    """

    unknown_order_cancel: Literal["park", "refuse"] = "park"
    start_missing: Literal["received", "refuse"] = "received"
    appointment_cancel: Literal["unschedule", "cancel"] = "unschedule"
    unknown_appointment: Literal["keep", "create"] = "keep"
    result_completes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A validated mapping profile. With a `trace` every value that is mapped leaves a note of its origin there."""

    name: str
    sections: Mapping[str, tuple[Attribute, ...]]
    values: Mapping[str, Mapping[str, str | int]]
    measures: Mapping[str, Measure]
    modalities: frozenset[str]
    senders: tuple[Sender, ...] = ()
    defaults: Mapping[str, Document] = field(default_factory=dict)  # by section
    stations: tuple[StationRule, ...] = ()
    identifiers: Identifiers = identifiers.DEFAULT
    policy: Policy = Policy()
    trace: Trace | None = field(default=None, compare=False)

    def mapped(self, keyword: str, text: str) -> str | int:
        """A value by the table of its keyword; the value itself without a table or entry."""
        table = self.values.get(keyword)
        if table is None:
            return text
        return table.get(text.upper(), table.get("*", text))

    def drops_others(self, keyword: str) -> bool:
        """Whether the keyword has a table that gives nothing for values it does not know."""
        return self.values.get(keyword, {}).get("*") == ""


def _source(text: str) -> Source:
    where, _, kind = text.partition(":")
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind}")
    return Source(path(where), kind, text)


def _attribute(keyword: str, sources: Any) -> Attribute:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError("not a DICOM keyword")
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError("a list of paths is needed")
    vr = dictionary_VR(tag)
    parsed = tuple(_source(source) for source in sources)
    if any((source.kind in SEQUENCES) != (vr == "SQ") for source in parsed):
        raise ValueError("the type does not fit the attribute")
    return Attribute(keyword, vr, vr != "SQ" and dictionary_VM(tag) != "1", parsed)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a table is needed")
    return value


def _values(keyword: str, table: Any) -> dict[str, str | int]:
    if tag_for_keyword(keyword) is None:
        raise ValueError("not a DICOM keyword")
    entries = _table(table).items()
    if wrong := [entry for entry, value in entries if not isinstance(value, str) and type(value) is not int]:
        raise ValueError(f"{min(wrong)}: a text or an integer is needed")
    return {str(entry).upper(): value for entry, value in entries}


def _measure(keyword: str, table: Any) -> Measure:
    if unknown := set(_table(table)) - {"codes", "texts", "units"}:
        raise ValueError(f"unknown key {min(unknown)}")
    units = {str(unit).lower(): float(factor) for unit, factor in table["units"].items()}
    return Measure(frozenset(table["codes"]), frozenset(text.lower() for text in table["texts"]), units)


def _default(attribute: Attribute | None, value: Any) -> Any:
    """A default as it is stored: a list for attributes with several values."""
    if attribute is None:
        raise ValueError("not an attribute of this mapping")
    if attribute.keyword in convert.EXACT - {stations.STATION} or attribute.vr == "SQ":
        raise ValueError("identifiers and sequences have no default")
    if attribute.vr == "US":
        if type(value) is not int or not 0 <= value < 65536:
            raise ValueError("an integer from 0 to 65535 is needed")
        return value
    texts = value if isinstance(value, list) and attribute.multiple else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("a text is needed")
    try:
        fitting = [convert.text(text, attribute.vr, exact=True) for text in texts]
    except convert.Unusable:
        raise ValueError(f"does not fit the value representation {attribute.vr}") from None
    return fitting if attribute.multiple else fitting[0]


def _choices(kind: type, table: Any) -> Any:
    """An instance of a dataclass of choices: each key one of its literals, a list of them or a list of texts."""
    given: dict[str, Any] = {}
    known = {name: getattr(kind(), name) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    for key, value in _table(table).items():
        if key not in known:
            raise ValueError(f"unknown key {key}")
        allowed = _LITERALS[key]
        several = isinstance(known[key], tuple)
        chosen = value if several and isinstance(value, list) else [value]
        if not all(isinstance(c, str) and c and (not allowed or c in allowed) for c in chosen) or (
            allowed and not chosen
        ):
            one = " | ".join(allowed) or "texts"
            raise ValueError(f"{key}: {'a list of ' if several else ''}{one} is needed")
        if any(c in ("generate", "refuse") for c in chosen[:-1]) or len(set(chosen)) != len(chosen):
            raise ValueError(f"{key}: generate and refuse stand at the end, and nothing twice")
        given[key] = tuple(chosen) if several else chosen[0]
    return kind(**given)


_LITERALS: Mapping[str, tuple[str, ...]] = {
    "patient_authorities": (),
    "accession": get_args(identifiers.AccessionSource),
    "study_instance_uid": get_args(identifiers.UidPolicy),
    "requested_procedure_id": get_args(identifiers.ProcedureSource),
    "step_id": get_args(identifiers.StepSource),
    "unknown_order_cancel": ("park", "refuse"),
    "start_missing": ("received", "refuse"),
    "appointment_cancel": ("unschedule", "cancel"),
    "unknown_appointment": ("keep", "create"),
    "result_completes": (),
}


def parse(document: Mapping[str, Any]) -> Profile:
    """Validate a profile that stands for itself (what it `extends` is merged already).

    Raises ConfigurationError that names profile and key.
    """
    name = document.get("name", "")
    place = f"mapping profile {name!r}" if isinstance(name, str) and name else "mapping profile"
    key = "name"

    def each(section: str, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        nonlocal key
        key, result = section, {}
        for keyword, value in _table(document.get(section, {})).items():
            key = f"{section}.{keyword}"
            result[keyword] = read(keyword, value)
        return result

    try:
        if unknown := set(document) - KEYS:
            key = min(unknown)
            raise ValueError("unknown key")
        if not isinstance(name, str) or not name:
            raise ValueError("a text is needed")
        sections = {section: tuple(each(section, _attribute).values()) for section in SECTIONS}
        found = {attribute.keyword: attribute for section in SECTIONS for attribute in sections[section]}
        values, measures = each("values", _values), each("measures", _measure)
        defaults = each("defaults", lambda keyword, value: _default(found.get(keyword), value))
        key = "check.modalities"
        modalities = frozenset(str(term) for term in _table(document.get("check", {})).get("modalities", ()))
        key = "senders"
        senders = parse_senders(_table(document.get("senders", {})))
        key = "station"
        rules = stations.parse_rules(document.get("station", []))
        key = "identifiers"
        ids = _choices(Identifiers, document.get("identifiers", {}))
        key = "policy"
        policy = _choices(Policy, document.get("policy", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{error} is needed" if isinstance(error, KeyError) else error
        raise ConfigurationError(f"{place}: {key}: {text}") from None
    by_section = {s: {a.keyword: defaults[a.keyword] for a in sections[s] if a.keyword in defaults} for s in SECTIONS}
    return Profile(name, sections, values, measures, modalities, senders, by_section, rules, ids, policy)


@lru_cache(maxsize=8)
def built_in(name: str = DEFAULT) -> Profile:
    """A profile that comes with the broker. Raises ConfigurationError."""
    return parse(resolved(name, {}))
