from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from broker.dicom.dataset.folding import fold_for_search
from broker.errors import ConfigurationError
from broker.hl7.findings import MalformedMessage
from broker.hl7.message import parse
from broker.orders.core import names
from broker.orders.core.identifiers import Minter, accession, requested_procedure_id
from broker.orders.core.values import Conversion, OrderChange, merged
from broker.orders.inbound import orm as mapping
from broker.orders.mapping import data_types, parsing
from broker.orders.mapping.book import built_in

ZONE = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260312103000", ("20260312", "103000")), ("202603121030", ("20260312", "103000")),
        ("2026031210", ("20260312", "100000")), ("20260312", ("20260312", "")), ("202603", ("", "")),
        ("202603121030.0", ("20260312", "103000")), ("20260312103000.000", ("20260312", "103000")),
        ("20260312140000.1230+0100", ("20260312", "140000.123")), ("20260313093000+0900", ("20260313", "013000")),
        ("20260312233000-0500", ("20260313", "053000")), ("20260712120000+0100", ("20260712", "130000")),
    ],
)  # fmt: skip
def test_timestamps(text: str, expected: tuple[str, str]) -> None:
    assert data_types.timestamp(text, ZONE) == expected


@pytest.mark.parametrize(
    "text", ["20260231", "2026133T10", "202603122460", "20260312103000+9999", "x", "20", "２０２６", "202603121030.5"]
)
def test_impossible_timestamps(text: str) -> None:
    with pytest.raises(data_types.Unusable):
        data_types.timestamp(text, ZONE)


@pytest.mark.parametrize("offset", ["", "+0100", "+1400", "-1200"])
@pytest.mark.parametrize(("text", "day"), [("20260312", "20260312"), ("202603", ""), ("2026", "")])
@pytest.mark.parametrize("zone", [ZONE, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("America/Anchorage")], ids=str)
def test_an_offset_moves_no_date_without_a_time(text: str, day: str, offset: str, zone: ZoneInfo) -> None:
    assert data_types.timestamp(text + offset, zone) == (day, "")


def test_birth_date_ignores_the_offset() -> None:
    assert data_types.date("19760229233000-1200") == "19760229"


@pytest.mark.parametrize(
    ("pid5", "name"),
    [
        ("LEFÈVRE^ZOÉ^ANNE^^MME", "LEFÈVRE^ZOÉ^ANNE^MME"), ("Smith^John^Q^Jr^Dr^MD", "Smith^John^Q^Dr^Jr MD"),
        ("Müller-Weiß&von&Weiß^Käthe", "Müller-Weiß^Käthe"), ("A\\S\\B^C=D", "A B^C D"), ("DOE", "DOE"),
        ("山田^太郎^^^^^L^I~YAMADA^TARO^^^^^L^A", "YAMADA^TARO=山田^太郎"), ("X^Y^^^^^L~MAIDEN^Y^^^^^M", "X^Y"),
        ("N" * 80 + "^Y", "N" * 64),
    ],
)  # fmt: skip
def test_names(pid5: str, name: str) -> None:
    message = parse(f"MSH|^~\\&|A\rPID|||||{pid5}".encode())
    pid = message.first("PID")
    assert pid is not None
    assert names.from_xpn(pid.repetitions(5)).text == name


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Müller-Weiß ^ Käthe^^", "muller-weiss^kathe"), ("YAMADA^TARO=山田^太郎=", "yamada^taro=山田^太郎"),
        ("LEFÈVRE^ZOÉ", "lefevre^zoe"), ("", ""), ("=佐藤^花子", "=佐藤^花子"), ("ﾔﾏﾀﾞ", "ヤマタ"),
    ],
)  # fmt: skip
def test_folding(name: str, folded: str) -> None:
    assert fold_for_search(name) == folded
    assert fold_for_search(fold_for_search(name)) == folded


