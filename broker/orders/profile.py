"""Mapping profiles: which HL7 field becomes which DICOM attribute, as data.

The format is explained in `profiles/ihe.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from broker.errors import ConfigurationError
from broker.hl7.message import Path, path

SECTIONS = ("patient", "visit", "request", "procedure", "step", "appointment")
TYPES = frozenset({"", "XPN", "XCN", "CN", "CE", "TEXT", "FT", "IDS", "EI", "HD", "CXQ", "MEASURE"})
SEQUENCES = frozenset({"CE", "IDS", "EI", "HD", "CXQ"})


@dataclass(frozen=True, slots=True)
class Source:
    """A path and how to read it."""

    path: Path
    kind: str = ""


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
    """What is done about a cancelled appointment, an appointment of an unknown order, and results.

    `result_completes` are the values of OBR-25 (table 0123) whose results complete the open steps of their order.
    """

    appointment_cancel: Literal["unschedule", "cancel"] = "unschedule"
    unknown_appointment: Literal["keep", "create"] = "keep"
    result_completes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A validated mapping profile."""

    name: str
    sections: Mapping[str, tuple[Attribute, ...]]
    values: Mapping[str, Mapping[str, str | int]]
    measures: Mapping[str, Measure]
    modalities: frozenset[str]
    policy: Policy = Policy()

    def mapped(self, keyword: str, text: str) -> str | int:
        """A value by the table of its keyword; the value itself without a table or entry."""
        table = self.values.get(keyword)
        if table is None:
            return text
        return table.get(text.upper(), table.get("*", text))


def _source(text: str) -> Source:
    where, _, kind = text.partition(":")
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind}")
    return Source(path(where), kind)


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


def _measure(table: Mapping[str, Any]) -> Measure:
    units = {str(unit).lower(): float(factor) for unit, factor in table["units"].items()}
    return Measure(frozenset(table["codes"]), frozenset(text.lower() for text in table["texts"]), units)


def _policy(table: Mapping[str, Any]) -> Policy:
    allowed = {"appointment_cancel": ("unschedule", "cancel"), "unknown_appointment": ("keep", "create")}
    given: dict[str, Any] = {}
    for key, value in table.items():
        if key == "result_completes" and isinstance(value, list) and all(isinstance(code, str) for code in value):
            given[key] = tuple(value)
        elif value in allowed.get(key, ()):
            given[key] = value
        else:
            raise ValueError(f"{key}: unknown key or value")
    return Policy(**given)


def parse(document: Mapping[str, Any]) -> Profile:
    """Validate a profile. Raises ConfigurationError that names the key."""
    unknown = set(document) - {"name", "values", "measures", "check", "policy", *SECTIONS}
    if unknown:
        raise ConfigurationError(f"mapping profile: unknown key {min(unknown)}")
    sections: dict[str, tuple[Attribute, ...]] = {}
    key = "name"
    try:
        name = str(document["name"])
        for section in SECTIONS:
            attributes = []
            for keyword, sources in document.get(section, {}).items():
                key = f"{section}.{keyword}"
                attributes.append(_attribute(keyword, sources))
            sections[section] = tuple(attributes)
        key = "values"
        values = {
            keyword: {str(entry).upper(): value for entry, value in table.items()}
            for keyword, table in document.get("values", {}).items()
        }
        key = "measures"
        measures = {keyword: _measure(table) for keyword, table in document.get("measures", {}).items()}
        key = "check.modalities"
        modalities = frozenset(str(term) for term in document.get("check", {}).get("modalities", ()))
        key = "policy"
        policy = _policy(document.get("policy", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"mapping profile: {key}: {error}") from None
    return Profile(name, sections, values, measures, modalities, policy)


@lru_cache(maxsize=8)
def built_in(name: str = "ihe") -> Profile:
    """A profile that comes with the broker. Raises ConfigurationError."""
    try:
        text = (resources.files("broker.orders.profiles") / f"{name}.toml").read_text(encoding="utf-8")
    except OSError:
        raise ConfigurationError("mapping profile: no built-in profile of that name") from None
    return parse(tomllib.loads(text))
