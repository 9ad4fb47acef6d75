"""Reads sections of a profile from some segments of a message: values, and findings for what is unusable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.hl7.message import DELETE, Repetition, Segment, Segments
from broker.model.order import Document
from broker.orders.core import names
from broker.orders.inbound.leniency import kept, lenient
from broker.orders.mapping import convert
from broker.orders.mapping.profile import FieldSource, FieldType, MappedAttribute, Profile
from broker.orders.mapping.provenance import OriginKind, ValueOrigin

# what must be right for the order to be used; anything else unusable is left out with a warning
_STRICT = convert.EXACT | {
    "PatientBirthDate",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
}


_ISSUER = "IssuerOfPatientID"
_MOMENTS = frozenset({"DA", "TM"})


class Findings:
    """Collects findings, each once."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}

    def add(self, location: str, code: ErrorCode, text: str, severity: Severity = Severity.ERROR) -> None:
        """Note a finding."""
        self._found.setdefault(Finding(location, code, text, severity))

    def all(self) -> tuple[Finding, ...]:
        """All of them, in the order found."""
        return tuple(self._found)


class Reader:
    """Evaluates attributes of a profile on one view of a message."""

    def __init__(self, view: Segments, profile: Profile, zone: tzinfo, findings: Findings) -> None:
        self._view, self._profile, self._zone, self._findings = view, profile, zone, findings
        self._day = ""  # of which a time must be
        self._long: dict[str, str] = {}  # long forms of identifiers, by keyword; empty for those that fit
        self._special: dict[str, Callable[[MappedAttribute, FieldSource, list[Segment]], Any]] = {
            FieldType.XPN: self._names,
            FieldType.XCN: self._names,
            FieldType.CN: self._names,
            FieldType.CODE: self._codes,
            FieldType.TEXT: self._texts,
            FieldType.NOTES: self._notes,
            FieldType.OTHER_IDS: self._other_ids,
            FieldType.EI: self._issuer,
            FieldType.HD: self._issuer,
            FieldType.CX_QUALIFIERS: self._issuer,
            FieldType.MEASURE: self._measure,
            FieldType.PLAIN: self._plain,
        }

    def section(self, name: str) -> Document:
        """Attributes of a section; absent ones are left out, deleted ones are empty.

        An issuer of patient identifiers that is left out has its default value at once: it is part of the identifier.
        A time is one of the date beside it: of another day, or of the date before, it is none.
        """
        result: Document = {}
        for attribute in self._profile.sections[name]:
            self._day = result.get(attribute.keyword.replace("Time", "Date"), "") if attribute.vr == "TM" else ""
            value, source = self._found(attribute)
            if value is None and self._day:
                value = ""
            if value is None and attribute.keyword == _ISSUER:
                value = self._profile.defaults.get(name, {}).get(_ISSUER)
            if value is not None:
                result[attribute.keyword] = value
                if attribute.keyword in self._long:
                    result |= kept(attribute, self._long[attribute.keyword], self._profile)
                self._note(name, attribute.keyword, value, source)
        return result

    def value(self, attribute: MappedAttribute) -> Any:
        """Value of an attribute from the first source that holds something, None from none."""
        return self._found(attribute)[0]

    def _found(self, attribute: MappedAttribute) -> tuple[Any, FieldSource | None]:
        gathered: list[Document] = []
        first = None
        for source in attribute.sources:
            segments = self._view.all(source.path.segment, source.path.parent)
            value = self._special[source.kind](attribute, source, segments) if segments else None
            if source.kind is FieldType.OTHER_IDS:
                first = first or (source if value else None)
                gathered += [item for item in value or [] if item not in gathered]
            elif value is not None:
                return value, source
        return gathered or None, first

    def _note(self, section: str, keyword: str, value: Any, source: FieldSource | None) -> None:
        """Leave a note of where a value comes from, if somebody asked."""
        if self._profile.trace is None:
            return
        origin = ValueOrigin(section=section, keyword=keyword, value=value, how=OriginKind.DEFAULT)
        if source is not None:
            by_table = keyword in self._profile.values and value != ""
            origin = replace(
                origin,
                how=OriginKind.TABLE if by_table else OriginKind.MESSAGE,
                path=source.text,
                location=self._view.at(source.path),
                raw=self._view.get(source.path).strip() if by_table else "",
            )
        self._profile.trace.note(self._view, origin)

    def where(self, section: str, keyword: str) -> str:
        """Location at which an attribute would be expected: its first source whose segment is there.

        MSH where the profile takes it from no message.
        """
        for attribute in self._profile.sections[section]:
            if attribute.keyword == keyword and attribute.sources:
                paths = [source.path for source in attribute.sources]
                here = next((path for path in paths if self._view.first(path.segment)), paths[-1])
                return self._view.at(here)
        return "MSH^1"

    def _repetitions(
        self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]
    ) -> list[Repetition]:
        """What a source offers: the first segment, all of them for attributes with several values.

        Of a field alone all repetitions, of a part of it only one for attributes with one value: a part that is empty
        there must not come from another repetition (the issuer of another identifier). A value table that knows some
        values and drops all others picks its own out of all repetitions (one of several ambulatory statuses).
        """
        chosen = segments if attribute.multiple else segments[:1]
        found = [repetition for segment in chosen for repetition in segment.repetitions(source.path.field)]
        first = source.path.repetition - 1
        if not source.path.component or attribute.multiple:
            return found[first:]
        if len(found) > 1 and not first and attribute.keyword != _ISSUER:
            return found if self._profile.drops_others(attribute.keyword) else found[:1]
        return found[first : first + 1]

    def _unusable(self, attribute: MappedAttribute, source: FieldSource) -> None:
        strict = attribute.keyword in _STRICT
        severity = Severity.ERROR if strict else Severity.WARNING
        text = "Value cannot be used" if strict else "Value cannot be used and is left out"
        self._findings.add(self._view.at(source.path), ErrorCode.DATA_TYPE, text, severity)

    def _plain(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        path = source.path
        repetitions = self._repetitions(attribute, source, segments)
        if attribute.vr in _MOMENTS:  # a TS may say in a part of its own how precise it is (HL7 2.5.1 §2.A.77)
            found = [r.get(path.component or 1, path.subcomponent or 1) for r in repetitions]
        elif path.component:
            found = [r.get(path.component, path.subcomponent) for r in repetitions]
        else:
            found = [r.whole() for r in repetitions]
        return self._from_texts(attribute, source, found)

    def _texts(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        first = source.path.component or 1
        found = [convert.coded_text(r, first) for r in self._repetitions(attribute, source, segments)]
        return self._from_texts(attribute, source, found)

    def _from_texts(self, attribute: MappedAttribute, source: FieldSource, found: list[str]) -> Any:
        found = [text for text in found if text.strip()]
        if not found:
            return None
        if found[0] == DELETE:
            return [] if attribute.multiple else ""
        if attribute.keyword in convert.EXACT:
            found = self._lenient(attribute, source, found)
            if not found:
                return None
        try:
            if attribute.vr == "DA":
                return self._date(attribute, found[0])
            if attribute.vr == "TM":
                day, clock = convert.timestamp(found[0], self._zone)
                return clock if clock and self._day in ("", day) else None
            return self._text(attribute, source, found)
        except convert.Unusable:
            self._unusable(attribute, source)
            return None

    def _lenient(self, attribute: MappedAttribute, source: FieldSource, found: list[str]) -> list[str]:
        """Texts of an identifier after the leniencies of the profile, each of which is told."""
        result = lenient(attribute, found, self._profile)
        for text in result.told:
            self._findings.add(self._view.at(source.path), ErrorCode.DATA_TYPE, text, Severity.WARNING)
        self._long[attribute.keyword] = result.long
        return result.texts

    def _date(self, attribute: MappedAttribute, text: str) -> str | None:
        if attribute.keyword == "PatientBirthDate":
            return convert.date(text) or None
        return convert.timestamp(text, self._zone)[0] or None

    def _text(self, attribute: MappedAttribute, source: FieldSource, found: list[str]) -> Any:
        keyword, vr = attribute.keyword, attribute.vr
        exact = keyword in convert.EXACT
        if attribute.multiple:
            return self._several(attribute, found) or None
        if keyword in self._profile.values:
            mapped = [self._profile.mapped(keyword, text.strip()) for text in found]
            value = next((entry for entry in mapped if entry != ""), "")
            return value if isinstance(value, int) else convert.text(value, vr, exact=exact)
        return self._whole(attribute, source, found[0], exact=exact) or None

    def _several(self, attribute: MappedAttribute, found: list[str]) -> list[str]:
        """Values of an attribute that takes several: each text by itself through the table, each value once."""
        keyword, vr = attribute.keyword, attribute.vr
        mapped = [str(self._profile.mapped(keyword, text.strip())) for text in found]
        if keyword in convert.EXACT:
            values = [convert.text(text, vr, exact=True) for text in mapped]
        else:
            values = [piece for text in mapped for piece in convert.pieces(text, vr)]
        return list(dict.fromkeys(value for value in values if value))

    def _whole(self, attribute: MappedAttribute, source: FieldSource, text: str, *, exact: bool = False) -> str:
        """A text; that it is cut is told to who sent it."""
        if not exact and len(text.strip()) > convert.LENGTH.get(attribute.vr, 64):
            self._findings.add(
                self._view.at(source.path), ErrorCode.DATA_TYPE, "Value is too long and is cut", Severity.WARNING
            )
        return convert.text(text, attribute.vr, exact=exact)

    def _notes(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        """Free text: a line for each repetition and segment."""
        lines = [r.get() for segment in segments for r in segment.repetitions(source.path.field)]
        if lines == [DELETE]:
            return ""
        return self._whole(attribute, source, "\r\n".join(lines)) or None

    def _names(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        repetitions = [r for r in self._repetitions(attribute, source, segments) if r.text]
        if repetitions and repetitions[0].text == DELETE:
            return [] if attribute.multiple else ""
        component = source.path.component or 1
        if attribute.multiple:
            found = [self._name(source.kind, [r], component) for r in repetitions]
            return [name for name in found if name] or None
        return self._name(source.kind, repetitions, component) or None

    @staticmethod
    def _name(kind: FieldType, repetitions: list[Repetition], component: int) -> str:
        if kind is FieldType.XPN:
            return names.from_xpn(repetitions)
        if kind is FieldType.XCN:
            return names.from_xcn(repetitions)
        return names.from_cn(repetitions[0].components(component)) if repetitions else ""

    def _codes(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        repetitions = segments[0].repetitions(source.path.field)
        if repetitions and repetitions[0].text == DELETE:
            return []
        first = source.path.component or 1
        designators = self._profile.values.get("CodingSchemeDesignator")
        items = [convert.code_item(r, first, designators) for r in repetitions]
        return [item for item in items if item] or None

    def _other_ids(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        repetitions = segments[0].repetitions(source.path.field)
        if source.path.field == 3:
            repetitions = repetitions[1:]
        if not repetitions:
            return []
        primary = next(iter(self._view.all("PID")), segments[0]).repetitions(3)[:1]
        own = convert.other_id(primary[0]) if primary else None
        items = [convert.other_id(r) for r in repetitions]
        # senders repeat PID-3 in PID-2, old ones without its authority
        return [item for item in items if item and not (own and item.items() <= own.items())]

    def _issuer(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        repetitions = segments[0].repetitions(source.path.field)
        if not repetitions:
            return None
        component = source.path.component or 1
        if DELETE in repetitions[0].text:
            named = 4 if source.kind is FieldType.CX_QUALIFIERS else component
            if DELETE in (repetitions[0].text, repetitions[0].get(named)):
                return []
        if source.kind is FieldType.CX_QUALIFIERS:
            item = convert.issuer_qualifiers(repetitions[0])
        elif source.kind is FieldType.HD:
            item = convert.issuer(repetitions[0].components(component))
        else:
            item = convert.issuer(repetitions[0].components()[component - 1 :])
        return [item] if item else None

    def _measure(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        measure = self._profile.measures.get(attribute.keyword)
        for segment in segments if measure else ():
            assert measure is not None
            code, text = segment.get(3, 1).strip(), segment.get(3, 2).strip().lower()
            factor = measure.units.get(segment.get(6, 1).strip().lower())
            if factor is None or (code not in measure.codes and text not in measure.texts):
                continue
            try:
                value = float(segment.get(5)) * factor
            except ValueError:
                continue
            if 0 < value < 1000:
                return convert.decimal(value)
        return None
