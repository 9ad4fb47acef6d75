"""Reads scheduling messages (SIU): changes of appointments by a mapping profile (HL7 2.5.1 §10.3, §10.6).

S12, S13 and S14 say when, where, on what and by whom; S15, S16 and S17 that it is off; S26 that the patient did not
come. S18 to S22 tell of a service or resource of an appointment: senders repeat the whole appointment, so they are read
as S14; a segment with action code D (table 0206) takes its service or resource away. S23 and S24 (slots blocked and
opened again) concern no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.message import DELETE, Message, Segment, Segments, undeleted
from broker.model.order import Document, EntityId
from broker.orders.core.appointments import END, MOVED, START, AppointmentAction, AppointmentChange, Slot
from broker.orders.core.identifiers import by_authority
from broker.orders.core.values import MAX_STEPS, Conversion, OrderKeys, PatientChange
from broker.orders.inbound import appointed
from broker.orders.inbound.appointed import ScheduleReading
from broker.orders.inbound.doubts import Findings
from broker.orders.inbound.numbers import FILLER, PLACER, numbered, order_keys
from broker.orders.inbound.orm import patient_change
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.data_types import span
from broker.orders.mapping.profile import AppointmentCancel, LongIdentifiers, Profile, UnknownAppointment
from broker.orders.mapping.representations import LENGTH
from broker.orders.mapping.value_table import OTHERS, ValueTable

_BOOKS = frozenset({"S12", "S13", "S14", "S18", "S19", "S20", "S21", "S22"})
_UNBOOKS = frozenset({"S15", "S16", "S17"})
IGNORED = frozenset({"S23", "S24"})
EVENTS = frozenset({*_BOOKS, *_UNBOOKS, "S26", *IGNORED})
_STATION = "ScheduledStationAETitle"
_STATION_SOURCES = ("AIG-3.1", "AIG-3.2", "AIL-3.2", "AIL-3.1")
# what is emptied when the segment that gave it is taken away
_GIVEN_BY = {"AIG": _STATION, "AIL": "ScheduledProcedureStepLocation", "AIP": "ScheduledPerformingPhysicianName"}
# SCH-25 (table 0278), where it says more than the event does; elsewhere only what agrees with the event
_OFF = frozenset({"CANCELLED", "CANCELED", "DC", "DELETED"})
_ON = frozenset({"", "PENDING", "WAITLIST", "BOOKED", "OVERBOOK"})
_MODIFIED = {
    **dict.fromkeys(_OFF, AppointmentAction.UNBOOK),
    "NOSHOW": AppointmentAction.NO_SHOW,
    "STARTED": AppointmentAction.START,
    "COMPLETE": AppointmentAction.COMPLETE,
}
_UNITS = {"": 60, "MIN": 60, "M": 60, "S": 1, "SEC": 1, "H": 3600, "HR": 3600, "D": 86_400}  # UCUM, ISO+, common ones
_LONGEST = 366 * 86_400  # seconds


def convert(message: Message, profile: Profile, zone: tzinfo) -> Conversion:
    """The changes of appointments of a message, one for each order; times on the site's wall clock."""
    message = by_authority(message, profile.identifiers.patient_authorities)
    findings = Findings()
    event = message.header.get(9, 2)
    if event in IGNORED:
        findings.add(
            "MSH^1^9", ErrorCode.ACCEPTED, "Blocked slots concern no order: recorded without effect", Severity.WARNING
        )
        return Conversion((), findings.all())
    source = ScheduleReading(message, profile, zone, findings)
    if message.first("SCH") is None:
        findings.add("SCH^1", ErrorCode.SEGMENT_SEQUENCE, "Schedule activity segment is missing")
        return Conversion((), findings.all())
    if len(message.all("SCH")) > 1:
        findings.add("SCH^2", ErrorCode.SEGMENT_SEQUENCE, "More than one appointment in a message")
    asked = _asked(source, event)
    views = _views(message, findings)
    slots = [_slot(source, view, asked) for view in views]
    wrong = any(finding.is_error for finding in findings.all())
    if (
        not wrong
        and asked is AppointmentAction.BOOK
        and event in {"S12", "S13"}
        and not all(_has_start(slot) for slot in slots)
    ):
        findings.add("SCH^1^11", ErrorCode.REQUIRED_FIELD_MISSING, "Start of the appointment is missing")
    changes = _changes(source, event, asked, slots, views)
    return Conversion(tuple(changes), findings.all())