def test_merging() -> None:
    old = {"A": "1", "B": "2", "C": ["3"]}
    assert merged(old, {"A": "9", "B": "", "C": []}) == {"A": "9"}
    assert old["A"] == "1"


def test_minted_identifiers_fit_and_differ() -> None:
    import uuid

    mint = Minter(uuid.UUID(int=5))
    uids, shorts = {mint.uid() for _ in range(50)}, {mint.short("SPS") for _ in range(50)}
    assert len(uids) == len(shorts) == 50
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)
    assert all(len(short) == 16 for short in shorts)
    assert Minter(uuid.UUID(int=5)).uid() in uids


def test_ladders() -> None:
    import uuid

    mint = Minter(uuid.UUID(int=5))
    assert accession("", "", "F" * 17, "P1") == "P1"
    assert accession("", "OLD", "F1", "P1") == "OLD"
    assert accession("", "", "F" * 17, "P" * 17) == ""
    assert requested_procedure_id("", "", "A1", set(), mint) == "A1"
    assert requested_procedure_id("", "", "A1", {"A1"}, mint).startswith("RP")
    assert requested_procedure_id("", "R", "A1", set(), mint) == "R"


def converted(*segments: str) -> Conversion:
    lines = ["MSH|^~\\&|A|B|C|D|T||ORM^O01|1|P|2.5", *segments]
    return mapping.convert(parse("\r".join(lines).encode()), built_in(), ZONE)


def faults(*segments: str) -> set[tuple[str, str]]:
    return {(f.location, f.code) for f in converted(*segments).findings if f.is_error}


PID, ORC = "PID|||1||DOE^J", "ORC|NW|P1"
OBR = "OBR|1|P1||C^Chest||||||||||||||{0}|{1}|{2}||||{3}"


