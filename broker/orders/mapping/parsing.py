"""Parses mapping profiles: a document, with what it extends merged in, becomes a checked `Profile`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache, partial
from typing import Any, get_args

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from broker.hl7.findings import MalformedMessage
from broker.hl7.paths import path
from broker.hl7.text import labels
from broker.model.modalities import MODALITIES
from broker.orders.core import identifiers
from broker.orders.core.identifiers import Identifiers
from broker.orders.core.names import USUAL, NameTypes, Writings
from broker.orders.core.values import AccessionPolicy, RepeatedNumber, StartMissing
from broker.orders.mapping import data_types, stations
from broker.orders.mapping.ignoring import parse_ignores
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.orders.mapping.profile import (
    SECTIONS,
    SEQUENCES,
    AppointmentCancel,
    ControlId,
    FieldSource,
    FieldType,
    LongIdentifiers,
    MappedAttribute,
    Measure,
    Policy,
    Profile,
    Reading,
    UnknownAppointment,
    UnknownCancel,
    UnusableStation,
    UnusableUid,
)
from broker.orders.mapping.senders import parse_senders
from broker.orders.mapping.value_table import ValueTable

KEYS = frozenset(
    {
        "name", "description", "senders", "values", "measures", "check", "defaults", "station", "ignore", "identifiers",
        "policy", "reading", "names", "example", "sample", *SECTIONS,
    }
)  # fmt: skip
ALL_KNOWN = "CID29"  # in a list of modalities: all that the broker knows
CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)  # PS3.5 table 6.2-1
TERMS: Mapping[str, tuple[str, ...]] = {
    "patient_authorities": (),
    "accession": get_args(identifiers.AccessionSource),
    "study_instance_uid": get_args(identifiers.UidPolicy),
    "requested_procedure_id": get_args(identifiers.ProcedureSource),
    "step_id": get_args(identifiers.StepSource),
    "unknown_order_cancel": tuple(UnknownCancel),
    "start_missing": tuple(StartMissing),
    "appointment_cancel": tuple(AppointmentCancel),
    "unknown_appointment": tuple(UnknownAppointment),
    "result_completes": (),
    "accession_of_another_patient": tuple(AccessionPolicy),
    "repeated_number": tuple(RepeatedNumber),
    "charset": (),
    "version": (),
    "control_id": tuple(ControlId),
    "long_identifiers": tuple(LongIdentifiers),
    "unusable_uid": tuple(UnusableUid),
    "unusable_station": tuple(UnusableStation),
}


def _source(text: str) -> FieldSource:
    where, _, kind = text.partition(":")
    if "]" in kind:  # the colon is part of a choice
        where, _, kind = text.rpartition("]")[0] + "]", "", text.rpartition("]")[2]
        where, kind = where + kind.partition(":")[0], kind.partition(":")[2]
    if kind not in list(FieldType):
        raise ValueError(f"unknown type {kind}")
    return FieldSource(path(where), FieldType(kind), text)


def _attribute(keyword: str, sources: Any) -> MappedAttribute:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError("not a DICOM keyword")
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError("a list of paths is needed")
    return _mapped(keyword, tag, tuple(sources))


@lru_cache(500)  # most attributes of a profile are those of the one that it extends
def _mapped(keyword: str, tag: int, sources: tuple[str, ...]) -> MappedAttribute:
    vr = dictionary_VR(tag)
    parsed = tuple(_source(source) for source in sources)
    if any((source.kind in SEQUENCES) != (vr == "SQ") for source in parsed):
        raise ValueError("the type does not fit the attribute")
    return MappedAttribute(keyword, vr, vr != "SQ" and dictionary_VM(tag) != "1", parsed)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a table is needed")
    return value


def _values(keyword: str, table: Any) -> ValueTable:
    if tag_for_keyword(keyword) is None:
        raise ValueError("not a DICOM keyword")
    entries = _table(table).items()
    if wrong := [entry for entry, value in entries if not isinstance(value, str) and type(value) is not int]:
        raise ValueError(f"{min(wrong)}: a text or an integer is needed")
    return ValueTable({str(entry): value for entry, value in entries})


def _measure(keyword: str, table: Any) -> Measure:
    if unknown := set(_table(table)) - {"codes", "texts", "units", "limits"}:
        raise ValueError(f"unknown key {min(unknown)}")
    units = {str(unit).lower(): float(factor) for unit, factor in table["units"].items()}
    limits = table.get("limits", [0, 1000])
    numbers = isinstance(limits, list) and all(type(limit) in (int, float) for limit in limits)
    if not numbers or len(limits) != 2 or not 0 <= limits[0] < limits[1]:
        raise ValueError("limits: the least and the greatest value are needed")
    texts = frozenset(text.lower() for text in table["texts"])
    return Measure(frozenset(table["codes"]), texts, units, (float(limits[0]), float(limits[1])))


def _default(attribute: MappedAttribute | None, value: Any) -> Any:
    """A default as it is stored: a list for attributes with several values."""
    if attribute is None:
        raise ValueError("not an attribute of this mapping")
    if attribute.keyword in data_types.EXACT - {stations.STATION} or attribute.vr == "SQ":
        raise ValueError("identifiers and sequences have no default")
    if attribute.vr == "US":
        if type(value) is not int or not 0 <= value < 65536:
            raise ValueError("an integer from 0 to 65535 is needed")
        return value
    texts = value if isinstance(value, list) and attribute.multiple else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("a text is needed")
    try:
        fitting = [data_types.text(text, attribute.vr, exact=True) for text in texts]
    except data_types.Unusable:
        raise ValueError(f"does not fit the value representation {attribute.vr}") from None
    return fitting if attribute.multiple else fitting[0]


def _choices(kind: type[Any], table: Any) -> Any:
    """An instance of a dataclass of choices: each key one of its terms, a list of them or a list of texts."""
    given: dict[str, Any] = {}
    defaults = {field.name: field.default for field in fields(kind)}
    for key, value in _table(table).items():
        if key not in defaults:
            raise ValueError(f"unknown key {key}")
        terms = TERMS[key]
        several = isinstance(defaults[key], tuple)
        chosen = value if several and isinstance(value, list) else [value]
        if not all(isinstance(term, str) and term and (not terms or term in terms) for term in chosen) or (
            terms and not chosen
        ):
            one = " | ".join(terms) or "texts"
            raise ValueError(f"{key}: {'a list of ' if several else ''}{one} is needed")
        if any(term in ("generate", "refuse") for term in chosen[:-1]) or len(set(chosen)) != len(chosen):
            raise ValueError(f"{key}: generate and refuse stand at the end, and nothing twice")
        named = [terms[terms.index(term)] if terms else term for term in chosen]
        given[key] = tuple(named) if several else named[0]
    return kind(**given)


def _reading(table: Any, ids: Identifiers) -> Reading:
    """The table `[reading]`: a character set that is read, a version of HL7 v2, leniencies."""
    reading: Reading = _choices(Reading, table)
    try:
        labels.codec_of(labels.named(reading.charset))
    except MalformedMessage:
        raise ValueError(f"charset: {reading.charset} is no character set that is read") from None
    if reading.version and not re.fullmatch(r"2\.[0-9](\.[0-9])?", reading.version):
        raise ValueError("version: a version of HL7 like 2.3.1 is needed")
    if ids.study_instance_uid == "require" and reading.unusable_uid is UnusableUid.MAKE:
        raise ValueError("unusable_uid: of no use, as [identifiers] requires a Study Instance UID")
    return reading


def _names(table: Any) -> NameTypes:
    """Types of names in capitals; in `order` an empty one is a name without a type."""
    if unknown := set(_table(table)) - {"order", "never", "writings"}:
        raise ValueError(f"unknown key {min(unknown)}")
    given = {"order": [*USUAL.order], "never": [*USUAL.never], **table}
    writings = given.pop("writings", USUAL.writings)
    if writings not in list(Writings):
        raise ValueError(f"writings: {' | '.join(Writings)} is needed")
    for key, types in given.items():
        if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
            raise ValueError(f"{key}: a list of types of names is needed")
        given[key] = tuple(one.strip().upper() for one in types)
    if not given["order"] or set(given["order"]) & set(given["never"]):
        raise ValueError("order: types are needed that are not among never")
    return NameTypes(**given, writings=Writings(writings))


def _modalities(table: Mapping[str, Any], known: frozenset[str]) -> frozenset[str]:
    """The terms that orders of a profile may name: those of its list, in which `CID29` stands for all known ones."""
    if unknown := set(table) - {"modalities"}:
        raise ValueError(f"unknown key {min(unknown)}")
    terms = table.get("modalities", [ALL_KNOWN])
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise ValueError("a list of texts is needed")
    if wrong := [term for term in terms if not CODE_STRING.fullmatch(term)]:
        raise ValueError(f"{min(wrong)}: at most 16 of capital letters, digits, space and _ are needed")
    return frozenset(terms) - {ALL_KNOWN} | (known if ALL_KNOWN in terms else frozenset())


# further keys of a document: the field of the profile, how it is read, and what stands for a key that is left out
_PARTS: Mapping[str, tuple[str, Callable[[Any], Any], Any]] = {
    "senders": ("senders", lambda value: parse_senders(_table(value)), {}),
    "station": ("stations", stations.parse_rules, []),
    "ignore": ("ignores", parse_ignores, []),
    "identifiers": ("identifiers", partial(_choices, Identifiers), {}),
    "policy": ("policy", partial(_choices, Policy), {}),
    "names": ("names", _names, {}),
}


def parse(document: Mapping[str, Any], modalities: frozenset[str] = MODALITIES) -> Profile:
    """Validate a profile that stands for itself (what it `extends` is merged already).

    `modalities` are those that the broker knows. Raises ConfigurationError that names profile and key.
    """
    name = document.get("name", "")
    place = place_of(name)
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
        attributes = {attribute.keyword: attribute for section in SECTIONS for attribute in sections[section]}
        values, measures = each("values", _values), each("measures", _measure)
        defaults = each("defaults", lambda keyword, value: _default(attributes.get(keyword), value))
        key = "check.modalities"
        terms = _modalities(_table(document.get("check", {})), modalities)
        parts: dict[str, Any] = {}
        for key, (field, read, empty) in _PARTS.items():
            parts[field] = read(document.get(key, empty))
        key = "reading"
        parts["reading"] = _reading(document.get("reading", {}), parts["identifiers"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{error} is needed" if isinstance(error, KeyError) else error
        raise ProfileMistake(place, key, str(text)) from None
    by_section = {s: {a.keyword: defaults[a.keyword] for a in sections[s] if a.keyword in defaults} for s in SECTIONS}
    return Profile(
        name=name,
        sections=sections,
        values=values,
        measures=measures,
        modalities=terms,
        defaults=by_section,
        **parts,
    )
