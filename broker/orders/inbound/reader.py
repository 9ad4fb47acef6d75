"""Reads sections of a profile from some segments of a message: values, and findings for what is unusable.

No text that is read disappears: each source that held text and gave nothing, or something else than its text, makes a
finding (`doubts`), and what is not understood is left out of the change, so that what is known stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from broker.hl7.message import DELETE, Repetition, Segment, Segments, holds
from broker.hl7.paths import Path
from broker.model.order import Document
from broker.orders.core import names
from broker.orders.core.names import ReadName
from broker.orders.inbound import composites
from broker.orders.inbound.doubts import Doubts, Findings
from broker.orders.inbound.leniency import kept, lenient
from broker.orders.inbound.measuring import measured
from broker.orders.inbound.texts import MOMENTS, SEVERAL, TextReader
from broker.orders.mapping import data_types
from broker.orders.mapping.profile import FieldSource, FieldType, MappedAttribute, Profile
from broker.orders.mapping.provenance import OriginKind, Trace, ValueOrigin

_ISSUER = "IssuerOfPatientID"
_AMONG_OTHERS = frozenset({"PatientID", _ISSUER})  # the others are identifiers too, and other attributes take them
# kinds that tell themselves of what they do not take; a code without a value is the text of another attribute
_TELLING = frozenset({FieldType.MEASURE, FieldType.OTHER_IDS, FieldType.CODE, FieldType.CX_QUALIFIERS})
_NOTHING = "Text is not understood and is left out"
_Offer = tuple[Repetition, Segment]


class Reader:
    """Evaluates attributes of a profile on one view of a message."""

    def __init__(self, view: Segments, profile: Profile, zone: tzinfo, findings: Findings) -> None:
        self._view, self._profile = view, profile
        self._doubts = Doubts(findings)
        self._text = TextReader(profile, zone, self._doubts)
        self._replaces = profile.reading.is_lenient
        self._escaped = any(segment.is_escaped() for segment in view)
        self._before: dict[tuple[str, str], Any] = {}  # by keyword and source: values of `read`
        self._day = ""  # of which a time must be
        self._long: dict[str, str] = {}  # long forms of identifiers, by keyword; empty for those that fit
        self._given: dict[tuple[str, str], FieldSource] = {}  # by section and keyword: what gave the value

    def section(self, name: str) -> Document:
        """Attributes of a section; absent ones and those not understood are left out, deleted ones are empty.

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
                if self._profile.trace is not None:
                    self._note(self._profile.trace, name, attribute.keyword, value, source)
            if source is not None:
                self._given[name, attribute.keyword] = source
        self._doubts.close()
        return result

    def value(self, attribute: MappedAttribute) -> Any:
        """Value of an attribute from the first source that holds something, None from none."""
        return self._found(attribute)[0]

    def sources(self, section: str, keyword: str) -> list[tuple[MappedAttribute, FieldSource]]:
        """The sources of an attribute one by one, for `read`."""
        found = (one for one in self._profile.sections[section] if one.keyword == keyword)
        return [(attribute, source) for attribute in found for source in attribute.sources]

    def read(self, attribute: MappedAttribute, source: FieldSource) -> Any:
        """Value of an attribute from one source, None or an empty one if it holds none."""
        segments = self._view.chosen(source.path)
        if not holds(segments, source.path.field):
            return None
        self._text.emptied = False
        value = self._read(attribute, source, segments)
        if not self._text.emptied:
            self._before[attribute.keyword, source.text] = value
        return value

    def _found(self, attribute: MappedAttribute) -> tuple[Any, FieldSource | None]:
        gathered: list[Document] = []
        first = None
        for source in attribute.sources:
            path = source.path
            segments = self._view.by_name.get(path.segment)
            if segments and (path.parent or path.segments):
                segments = self._view.chosen(path)
            if not segments or not (segments[0].field(path.field) or holds(segments[1:], path.field)):
                continue  # nothing is there, as in most fields
            self._text.emptied = False
            if self._before and (attribute.keyword, source.text) in self._before:
                value = self._before[attribute.keyword, source.text]
            else:
                value = self._read(attribute, source, segments)
            if self._text.emptied and source is not attribute.sources[-1]:
                continue  # a table that maps a value to nothing leaves the word to the next path
            if source.kind is FieldType.OTHER_IDS:
                first = first or (source if value else None)
                gathered += [item for item in value or [] if item not in gathered]
            elif value is not None:
                return value, source
        return gathered or None, first

    def _read(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        """What a source gives. One that holds text and gives nothing is told of, whatever its kind."""
        self._doubts.begin()
        value = (
            self._plain(attribute, source, segments)
            if source.kind is FieldType.PLAIN
            else _READ[source.kind](self, attribute, source, segments)
        )
        if self._escaped:
            for segment in segments:
                for doubt in segment.escape_doubts(source.path.field):
                    self._doubts.note(segment.at(source.path.field), doubt)
        if value is None and not self._doubts.told and source.kind not in _TELLING:
            path = source.path
            for repetition, segment in self._offers(attribute, source, segments):
                if repetition.get(path.component, path.subcomponent).strip() not in ("", DELETE):
                    self._doubts.note(segment.at(path.field), _NOTHING)
        return value

    def _note(self, trace: Trace, section: str, keyword: str, value: Any, source: FieldSource | None) -> None:
        """Leave a note of where a value comes from."""
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
        trace.note(self._view, origin)

    def where(self, section: str, keyword: str) -> str:
        """Location that gave an attribute, or would be expected to: its first source whose segment is there.

        MSH where the profile takes it from no message.
        """
        if (given := self._given.get((section, keyword))) is not None:
            return self._view.at(given.path)
        for attribute in self._profile.sections[section]:
            if attribute.keyword == keyword and attribute.sources:
                paths = [source.path for source in attribute.sources]
                here = next((path for path in paths if self._view.chosen(path)), paths[-1])
                return self._view.at(here)
        return "MSH^1"

    def _offers(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> list[_Offer]:
        """What a source offers: the first segment, all of them for attributes with several values.

        Of a field alone all repetitions, of a part of it only one for attributes with one value: a part that is empty
        there must not come from another repetition (the issuer of another identifier). A value table that knows some
        values and drops all others picks its own out of all repetitions (one of several ambulatory statuses).
        """
        if attribute.multiple:
            return [(repetition, segment) for segment in segments for repetition in segment.offered(source.path)]
        first = segments[0]
        found = first.offered(source.path)
        among = source.path.repetition == 1 and len(found) > 1 and self._profile.drops_others(attribute.keyword)
        return [(repetition, first) for repetition in (found[:1] if source.path.component and not among else found)]

    def _plain(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        path = source.path
        if (alone := self._alone(attribute, path, segments)) is not None:
            return self._only(attribute, alone, path, segments[0])

        def read(repetition: Repetition) -> str:
            if attribute.vr in MOMENTS:  # a TS may say in a part of its own how precise it is (HL7 2.5.1 §2.A.77)
                return repetition.get(path.component or 1, path.subcomponent or 1)
            return repetition.get(path.component, path.subcomponent) if path.component else repetition.whole()

        return self._from_texts(attribute, source, segments, read)

    def _alone(self, attribute: MappedAttribute, path: Path, segments: list[Segment]) -> Repetition | None:
        """The one repetition of a field that does not repeat, where its text as it is makes the value."""
        decided = attribute.multiple or attribute.vr in MOMENTS or attribute.keyword in self._profile.values
        if decided or len(segments) > 1 or segments[0].repeats(path.field):
            return None
        found = segments[0].offered(path)
        return found[0] if found else None

    def _only(self, attribute: MappedAttribute, repetition: Repetition, path: Path, segment: Segment) -> Any:
        """The value of most sources, without the detours of `_from_texts`, which gives the same."""
        text = repetition.get(path.component, path.subcomponent) if path.component else repetition.whole()
        bare = text.strip()
        if not bare:
            return None
        if bare == DELETE:
            return ""
        place = segment.at(path.field)
        if self._replaces and attribute.keyword in data_types.EXACT:
            found = self._lenient(attribute, [(text, place)])
            if not found:
                return None
            text = found[0][0]
        return self._text.single(attribute, text, place)

    def _texts(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        first = source.path.component or 1
        return self._from_texts(attribute, source, segments, lambda r: data_types.coded_text(r, first))

    def _from_texts(
        self,
        attribute: MappedAttribute,
        source: FieldSource,
        segments: list[Segment],
        read: Callable[[Repetition], str],
    ) -> Any:
        field = source.path.field
        found: list[tuple[str, str]] = []
        for repetition, segment in self._offers(attribute, source, segments):
            text = read(repetition)
            if text.strip():
                found.append((text, segment.at(field)))
        if not found:
            return None
        if found[0][0].strip() == DELETE:
            return [] if attribute.multiple else ""
        first = found[0][0]
        if self._replaces and attribute.keyword in data_types.EXACT:
            found = self._lenient(attribute, found)
            if not found:
                return None
        if attribute.keyword in self._profile.values:
            value = self._text.by_table(attribute, found)
        elif attribute.vr in MOMENTS:
            value = self._text.moment(attribute, *found[0], day=self._day)
        elif attribute.multiple:
            parts = (part for text, place in found for part in self._text.parts(attribute, text, place))
            value = list(dict.fromkeys(parts)) or None
        else:
            value = self._text.single(attribute, *found[0])
        if len(segments) > 1 or segments[0].repeats(field):
            self._tell_of_others(attribute, source, segments, read, first)
        return value

    def _lenient(self, attribute: MappedAttribute, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Texts of an identifier after the leniencies of the profile, each of which is told."""
        place = found[0][1]
        result = lenient(attribute, [text for text, _ in found], self._profile)
        for told in result.told:
            self._doubts.note(place, told)
        self._long[attribute.keyword] = result.long
        return [(text, place) for text in result.texts]

    def _tell_of_others(
        self,
        attribute: MappedAttribute,
        source: FieldSource,
        segments: list[Segment],
        read: Callable[[Repetition], str],
        taken: str,
    ) -> None:
        """An attribute with one value takes the first: that there are others is told."""
        field = source.path.field
        if attribute.multiple or attribute.keyword in _AMONG_OTHERS or "[" in source.text:
            return
        if self._profile.drops_others(attribute.keyword):
            return  # its table looks at all of them
        for segment in segments if source.path.segment != "TQ1" else segments[:1]:  # further timings are told of
            for repetition in segment.repetitions(field):
                if read(repetition).strip() not in ("", DELETE, taken.strip()):
                    self._doubts.note(segment.at(field), SEVERAL)

    def _notes(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        """Free text: a line for each repetition and segment."""
        lines = [r.get() for segment in segments for r in segment.offered(source.path)]
        if lines == [DELETE]:
            return ""
        return self._text.single(attribute, "\r\n".join(lines), segments[0].at(source.path.field))

    def _names(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        offers = [(r, segment) for r, segment in self._offers(attribute, source, segments) if r.text]
        if offers and offers[0][0].text == DELETE:
            return [] if attribute.multiple else ""
        component, found = source.path.component or 1, []
        for group in [[offer] for offer in offers] if attribute.multiple else [offers] if offers else []:
            place = group[0][1].at(source.path.field)
            name = self._name(source.kind, [r for r, _ in group], component)
            for doubt in name.doubts:
                self._doubts.note(place, doubt)
            if name.text:
                found.append(name.text)
            elif not name.doubts and any(composites.identifies(source.kind, r, component) for r, _ in group):
                self._doubts.note(place, "An identifier without a name is left out")
        if source.kind is FieldType.CN and found:
            self._tell_of_others(
                attribute, source, segments, lambda r: self._name(source.kind, [r], component).text, found[0]
            )
        return (found or None) if attribute.multiple else (found[0] if found else None)

    def _name(self, kind: FieldType, repetitions: list[Repetition], component: int) -> ReadName:
        if kind is FieldType.XPN:
            return names.from_xpn(repetitions, self._profile.names)
        if kind is FieldType.XCN:
            return names.from_xcn(repetitions, self._profile.names)
        return names.from_cn(repetitions[0].components(component))

    def _codes(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        designators = self._profile.values.get("CodingSchemeDesignator")
        return composites.codes(attribute, source, segments, designators, self._doubts)

    def _other_ids(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        patient = next(iter(self._view.all("PID")), segments[0])
        return composites.other_ids(attribute, source, segments[0], patient, self._doubts)

    def _issuer(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        return composites.issuer(attribute, source, segments[0], self._doubts)

    def _measure(self, attribute: MappedAttribute, source: FieldSource, segments: list[Segment]) -> Any:
        measure = self._profile.measures.get(attribute.keyword)
        if measure is None:
            return None
        found = measured(segments, measure)
        for place, text in found.doubts:
            self._doubts.note(place, text)
        return found.value


_READ: Mapping[FieldType, Callable[[Reader, MappedAttribute, FieldSource, list[Segment]], Any]] = {
    FieldType.XPN: Reader._names,
    FieldType.XCN: Reader._names,
    FieldType.CN: Reader._names,
    FieldType.CODE: Reader._codes,
    FieldType.TEXT: Reader._texts,
    FieldType.NOTES: Reader._notes,
    FieldType.OTHER_IDS: Reader._other_ids,
    FieldType.EI: Reader._issuer,
    FieldType.HD: Reader._issuer,
    FieldType.CX_QUALIFIERS: Reader._issuer,
    FieldType.MEASURE: Reader._measure,
}
