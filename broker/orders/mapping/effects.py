"""Refuses what a profile states without any effect that a modality could see.

It is asked when a profile is checked or published. What is in force already goes on as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from broker.orders.core import attributes
from broker.orders.core.appointments import END, MOVED, START
from broker.orders.core.values import StartMissing
from broker.orders.mapping import data_types, stations
from broker.orders.mapping.document import ProfileDocument, built_in_documents
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.orders.mapping.profile import SECTIONS, FieldType, MappedAttribute, Profile, UnknownAppointment
from broker.orders.mapping.stations import StationRule
from broker.orders.mapping.value_table import EXPRESSION

_STATUS = "ScheduledProcedureStepStatus"
_SCHEMES = "CodingSchemeDesignator"  # its table names the coding systems of all code sequences
_NUMBERS = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")
_ORDER = {**attributes.VISIT, **attributes.REQUEST}  # an order keeps both together
_ISSUERS = ("OrderPlacerIdentifierSequence", "OrderFillerIdentifierSequence")
KEYWORDS: Mapping[str, Iterable[str]] = {  # that a section may map
    "patient": attributes.PATIENT,
    "visit": attributes.VISIT,
    "request": _ORDER,
    "procedure": attributes.PROCEDURE,
    "step": attributes.STEP.keys() - {_STATUS},
    "appointment": {*attributes.PROCEDURE, *attributes.STEP, *_NUMBERS, *_ISSUERS} - {_STATUS},
}
_BOOKED = {*MOVED, *START, *END, *_NUMBERS, *_ISSUERS}  # what an appointment says of an order that is known
_TEXTS = frozenset({"AE", "AS", "CS", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT"})
_FREE = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_FITS: Mapping[FieldType, frozenset[str]] = {
    FieldType.PLAIN: _TEXTS | {"DA", "TM", "US"},
    FieldType.TEXT: _TEXTS | {"DA", "TM", "US"},
    FieldType.XPN: frozenset({"PN"}),
    FieldType.XCN: frozenset({"PN"}),
    FieldType.CN: frozenset({"PN"}),
    FieldType.NOTES: _FREE,
    FieldType.MEASURE: frozenset({"DS"}),
}
# what an item of the kind has: the sequence must have it too
_ITEMS: Mapping[FieldType, str] = {
    FieldType.CODE: "CodeMeaning",
    FieldType.OTHER_IDS: "TypeOfPatientID",
    FieldType.EI: "LocalNamespaceEntityID",
    FieldType.HD: "LocalNamespaceEntityID",
    FieldType.CX_QUALIFIERS: "IdentifierTypeCode",
}
_TABLED = frozenset({FieldType.PLAIN, FieldType.TEXT})
_WHEN = frozenset({"ScheduledProcedureStepStartDate", "ScheduledProcedureStepEndDate"})


def refuse_idle(own: ProfileDocument, profile: Profile) -> None:
    """Judge what the document of a profile states itself, beside what it extends.

    Raises ConfigurationError that names profile and key.
    """
    for mistake in idle(own, profile):
        raise mistake


def idle(own: ProfileDocument, profile: Profile) -> Iterator[ProfileMistake]:
    """All that the document of a profile states itself in vain."""
    for key, text in _idle(own, profile):
        yield ProfileMistake(place_of(profile.name), key, text)


def _idle(own: ProfileDocument, profile: Profile) -> Iterator[tuple[str, str]]:
    mapped: dict[str, list[MappedAttribute]] = {}
    for section in SECTIONS:
        for attribute in profile.sections[section]:
            mapped.setdefault(attribute.keyword, []).append(attribute)
            if attribute.keyword in own.get(section, {}) and (text := _attribute(section, attribute, profile)):
                yield f"{section}.{attribute.keyword}", text
    yield from _missing(own, profile)
    yield from _refused(own, profile)
    yield from _unbooked(own, profile)
    yield from _values(own, profile, mapped)
    for keyword in own.get("measures", {}):
        measure = profile.measures[keyword]
        if not (measure.codes or measure.texts) or not measure.units:
            yield (
                f"measures.{keyword}",
                "codes or texts of OBX-3 are needed, and units: without them nothing is measured",
            )
        if not any(source.kind is FieldType.MEASURE for one in mapped.get(keyword, ()) for source in one.sources):
            yield f"measures.{keyword}", "no attribute of this mapping is read as a MEASURE by it"
    of_orders = {one.keyword for section in SECTIONS[:-1] for one in profile.sections[section]}
    for keyword in own.get("defaults", {}):
        if text := _default(keyword, of_orders, profile):
            yield f"defaults.{keyword}", text
    rules = profile.stations[: len(own.get("station", ()))]
    for rule in rules:
        if text := _rule(rule, rules, of_orders):
            yield "station", f"{rule.number}: {text}"


def _attribute(section: str, attribute: MappedAttribute, profile: Profile) -> str:
    """What makes an attribute useless, empty for nothing."""
    keyword, vr = attribute.keyword, attribute.vr
    if keyword not in KEYWORDS[section]:
        places = [name for name in SECTIONS if keyword in KEYWORDS[name]]
        if places:
            return f"no attribute of [{section}]: it belongs to {' or '.join(f'[{name}]' for name in places)}"
        return "no attribute that a worklist answer has, or that is decided by the broker alone"
    items = _items(keyword)
    for source in attribute.sources:
        if vr != "SQ" and vr not in _FITS.get(source.kind, ()):
            return f"{source.text}: the type {source.kind or 'of a plain field'} gives no value of {vr}"
        if vr == "SQ" and (_ITEMS[source.kind] not in items or (items.keys() & {"PatientID"}) != _of(source.kind)):
            return f"{source.text}: the type {source.kind} gives no item of this sequence"
        if source.kind is FieldType.NOTES and (attribute.multiple or keyword in data_types.EXACT):
            return f"{source.text}: the type FT gives one free text, no identifier and no list"
        if source.kind is FieldType.MEASURE and keyword not in profile.measures:
            return f"{source.text}: a table [measures.{keyword}] is needed"
    return ""


def _of(kind: FieldType) -> set[str]:
    return {"PatientID"} if kind is FieldType.OTHER_IDS else set()


def _items(keyword: str) -> Mapping[str, Any]:
    """Attributes of the items of a sequence, empty for what is none."""
    for table in attributes.SECTIONS.values():
        if isinstance(entry := table.get(keyword), tuple):
            items: Mapping[str, Any] = entry[1]
            return items
    return {}


def _missing(own: ProfileDocument, profile: Profile) -> Iterator[tuple[str, str]]:
    """Empty lists by which every message would be refused."""
    without = {
        f"{section}.{one.keyword}" for section in SECTIONS for one in profile.sections[section] if not one.sources
    }
    for keyword in ("PatientID", "PatientName"):
        if f"patient.{keyword}" in without and keyword in own.get("patient", {}):
            yield f"patient.{keyword}", "a path is needed: every message would be refused without it"
    numbers = [f"request.{keyword}" for keyword in _NUMBERS]
    if without.issuperset(numbers) and any(keyword in own.get("request", {}) for keyword in _NUMBERS):
        yield numbers[0], "a path of one order number is needed: every order would be refused without it"


def _refused(own: ProfileDocument, profile: Profile) -> Iterator[tuple[str, str]]:
    """What no path gives although every new order needs it: it has no default, and the broker is not to make it."""
    mapped = {one.keyword for section in SECTIONS[:-1] for one in profile.sections[section] if one.sources}
    if profile.policy.unknown_appointment is UnknownAppointment.CREATE:  # orders may come of appointments alone
        mapped |= {one.keyword for one in profile.sections["appointment"] if one.sources}
    ids = profile.identifiers
    needed = {
        "step.Modality": ("defaults.Modality", "Modality" not in profile.defaults.get("step", {})),
        "step.ScheduledProcedureStepStartDate": (
            "policy.start_missing",
            profile.policy.start_missing is StartMissing.REFUSE,
        ),
        "request.AccessionNumber": ("identifiers.accession", set(ids.accession) <= {"message", "refuse"}),
        "procedure.StudyInstanceUID": ("identifiers.study_instance_uid", ids.study_instance_uid == "require"),
        "procedure.RequestedProcedureID": (
            "identifiers.requested_procedure_id",
            set(ids.requested_procedure_id) <= {"message", "refuse"},
        ),
        "step.ScheduledProcedureStepID": ("identifiers.step_id", set(ids.step_id) <= {"message", "refuse"}),
    }
    for place, (other, is_needed) in needed.items():
        keyword = place.partition(".")[2]
        stated = [f"{table}.{key}" for table, key in (place.split("."), other.split(".")) if key in own.get(table, {})]
        if is_needed and keyword not in mapped and stated:
            yield stated[0], f"every order would be refused: {place} has no path, and {other} makes no value"


def _unbooked(own: ProfileDocument, profile: Profile) -> Iterator[tuple[str, str]]:
    """What an appointment says of an order that it makes, where it makes none. A copy of a built-in may state it."""
    if profile.policy.unknown_appointment is UnknownAppointment.CREATE:
        return
    usual = built_in_documents()["ihe"]["appointment"]
    for keyword, sources in own.get("appointment", {}).items():
        if keyword not in _BOOKED and sources and sources != usual.get(keyword):
            text = 'used only for an order that an appointment makes: policy.unknown_appointment = "create" is needed'
            yield f"appointment.{keyword}", text


def _values(
    own: ProfileDocument, profile: Profile, mapped: Mapping[str, list[MappedAttribute]]
) -> Iterator[tuple[str, str]]:
    for keyword, table in own.get("values", {}).items():
        if keyword == _SCHEMES:
            continue
        sources = [source for one in mapped.get(keyword, ()) for source in one.sources]
        if keyword != stations.STATION and not sources:
            yield f"values.{keyword}", "not an attribute that this mapping takes from a message"
        elif dictionary_VR(tag_for_keyword(keyword) or 0) in {"DA", "TM", "SQ"} or not (
            keyword == stations.STATION or any(source.kind in _TABLED for source in sources)
        ):
            yield f"values.{keyword}", "no value table is used for an attribute of this type"
        entries = [entry if entry.startswith(EXPRESSION) else entry.upper() for entry in table]
        for entry, value in table.items():
            if entries.count(entry.upper()) > 1:
                yield f"values.{keyword}", f"{entry}: stands there in capitals and in small letters"
            if text := _value(keyword, value, profile):
                yield f"values.{keyword}", f"{entry}: {text}"


def _value(keyword: str, value: Any, profile: Profile) -> str:
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    if value == "":
        return ""
    if vr == "US":
        return "" if str(value).isdigit() and int(value) < 65536 else "an integer from 0 to 65535 is needed"
    try:
        data_types.text(str(value), vr, exact=True)
    except data_types.Unusable:
        return f"does not fit the value representation {vr}"
    if keyword == "Modality" and not profile.knows_modality(str(value)):
        return "not a modality that is known"
    return ""


def _default(keyword: str, of_orders: Iterable[str], profile: Profile) -> str:
    if keyword not in of_orders:
        return "not an attribute of an order in this mapping"
    if keyword == "PatientName":
        return "a patient's name has no default: a message without one is refused"
    if keyword in _WHEN:
        return "start and end of a step have no default: see policy.start_missing"
    if dictionary_VR(tag_for_keyword(keyword) or 0) == "TM":
        return "a time has no default: it is one of the date beside it"
    if keyword == _STATUS:
        return "the status of a step is decided by the broker alone"
    step = profile.defaults.get("step", {})
    if keyword == "Modality" and not profile.knows_modality(step.get("Modality", "")):
        return "not a modality that is known"
    return ""


def _rule(rule: StationRule, rules: Iterable[StationRule], of_orders: Iterable[str]) -> str:
    """What makes a station rule useless: a condition that never holds, or a rule before it that always does."""
    if any(not other.when for other in rules if other.number < rule.number):
        return "a rule before it fits every order"
    for condition in rule.when:
        if condition.path is None and condition.name != "sender" and condition.name not in of_orders:
            return f"when.{condition.name}: not an attribute of an order in this mapping"
    return ""