def _has_start(slot: Slot) -> bool:
    return slot.removed or bool(slot.attributes.get(START[0]))


def _asked(source: ScheduleReading, event: str) -> AppointmentAction:
    """What event and SCH-25 ask for together; a status that contradicts the event is only noted."""
    text = source.message.get("SCH-25.1").strip()
    status = text.upper().replace("-", "").replace(" ", "").replace("_", "")
    if event in _BOOKS:
        if event not in {"S12", "S13"} and status in _MODIFIED:
            return _MODIFIED[status]
        asked, fits = AppointmentAction.BOOK, status in _ON
    elif event in _UNBOOKS:
        if status == "NOSHOW":
            return AppointmentAction.NO_SHOW
        asked, fits = AppointmentAction.UNBOOK, status == "" or status in _OFF
    else:
        asked, fits = AppointmentAction.NO_SHOW, status in {"", "NOSHOW"}
    if not fits:
        source.findings.add(
            "SCH^1^25",
            ErrorCode.TABLE_VALUE_NOT_FOUND,
            "Status contradicts the event or is not known: the event counts",
            Severity.WARNING,
        )
    return asked


def _changes(
    source: ScheduleReading, event: str, asked: AppointmentAction, slots: list[Slot], views: list[Segments]
) -> Iterator[AppointmentChange]:
    message, profile = source.message, source.profile
    number = undeleted(message.get("SCH-2.1")).strip() or undeleted(message.get("SCH-1.1")).strip()
    creates = profile.policy.unknown_appointment is UnknownAppointment.CREATE and asked is AppointmentAction.BOOK
    patient = _patient(source, source.findings if creates else Findings())
    orders, guessed, location = _orders(source, views)
    each = len(orders) == len(slots)
    if len(orders) * (1 if each else len(slots)) > MAX_STEPS:
        source.findings.add("SCH^1^26", ErrorCode.SEGMENT_SEQUENCE, "Too many orders and services in one message")
        return
    for index, keys in enumerate(orders):
        # as many services as orders: one each; else each order takes from all what fits its codes
        one = slice(index, index + 1) if each else slice(None)
        create, wrong = appointed.order(source, keys, patient, slots[one], views[one]) if creates else (None, ())
        yield AppointmentChange(
            event=event,
            asked=asked,
            number=number,
            keys=keys,
            patient=patient,
            slots=tuple(slots[one]),
            sent=span(message.header.get(7), source.zone),
            guessed=guessed,
            cancels=profile.policy.appointment_cancel is AppointmentCancel.CANCEL,
            create=create,
            create_findings=wrong,
            location=location,
        )


