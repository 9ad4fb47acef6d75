"""Reports a run: counts orders, answers, objects and deliveries, and names everything that is wrong. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from pydicom.dataset import Dataset

from broker.simulate.modality import Sent
from broker.simulate.orders import SimulatedOrder
from broker.simulate.pacs import Kept
from broker.simulate.stations import Station

Expected = Callable[[Sent], frozenset[str]]
Arrived = Mapping[str, Mapping[str, Kept]]  # by PACS, by SOP Instance UID


@dataclass(slots=True)
class Course:
    """Everything the simulators saw. Seconds; `found` maps accession numbers to the time from order to answer."""

    orders: Sequence[SimulatedOrder]
    _: KW_ONLY
    accepted: set[str] = field(default_factory=set)
    found: dict[str, float] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    order_seconds: float = 0.0
    image_seconds: float = 0.0  # from the first C-STORE to the last arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One station and transfer syntax. `identical` counts objects that are right at every PACS."""

    station: Station
    transfer_syntax: str
    orders: int
    found: int
    sent: int
    bytes: int
    identical: int
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The whole run in numbers and words. It is good if there are no findings."""

    lines: tuple[Line, ...]
    findings: tuple[str, ...]
    orders: int
    found: int
    sent: int
    identical: int
    deliveries: int  # one per object and PACS, identical ones only
    repeats: int  # arrivals beyond the first of an object
    bytes: int
    orders_per_second: float
    to_worklist: float  # median seconds from sending an order to its worklist answer
    images_per_second: float
    bytes_per_second: float

    @property
    def good(self) -> bool:
        """Every order was found and every object arrived identical exactly where it should."""
        return not self.findings


def differences(order: SimulatedOrder, answer: Dataset) -> list[str]:
    """Keywords whose values in a worklist answer are not those of the order."""
    step = answer.ScheduledProcedureStepSequence[0]
    of_order = {
        "PatientName": order.patient.person_name,
        "PatientID": order.patient.patient_id,
        "PatientBirthDate": f"{order.patient.birth_date:%Y%m%d}",
        "PatientSex": order.patient.sex,
        "StudyInstanceUID": order.study_instance_uid,
        "RequestedProcedureID": order.procedure_id,
        "RequestedProcedureDescription": order.station.procedure[1],
    }
    of_step = {
        "ScheduledProcedureStepID": order.step_id,
        "ScheduledProcedureStepStartTime": f"{order.start:%H%M%S}",
        "ScheduledProcedureStepDescription": order.station.protocol[1],
    }
    return [
        keyword
        for source, table in ((answer, of_order), (step, of_step))
        for keyword, value in table.items()
        if str(source.get(keyword, "")) != value
    ]


def settle(course: Course, arrived: Arrived, expected: Expected) -> RunReport:
    """Compare what was sent with what arrived."""
    findings = [*course.troubles, *_orders_missing(course)]
    identical: set[str] = set()
    deliveries = 0
    for sent in course.sent:
        wrong = list(_wrong(sent, arrived, expected(sent)))
        findings += wrong
        if not wrong:
            identical.add(sent.sop_instance)
            deliveries += len(expected(sent))
    known = {sent.sop_instance for sent in course.sent}
    findings += [
        f"image {uid}: at {name}, but nobody sent it" for name, uids in arrived.items() for uid in uids.keys() - known
    ]
    total = sum(sent.length for sent in course.sent)
    return RunReport(
        lines=tuple(_lines(course, identical, expected)),
        findings=tuple(findings),
        orders=len(course.orders),
        found=len(course.found),
        sent=len(course.sent),
        identical=len(identical),
        deliveries=deliveries,
        repeats=sum(kept.arrivals - 1 for objects in arrived.values() for kept in objects.values()),
        bytes=total,
        orders_per_second=_rate(len(course.accepted), course.order_seconds),
        to_worklist=statistics.median(course.found.values()) if course.found else 0.0,
        images_per_second=_rate(len(course.sent), course.image_seconds),
        bytes_per_second=_rate(total, course.image_seconds),
    )


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def _orders_missing(course: Course) -> Iterator[str]:
    sent: dict[str, int] = {}
    for item in course.sent:
        sent[item.accession] = sent.get(item.accession, 0) + 1
    for order in course.orders:
        if order.accession in course.accepted and order.accession not in course.found:
            yield f"order {order.accession}: accepted, but not on the worklist of {order.station.ae_title}"
        lacking = order.station.objects - sent.get(order.accession, 0)
        if order.accession in course.found and lacking:
            yield f"order {order.accession}: {lacking} of {order.station.objects} images could not be stored"


def _wrong(sent: Sent, arrived: Arrived, destinations: frozenset[str]) -> Iterator[str]:
    for name, objects in arrived.items():
        kept = objects.get(sent.sop_instance)
        label = f"image {sent.sop_instance} ({sent.station})"
        if kept is None:
            if name in destinations:
                yield f"{label}: did not arrive at {name}"
        elif name not in destinations:
            yield f"{label}: arrived at {name}, though no rule says so"
        elif kept.sha256 != sent.sha256 or kept.changed:
            yield f"{label}: arrived at {name} with other bytes ({kept.length} instead of {sent.length})"
        elif (kept.sop_class, kept.transfer_syntax) != (sent.sop_class, sent.transfer_syntax):
            yield f"{label}: arrived at {name} under another SOP class or transfer syntax"


def _lines(course: Course, identical: set[str], expected: Expected) -> Iterator[Line]:
    stations = {order.station.ae_title: order.station for order in course.orders}
    for station in stations.values():
        mine = [order for order in course.orders if order.station is station]
        for number, series in enumerate(station.series):
            kind = (series.sop_class, series.transfer_syntax)
            objects = [
                item
                for item in course.sent
                if item.station == station.ae_title and (item.sop_class, item.transfer_syntax) == kind
            ]
            yield Line(
                station=station,
                transfer_syntax=series.transfer_syntax,
                orders=0 if number else len(mine),
                found=0 if number else sum(order.accession in course.found for order in mine),
                sent=len(objects),
                bytes=sum(item.length for item in objects),
                identical=sum(item.sop_instance in identical for item in objects),
                destinations=tuple(sorted({name for item in objects for name in expected(item)})),
            )
