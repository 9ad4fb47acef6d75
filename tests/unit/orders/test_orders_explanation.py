"""Where each attribute of a worklist entry comes from, and messages as people paste them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from broker.hl7.header import read_header
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import ProfileBook, built_in
from broker.orders.mapping.provenance import ValueOrigin
from broker.orders.trying.explanation import Explanation, explain
from broker.orders.trying.preview import as_bytes, clock, preview, split

ZONE = ZoneInfo("Europe/Zurich")
SITE = """
name = "x"
extends = "ihe"
[defaults]
RequestedProcedurePriority = "LOW"
IssuerOfPatientID = "HOME"
[[station]]
when = { Modality = "MR" }
ae_title = "MR1"
trust_message = false
"""
MESSAGE = """MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000+0100||OMI^O23|1|P|2.5
PID|||1||DOE^J
ORC|NW|P1|F1
TQ1|1||||||20260312100000
OBR|1|P1|F1|HEAD^Head
IPC|||||IRM||||OLD1
ORC|NW|P2
TQ1|1
OBR|2|P2||ARM^Arm
IPC|A2||||CT
"""


def explained(message: str = MESSAGE, text: str = SITE) -> Explanation:
    document = profile_document.read(text, "test")
    return explain(message.replace("\n", "\r").encode(), ProfileBook({"x": document}).named("x"), ZONE)


def rows(found: Explanation, title: str) -> dict[str, ValueOrigin]:
    (part,) = (part for part in found.parts if part.title.startswith(title))
    return {row.keyword: row for row in part.rows}


def test_every_value_says_where_it_comes_from() -> None:
    found = explained()
    assert (found.profile, found.code) == ("x", "AA")
    titles = [part.title for part in found.parts]
    assert titles == [
        "patient", "order 1 (ORC^1)", "order 2 (ORC^2)", "step 1 (OBR^1 IPC^1)", "step 2 (OBR^2 IPC^2)",
        "worklist entry 1", "worklist entry 2",
    ]  # fmt: skip
    patient = rows(found, "patient")
    name = patient["PatientName"]
    assert (name.value, name.how, name.path, name.location) == ("DOE^J", "message", "PID-5:XPN", "PID^1^5")
    assert (patient["IssuerOfPatientID"].value, patient["IssuerOfPatientID"].how) == ("HOME", "default")
    step = rows(found, "step 1")
    modality = step["Modality"]
    assert (modality.value, modality.how, modality.raw, modality.path) == ("MR", "table", "IRM", "IPC-5.1")
    station = step["ScheduledStationAETitle"]
    assert (station.value, station.how, station.note) == (["MR1"], "station", "rule 1")
    assert step["ScheduledProcedureStepStartTime"].path == "TQ1-7"
    assert step["ScheduledProcedureStepStartTime"].location == "TQ1^1^7"
    assert rows(found, "step 2")["Modality"].location == "IPC^2^5"


def test_what_the_message_does_not_say_is_explained_too() -> None:
    found = explained()
    made = rows(found, "worklist entry 1")
    assert (made["AccessionNumber"].value, made["AccessionNumber"].note) == ("F1", "filler order number")
    assert made["RequestedProcedureID"].note == "accession number"
    assert made["StudyInstanceUID"].note.startswith("generated")
    assert (made["RequestedProcedurePriority"].value, made["RequestedProcedurePriority"].how) == ("LOW", "default")
    second = rows(found, "worklist entry 2")
    assert "AccessionNumber" not in second
    assert second["ScheduledStationAETitle"].value == ["UNASSIGNED"]
    assert second["ScheduledProcedureStepStartDate"].note == "no start in the message: the time of receipt"
    assert second["ScheduledProcedureStepStartTime"].value == "080000"


def test_a_refused_message_is_explained_with_its_findings() -> None:
    found = explained(MESSAGE.replace("|1||DOE^J", "|||DOE^J"))
    assert found.code == "AE"
    assert [(finding.location, finding.code) for finding in found.findings] == [("PID^1^3", "101")]
    assert found.answers == ()
    assert rows(found, "patient")["PatientName"].value == "DOE^J"


@pytest.mark.parametrize(("text", "code"), [("", ""), ("nonsense", ""), ("MSH|^^", "AR"), ("MSH|^~\\&|A", "AE")])
def test_what_is_no_message_has_no_parts(text: str, code: str) -> None:
    found = explained(text)
    assert (found.code, found.parts) == (code, ())


def test_observing_a_profile_changes_nothing() -> None:
    raw = MESSAGE.replace("\n", "\r").encode()
    found = ProfileBook({"x": profile_document.read(SITE, "test")}).named("x")
    plain = preview(raw, found, ZONE)
    assert explain(raw, found, ZONE).answers == tuple(a for ordered in plain.ordered for a in ordered.answers)
    assert found.trace is None


def test_a_cancel_is_explained_without_worklist_entries() -> None:
    cancel = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORM^O01|1|P|2.5\nPID|||1||DOE^J\nORC|CA|P1\nOBR|1|P1"
    found = explained(cancel)
    assert (found.code, found.answers) == ("AA", ())


@pytest.mark.parametrize(
    ("declared", "codec"),
    [("8859/1", "cp1252"), ("", "utf-8"), ("UNICODE UTF-8", "utf-8"), ("8859/15", "iso8859_15"), ("MARTIAN", "utf-8")],
)
def test_pasted_text_gets_the_declared_character_set(declared: str, codec: str) -> None:
    header = "MSH|^~\\&|A|B|C|D|T||ORM^O01|1|P|2.3.1||||||" + declared
    text = f"\x0b  {header}\n\nPID|||1||LEFÈVRE^ZOÉ\r\n\x1c"
    assert as_bytes(text) == f"{header}\rPID|||1||LEFÈVRE^ZOÉ\r".encode(codec)


def test_a_text_may_hold_several_messages() -> None:
    assert split("\x0bMSH|1\nPID\n\x1c\n\n  MSH|2\r\nPID\r") == ["MSH|1\nPID\n", "MSH|2\nPID\n"]
    assert split("from the log:\nMSH|1\rPID") == ["MSH|1\nPID"]
    assert split(" \nPID|MSH") == []


@pytest.mark.parametrize(
    ("sent", "zone", "wanted"),
    [
        ("20260312081544+0100", None, datetime(2026, 3, 12, 8, 15, 44, tzinfo=timezone(timedelta(hours=1)))),
        ("20260312081544.123-0500", None, datetime(2026, 3, 12, 8, 15, 44, tzinfo=timezone(timedelta(hours=-5)))),
        ("202603120815+0000", ZONE, datetime(2026, 3, 12, 9, 15, tzinfo=ZONE)),
        ("202603120815", ZONE, datetime(2026, 3, 12, 8, 15, tzinfo=ZONE)),
        ("20260312", None, datetime(2026, 3, 12, tzinfo=UTC)), ("", None, datetime(2000, 1, 1, tzinfo=UTC)),
        ("20261399+9999", None, datetime(2000, 1, 1, tzinfo=UTC)), ("soon", ZONE, datetime(2000, 1, 1, tzinfo=ZONE)),
    ],
)  # fmt: skip
def test_the_clock_of_a_preview_stands_at_the_message(sent: str, zone: ZoneInfo | None, wanted: datetime) -> None:
    header = read_header(f"MSH|^~\\&|A|B|C|D|{sent}||ORM^O01|1|P|2.5".encode())
    assert clock(header, zone) == wanted
    assert built_in().name == "ihe"