def _orders(source: ScheduleReading, views: list[Segments]) -> tuple[list[OrderKeys], bool, str]:
    """Orders, whether they are guessed, and where the message names them.

    By the paths of the profile's section `appointment`, if it maps an order number; else by SCH-26 and SCH-27, which
    repeat together; without them by SCH-1 and SCH-2: before v2.4 there is no SCH-26, and senders put order numbers into
    the appointment numbers.
    """
    mapped = [a.keyword for a in source.profile.sections["appointment"] if a.keyword in {PLACER[0], FILLER[0]}]
    if mapped:
        readers = [Reader(source.around(view), source.profile, source.zone, source.findings) for view in views]
        keys = dict.fromkeys(order_keys(reader, "appointment") for reader in readers)
        location = readers[0].where("appointment", mapped[0]) if readers else "SCH^1"
        return _named(source, list(keys), location), False, location
    for placer, filler, guessed in ((26, 27, False), (1, 2, True)):
        placers, fillers = _entities(source, placer), _entities(source, filler)
        pairs = [
            OrderKeys(*(part[index] if index < len(part) else EntityId() for part in (placers, fillers)))
            for index in range(max(len(placers), len(fillers)))
        ]
        if any(keys.placer.number or keys.filler.number for keys in pairs):
            location = "SCH^1^1" if guessed else "SCH^1^26"
            return _named(source, list(dict.fromkeys(pairs)), location), guessed, location
    return _named(source, [], "SCH^1^26"), False, "SCH^1^26"


def _named(source: ScheduleReading, orders: list[OrderKeys], location: str) -> list[OrderKeys]:
    """Those orders that have a number; an error if there is none."""
    found = [keys for keys in orders if keys.placer.number or keys.filler.number]
    if not found:
        text = "Placer and filler order number are missing"
        source.findings.add(location, ErrorCode.REQUIRED_FIELD_MISSING, text)
    return found


def _entities(source: ScheduleReading, field: int) -> list[EntityId]:
    segment = source.message.first("SCH")
    found = []
    for repetition in segment.repetitions(field) if segment else ():
        number, *issuer = (undeleted(repetition.get(part)).strip() for part in (1, 2, 3, 4))
        if len(number) > LENGTH["LO"] and source.profile.reading.long_identifiers is LongIdentifiers.REFUSE:
            text = f"Value cannot be used: longer than {LENGTH['LO']} characters"
            source.findings.add(f"SCH^1^{field}", ErrorCode.DATA_TYPE, text)
            number = ""
        found.append(numbered(number, *issuer))
    return found


def _patient(source: ScheduleReading, findings: Findings) -> PatientChange | None:
    """The patient, if the message names one: appointments are about orders whose patient is known."""
    attributes = Reader(source.message, source.profile, source.zone, findings).section("patient")
    if not attributes.get("PatientID"):
        return None
    return patient_change(source.message, attributes, source.profile.defaults.get("patient", {}))


def _views(message: Message, findings: Findings) -> list[Segments]:
    """One view for each service: its AIS with the resources of its group. An appointment without any is one service.

    A group with several services may have as many resources of a kind: then each service has its own. Services and
    resources before the first RGS are one group: the segment is required (HL7 2.5.1 §10.4), but often left out.
    """
    services, resources = len(message.all("AIS")), sum(len(message.all(name)) for name in _GIVEN_BY)
    if max(services, len(message.all("RGS"))) > MAX_STEPS or resources > 4 * MAX_STEPS:
        findings.add("AIS^1", ErrorCode.SEGMENT_SEQUENCE, "Too many services or resources in one message")
        return []
    head, groups = message.groups("RGS")
    if any(head.all(name) for name in ("AIS", *_GIVEN_BY)):
        text = "Resource group segment is missing: what follows SCH is taken as one group"
        findings.add("RGS^1", ErrorCode.SEGMENT_SEQUENCE, text, Severity.WARNING)
        groups = [head, *groups]
    shared = [segment for name in ("MSH", "SCH", "TQ1") for segment in message.all(name)]
    views = []
    for group in groups:
        wanted = group.all("AIS")
        for index in range(max(len(wanted), 1)):
            own = wanted[index : index + 1]
            for name in _GIVEN_BY:
                found = group.all(name)
                own += found[index : index + 1] if len(found) == len(wanted) else found
            views.append(Segments([*shared, *own]))
    return views or [Segments(shared)]


def _removed(segment: Segment | None) -> bool:
    """Segment action code D (AIS-2 and its like, table 0206)."""
    return segment is not None and segment.get(2).strip().upper() == "D"