def obr(accession: str = "", procedure: str = "", step: str = "", modality: str = "CR") -> str:
    return OBR.format(accession, procedure, step, modality)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ((PID, ORC, obr()), set()),
        (("PID|||||DOE^J", ORC, obr()), {("PID^1^3", "101")}),
        (("PID|||1", ORC, obr()), {("PID^1^5", "101")}),
        ((ORC, obr()), {("PID^1^3", "101"), ("PID^1^5", "101")}),
        ((PID + "||20260231", ORC, obr()), set()),
        ((PID + "||1976", ORC, obr()), set()),
        ((PID, "ORC|ZZ|P1", obr()), {("ORC^1^1", "103")}),
        ((PID, "ORC||P1", obr()), {("ORC^1^1", "101")}),
        ((PID, "ORC|NW", "OBR|1|||C^Chest" + "|" * 20 + "CR"), {("ORC^1^2", "101")}),
        ((PID, ORC, "OBR|1|P1" + "|" * 22 + "CR"), {("OBR^1^4", "101")}),
        ((PID, ORC, obr(modality="")), {("OBR^1^24", "101")}),
        ((PID, ORC, obr(modality="QQ")), {("OBR^1^24", "103")}),
        ((PID, ORC, obr(accession="A" * 17)), {("OBR^1^18", "102")}),
        ((PID, ORC, obr(procedure="A" * 17)), {("OBR^1^19", "102")}),
        ((PID, ORC, obr(step="A" * 17)), {("OBR^1^20", "102")}),
        ((PID, ORC, obr(), "ZDS|1.2.03"), {("ZDS^1^1", "102")}),
        ((PID, ORC, obr(modality=""), "IPC|A|R|1.2.x|S|"), {("IPC^1^3", "102"), ("IPC^1^5", "101")}),
        ((PID, "ORC|NW|P1|||||^^^20260332", obr()), {("ORC^1^7", "102")}),
        ((PID, PID, ORC, obr()), {("PID^2", "100")}),
        ((PID,), {("ORC^1", "100")}),
        ((PID, obr()), {("ORC^1^1", "101")}),
        ((PID, "ORC|CA|P1", "OBR|1|P1"), set()),
        ((PID, ORC, obr(procedure="R1"), ORC, obr(procedure="R2"), "ZDS|1.2.3"), {("ZDS^1^1", "102")}),
    ],
)  # fmt: skip
def test_validation(segments: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    assert faults(*segments) == expected


def test_repeated_obr_belongs_to_its_orc() -> None:
    found = converted(PID, ORC, obr(step="S1"), obr(step="S2")).changes
    assert [[step.step_id for p in order.procedures for step in p.steps] for order in found] == [["S1", "S2"]]


def test_a_later_group_completes_what_the_first_one_leaves_out() -> None:
    first = obr(procedure="R1", step="S1")
    second = "OBR|2|P1|F1|C^Chest||||||||||||||A1|R1|S1||||CR|||||||^cough"
    (order,) = converted(
        PID, ORC, first, "ORC|NW|P1|F1^RIS", second, "NTE|1||note", "TQ1|1||||||20260312100000"
    ).changes
    assert isinstance(order, OrderChange)
    assert (order.filler.number, order.filler.issuer, order.accession) == ("F1", "RIS", "A1")
    assert order.request["FillerOrderNumberImagingServiceRequest"] == "F1"
    (procedure,) = order.procedures
    assert procedure.attributes["ReasonForTheRequestedProcedure"] == "cough"
    assert procedure.attributes["RequestedProcedureComments"] == "note"
    (step,) = procedure.steps
    assert step.attributes["ScheduledProcedureStepStartDate"] == "20260312"


def test_too_many_steps() -> None:
    with pytest.raises(MalformedMessage) as refused:
        faults(PID, *[ORC, obr()] * 300)
    assert (refused.value.finding.location, refused.value.finding.code) == ("ORC^257", "100")


def test_several_values_and_notes() -> None:
    segments = (
        PID,
        "NTE|1||of patient",
        "AL1|1||A^Iodine",
        "AL1|2||B^Nuts",
        ORC,
        obr(),
        "NTE|1||one~two",
        "NTE|2||three",
    )
    order = converted(*segments).changes[0]
    assert order.visit["Allergies"] == ["Iodine", "Nuts"]
    assert order.patient.attributes["PatientComments"] == "of patient"
    assert order.procedures[0].attributes["RequestedProcedureComments"] == "one\r\ntwo\r\nthree"


def test_measurements_in_other_units() -> None:
    weight, height = "OBX|1|NM|3141-9^Weight^LN||7200|g", "OBX|2|NM|8302-2^Height^LN||172|cm"
    attributes = converted(PID, ORC, obr(), weight, height).changes[0].patient.attributes
    assert (attributes["PatientWeight"], attributes["PatientSize"]) == ("7.2", "1.72")


def test_coded_values() -> None:
    segments = (PID.replace("DOE^J", "DOE^J|||H"), "ORC|NW|P1|||||^^^20260312^^A", obr(modality="irm"))
    order = converted(*segments).changes[0]
    assert order.patient.attributes["PatientSex"] == "M"
    assert order.procedures[0].attributes["RequestedProcedurePriority"] == "HIGH"
    assert order.procedures[0].steps[0].attributes["Modality"] == "MR"
    assert order.procedures[0].steps[0].attributes["ScheduledProcedureStepStartTime"] == "000000"


@pytest.mark.parametrize(
    "document",
    [
        {"name": "x", "patient": {"PatientNam": ["PID-5"]}}, {"name": "x", "patient": {"PatientName": ["PID5"]}},
        {"name": "x", "patient": {"PatientName": ["PID-5:ABC"]}}, {"name": "x", "patient": {"PatientName": "PID-5"}},
        {"name": "x", "patient": {"PatientName": ["PID-5:CE"]}}, {"name": "x", "oddity": {}}, {},
    ],
)  # fmt: skip
def test_bad_profiles_name_the_key(document: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="mapping profile"):
        parsing.parse(document)
