"""Reads one text as a value of its attribute: by a value table, as a date or time, or as it is."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from broker.hl7.message import DELETE
from broker.orders.inbound.doubts import Doubts, quoted
from broker.orders.mapping import data_types
from broker.orders.mapping.profile import MappedAttribute, Profile
from broker.orders.mapping.representations import LENGTH

MOMENTS = frozenset({"DA", "TM"})
SEVERAL = "Only the first of several values is used"
# a number that is cut is another one
NEVER_CUT = data_types.EXACT | {"IssuerOfPatientID", "AdmissionID", "OrderCallbackPhoneNumber"}
_ISO_DATE = "Date is not written as HL7 says (YYYYMMDD): read as year, month and day"


class TextReader:
    """Makes values of texts by a profile; what becomes another value or none is told with its place."""

    def __init__(self, profile: Profile, zone: tzinfo, doubts: Doubts) -> None:
        self._profile, self._zone, self._doubts = profile, zone, doubts
        self.emptied = False  # the last table gave nothing, by an entry that says so

    def by_table(self, attribute: MappedAttribute, found: list[tuple[str, str]]) -> Any:
        """Values by the table of the attribute; an entry that is empty is understood and empties it (`emptied`)."""
        values: list[str | int] = []
        understood = self.emptied = False
        for text, place in found:
            if text.strip() == DELETE:
                continue
            value = self._profile.mapped(attribute.keyword, text.strip())
            if value is None:
                self._doubts.unknown(place, attribute.keyword, text)
                continue
            self._doubts.known(place, text)
            understood = True
            fitting = self.single(attribute, value, place) if isinstance(value, str) else value
            if fitting is not None and fitting not in values:
                values.append(fitting)
        self.emptied = understood and not values
        if attribute.multiple:
            return values if understood else None
        if len(values) > 1:
            self._doubts.note(found[0][1], SEVERAL)
        return values[0] if values else "" if understood else None

    def moment(self, attribute: MappedAttribute, text: str, place: str, day: str = "") -> str | None:
        """A date, or a time of `day`, the date beside it."""
        try:
            if attribute.keyword == "PatientBirthDate":
                own, clock = data_types.date(text), ""
                if "-" in text.strip()[:5] and own:
                    self._doubts.note(place, _ISO_DATE)
            else:
                own, clock = data_types.timestamp(text, self._zone)
        except data_types.Unusable as error:
            self._doubts.unusable(place, attribute.keyword, text, error)
            return None
        if not own:
            told = f"Value{quoted(attribute.keyword, text)} is less than a date and is left out"
            self._doubts.note(place, told)
        if attribute.vr == "DA":
            return own or None
        if clock and day not in ("", own):
            self._doubts.note(place, "Time is one of another day than the date and is left out")
            return None
        self._doubts.told = True  # a date alone says nothing about a time
        return clock or None

    def single(self, attribute: MappedAttribute, text: str, place: str) -> str | int | None:
        """One value; that it cannot be one, or is cut, is told."""
        keyword, vr = attribute.keyword, attribute.vr
        try:
            value = data_types.unsigned(text) if vr == "US" else data_types.text(text, vr, exact=keyword in NEVER_CUT)
        except data_types.Unusable as error:
            if keyword == "Modality":
                return text.strip()  # who looks for it in the list of modalities says what it is not
            self._doubts.unusable(place, keyword, text, error)
            return None
        limit = LENGTH.get(vr, 64)
        if isinstance(value, str) and len(text.strip()) > limit:
            self._doubts.note(place, f"Value{quoted(keyword, text)} is longer than {limit} characters and is cut")
        return None if value == "" else value

    def parts(self, attribute: MappedAttribute, text: str, place: str) -> list[str | int]:
        """One of several values. A long text (LO) becomes several of them; a name or a number is never split."""
        if text.strip() == DELETE:
            return []
        if attribute.vr != "LO" or attribute.keyword in NEVER_CUT:
            value = self.single(attribute, text, place)
            return [] if value is None else [value]
        parts = data_types.pieces(text, attribute.vr)
        if len(parts) > 1:
            self._doubts.note(place, f"Value is longer than {LENGTH['LO']} characters and is split into several")
        return [*parts]
