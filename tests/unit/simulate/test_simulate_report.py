"""The report of a demonstration: each way in which something can be missing is found and named."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from rich.console import Console

from broker.cli.demo.demo import ARCHIVE, CAD, destinations, exit_code
from broker.cli.demo.demo_view import show_report
from broker.simulate.modality import Sent
from broker.simulate.orders import SimulatedOrder, make_orders
from broker.simulate.pacs import Kept
from broker.simulate.report import Course, RunReport, differences, settle
from broker.simulate.stations import STATIONS

Objects = dict[str, dict[str, Kept]]


def _run() -> tuple[Course, Objects]:
    """One order for each station, everything found, sent and arrived."""
    course = Course(make_orders(len(STATIONS), date(2030, 3, 12), STATIONS), order_seconds=2, image_seconds=4)
    arrived: Objects = {ARCHIVE: {}, CAD: {}}
    for order in course.orders:
        course.accepted.add(order.accession)
        course.found[order.accession] = 0.1
        for series in order.station.series:
            for _ in range(series.count):
                uid = f"2.999.{len(course.sent)}"
                item = Sent(
                    sop_instance=uid,
                    sop_class=series.sop_class,
                    transfer_syntax=series.transfer_syntax,
                    station=order.station.ae_title,
                    modality=series.modality,
                    accession=order.accession,
                    length=1000,
                    sha256=f"digest of {uid}",
                )
                course.sent.append(item)
                for name in destinations(item):
                    arrived[name][uid] = Kept(series.sop_class, series.transfer_syntax, 1000, item.sha256)
    return course, arrived


def _settled(course: Course, arrived: Objects) -> tuple[RunReport, str]:
    report = settle(course, arrived, destinations)
    out = io.StringIO()
    show_report(Console(file=out, width=200), report)
    return report, out.getvalue()


def test_a_good_run_counts_everything() -> None:
    report, text = _settled(*_run())
    images = sum(station.objects for station in STATIONS)
    assert exit_code(report) == 0
    assert (report.orders, report.found, report.sent, report.identical) == (6, 6, images, images)
    assert report.deliveries == images + 4
    assert (report.orders_per_second, report.to_worklist, report.images_per_second) == (3.0, 0.1, images / 4)
    assert [line.sent for line in report.lines if line.station.modality == "CT"] == [4, 1]
    assert f"all {images} images" in text
    assert "bit for bit identical" in text


def test_a_lost_image_is_named() -> None:
    course, arrived = _run()
    lost = course.sent[3].sop_instance
    del arrived[ARCHIVE][lost]
    report, text = _settled(course, arrived)
    assert exit_code(report) == 1
    assert report.findings == (f"image {lost} (SIM_CT): did not arrive at {ARCHIVE}",)
    assert lost in text
    assert "Not everything arrived" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "other"}, "with other bytes"),
        ({"changed": True}, "with other bytes"),
        ({"transfer_syntax": "1.2.840.10008.1.2"}, "another SOP class or transfer syntax"),
    ],
)
def test_an_altered_image_is_not_identical(change: dict[str, str | bool], words: str) -> None:
    course, arrived = _run()
    uid = course.sent[0].sop_instance
    arrived[ARCHIVE][uid] = replace(arrived[ARCHIVE][uid], **change)  # type: ignore[arg-type]
    report, _ = _settled(course, arrived)
    assert [words in finding for finding in report.findings] == [True]
    assert report.identical == report.sent - 1


def test_an_image_where_no_rule_says_is_a_finding() -> None:
    course, arrived = _run()
    uid = course.sent[0].sop_instance
    arrived[CAD][uid] = arrived[ARCHIVE][uid]
    arrived[CAD]["2.999.77"] = arrived[ARCHIVE][uid]
    report, _ = _settled(course, arrived)
    assert exit_code(report) == 1
    assert report.findings[0] == f"image {uid} (SIM_CT): arrived at {CAD}, though no rule says so"
    assert report.findings[1] == f"image 2.999.77: at {CAD}, but nobody sent it"


def test_an_order_not_found_and_images_not_stored_are_findings() -> None:
    course, arrived = _run()
    del course.found[course.orders[5].accession]
    arrived[ARCHIVE].pop(course.sent[0].sop_instance)
    course.sent = course.sent[1:]
    report, _ = _settled(course, arrived)
    assert report.findings == (
        f"order {course.orders[0].accession}: 1 of 5 images could not be stored",
        f"order {course.orders[5].accession}: accepted, but not on the worklist of SIM_MG",
    )


def test_a_repeat_with_the_same_bytes_is_counted_and_good() -> None:
    course, arrived = _run()
    uid = course.sent[0].sop_instance
    arrived[ARCHIVE][uid] = replace(arrived[ARCHIVE][uid], arrivals=3)
    report, text = _settled(course, arrived)
    assert report.good
    assert report.repeats == 2
    assert "2 objects arrived more than once" in text


def _answer(order: SimulatedOrder) -> Dataset:
    step = Dataset()
    step.ScheduledProcedureStepID = order.step_id
    step.ScheduledProcedureStepStartTime = f"{order.start:%H%M%S}"
    step.ScheduledProcedureStepDescription = order.station.protocol[1]
    answer = Dataset()
    answer.PatientName, answer.PatientID = order.patient.person_name, order.patient.patient_id
    answer.PatientBirthDate, answer.PatientSex = f"{order.patient.birth_date:%Y%m%d}", order.patient.sex
    answer.StudyInstanceUID, answer.RequestedProcedureID = order.study_instance_uid, order.procedure_id
    answer.RequestedProcedureDescription = order.station.procedure[1]
    answer.ScheduledProcedureStepSequence = Sequence([step])
    return answer


def test_values_of_an_answer_are_compared_with_the_order() -> None:
    order = make_orders(3, date(2030, 3, 12), STATIONS)[2]
    answer = _answer(order)
    assert differences(order, answer) == []
    answer.PatientName = "SHIKEN^Hanako=??^??"
    del answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID
    assert differences(order, answer) == ["PatientName", "ScheduledProcedureStepID"]