def _slot(source: ScheduleReading, view: Segments, asked: AppointmentAction) -> Slot:
    service = view.first("AIS")
    codes = {service.get(3, part).strip().casefold() for part in (1, 4)} - {"", DELETE} if service else set()
    if asked is not AppointmentAction.BOOK:
        return Slot(frozenset(codes), {})
    if _removed(service):
        return Slot(frozenset(codes), {}, removed=True)
    gone = [keyword for name, keyword in _GIVEN_BY.items() if view.all(name) and all(map(_removed, view.all(name)))]
    kept = Segments(segment for segment in view if segment.name not in _GIVEN_BY or not _removed(segment))
    given = Reader(source.around(kept), source.profile, source.zone, source.findings).section("appointment")
    attributes: Document = {keyword: value for keyword, value in given.items() if keyword in MOVED}
    attributes.update({keyword: [] if keyword == _STATION else "" for keyword in gone})
    attributes.update(_times(source, kept, given))
    if stations := _stations(source, kept):
        attributes[_STATION] = stations
    return Slot(frozenset(codes), attributes)


def _stations(source: ScheduleReading, view: Segments) -> list[str]:
    """AE titles that the profile's table has for equipment or room; what is not in it is no station."""
    table = source.profile.values.get(_STATION) or ValueTable({})
    for place in _STATION_SOURCES:
        name, _, rest = place.partition("-")
        field, component = (int(part) for part in rest.split("."))
        texts = [segment.get(field, component).strip().upper() for segment in view.all(name)]
        titles = [str(table.find(text) or table.get(OTHERS, "")) for text in texts if text and text != DELETE]
        if any(titles):
            return list(dict.fromkeys(title for title in titles if title))
    if equipment := view.first("AIG"):
        text = "Equipment is not in the table of stations: the station stays"
        source.findings.add(equipment.at(3), ErrorCode.TABLE_VALUE_NOT_FOUND, text, Severity.WARNING)
    return []


def _times(source: ScheduleReading, view: Segments, given: Document) -> Document:
    """Start and end. The end is that of the service by its duration, of the appointment, or start and its duration."""
    if not given.get(START[0]):
        return {}
    day, clock = given[START[0]], given.get(START[1]) or "000000"  # a date alone is a start at midnight
    times: Document = {START[0]: day, START[1]: clock, END[0]: "", END[1]: ""}
    service, timing = _seconds(source, view, "AIS-7", "AIS-8"), _seconds(source, view, "TQ1-6.1", "TQ1-6.2")
    if not service and given.get(END[0]):
        end = given[END[0]], given.get(END[1]) or ""
    elif length := service or timing or _seconds(source, view, "SCH-9", "SCH-10"):
        start = datetime.strptime(day + clock[:6], "%Y%m%d%H%M%S")  # noqa: DTZ007 - wall clock of the site
        try:
            moment = f"{start + timedelta(seconds=length):%Y%m%d%H%M%S}"
        except OverflowError:  # in the last year that there is
            return times
        end = moment[:8], moment[8:]
    else:
        return times
    if end >= (day, clock):
        times.update(zip(END, end, strict=True))
    else:
        text = "End is before the start and is left out"
        source.findings.add(view.at("SCH-11"), ErrorCode.DATA_TYPE, text, Severity.WARNING)
    return times


def _seconds(source: ScheduleReading, view: Segments, amount: str, unit: str) -> float:
    """A duration; 0 for none, and for what is none, which is told."""
    text = view.get(amount).strip()
    factor = _UNITS.get(view.get(unit + ".1" if "." not in unit else unit).strip().upper(), 0)
    if text in ("", DELETE):
        return 0
    try:
        number = float(text)
    except ValueError:
        number = -1
    if number and not 0 < number * factor < _LONGEST:
        told = "Duration is not understood and is left out"
        source.findings.add(view.at(amount), ErrorCode.DATA_TYPE, told, Severity.WARNING)
        return 0
    return number * factor
