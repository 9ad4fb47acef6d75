"""ORR^O02, ORI^O24 and ORG^O20 as hl7apy reads them (hl7-orders.md, sections 1.1 and 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hl7apy.core import Message
from hl7apy.parser import parse_message
from sqlalchemy import Connection, update
from support.orders.intake import steps, take
from support.service.site import order

from broker.store.db.database import Database
from broker.store.schema import tables

KINDS = {"ORM^O01": ("ORR", "O02"), "OMI^O23": ("ORI", "O24"), "OMG^O19": ("ORG", "O20")}


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    """The answers are the same on both databases."""
    return f"sqlite:///{tmp_path / 'broker.db'}"


def message(kind: str, control: str = "NW", *, version: str = "2.5.1", status: str = "", wants: str = "") -> bytes:
    """An order that leaves every identifier to us, of a patient with three writings of the name."""
    identity = f"{control}{status}{version}"
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||{kind}|{identity}|P|{version}|||{wants}|||UNICODE UTF-8",
        "PID|||4711^^^SITE||山田^太郎^^^^^L^I~YAMADA^TARO^^^DR^^L^A||19550803|M",
        f"ORC|{control}|P1^K\\T\\S|||{status}||^^^20260312100000",
        "OBR|1|P1^K\\T\\S||CHEST^Chest \\T\\ more^99LOC||||||||||||||||||||CR",
    ]
    return "".join(line + "\r" for line in lines).encode()


def parsed(raw: bytes) -> Message:
    """The answer in hl7apy, groups found."""
    return parse_message(raw.decode().replace("\r\r", "\r"), find_groups=True)


def test_generated_identifiers_are_returned_in_ori(database: Database) -> None:
    answer = take(database, message("OMI^O23^OMI_O23"), order_answers=True).answer
    read = parsed(answer)
    assert read.validate()
    assert read.msh.msh_9.to_er7() == "ORI^O24^ORI_O24"
    assert (read.msa.msa_1.to_er7(), read.msa.msa_2.to_er7()) == ("AA", "NW2.5.1")
    response = read.ori_o24_response
    pid = response.ori_o24_patient.pid
    assert pid.pid_3.to_er7() == "4711^^^SITE"
    assert [name.to_er7() for name in pid.pid_5] == ["YAMADA^TARO^^^DR^^L^A", "山田^太郎^^^^^L^I"]
    (step,) = database.read(steps).result()
    group = response.ori_o24_order
    assert (group.orc.orc_1.to_er7(), group.orc.orc_5.to_er7()) == ("OK", "SC")
    assert group.orc.orc_2.to_er7() == "P1^K\\T\\S"
    assert group.obr.obr_4.to_er7() == "CHEST^Chest \\T\\ more^99LOC"
    ipc = group.ipc
    assert [field.to_er7() for field in (ipc.ipc_1, ipc.ipc_2, ipc.ipc_3, ipc.ipc_4, ipc.ipc_5, ipc.ipc_9)] == [
        step["accession"], step["requested_procedure_id"], step["study_instance_uid"], step["step_id"],
        "CR", "UNASSIGNED",
    ]  # fmt: skip


def test_generated_identifiers_are_returned_in_org(database: Database) -> None:
    answer = take(database, message("OMG^O19^OMG_O19"), order_answers=True).answer
    (step,) = database.read(steps).result()
    assert f"\rZDS|{step['study_instance_uid']}^^Application^DICOM\r".encode() in answer
    read = parsed(b"\r".join(line for line in answer.split(b"\r") if not line.startswith(b"ZDS")))
    assert read.validate()
    assert read.msh.msh_9.to_er7() == "ORG^O20^ORG_O20"
    obr = read.org_o20_response.org_o20_order.obr
    assert [field.to_er7() for field in (obr.obr_18, obr.obr_19, obr.obr_20, obr.obr_24)] == [
        step["accession"], step["requested_procedure_id"], step["step_id"], "CR",
    ]  # fmt: skip


@pytest.mark.parametrize(("version", "kind"), [("2.3.1", "ORR^O02"), ("2.5.1", "ORR^O02^ORR_O02")])
def test_orr(database: Database, version: str, kind: str) -> None:
    """hl7apy cannot validate it: it takes the choice of OBR and others for a sequence."""
    answer = take(database, message("ORM^O01", version=version), order_answers=True).answer
    read = parsed(answer)
    assert read.msh.msh_9.to_er7() == kind
    assert [segment.name for segment in parse_message(answer.decode(), find_groups=False).children] == [
        "MSH", "MSA", "PID", "ORC", "OBR", "ZDS",
    ]  # fmt: skip
    assert read.orr_o02_response.orr_o02_order.orc.orc_1.to_er7() == "OK"


def codes(database: Database, control: str, status: str = "", **more: str) -> tuple[str, str, str]:
    """MSA-1, ORC-1 and ORC-5 of the answer to a message about the order."""
    answer = take(database, message("ORM^O01", control, status=status, **more), order_answers=True).answer
    lines = [line.split("|") for line in answer.decode().split("\r")]
    msa = next(line for line in lines if line[0] == "MSA")
    orc = next((line for line in lines if line[0] == "ORC"), ["ORC", ""])
    return msa[1], orc[1], (*orc, *[""] * 5)[5]


def set_status(connection: Connection, status: str) -> None:
    connection.execute(update(tables.scheduled_step).values(status=status))


@pytest.mark.parametrize(
    ("status", "control", "expected"),
    [
        ("SCHEDULED", "XO", ("AA", "XR", "SC")), ("SCHEDULED", "CA", ("AA", "CR", "CA")),
        ("SCHEDULED", "DC", ("AA", "DR", "DC")), ("ARRIVED", "HD", ("AA", "HR", "HD")),
        ("READY", "RL", ("AA", "OR", "SC")), ("SCHEDULED", "RP", ("AA", "RQ", "CA")),
        ("STARTED", "SS", ("AA", "SR", "IP")), ("COMPLETED", "SS", ("AA", "SR", "CM")),
        ("STARTED", "CA", ("AE", "UC", "IP")), ("STARTED", "HD", ("AE", "UH", "IP")),
        ("STARTED", "DC", ("AA", "UD", "IP")), ("COMPLETED", "CA", ("AA", "UC", "CM")),
        ("CANCELED", "CA", ("AA", "CR", "CA")), ("COMPLETED", "XO", ("AA", "UX", "CM")),
        ("COMPLETED", "NW", ("AA", "UA", "CM")), ("SCHEDULED", "XX", ("AA", "", "")),
        ("SCHEDULED", "SC", ("AA", "", "")), ("SCHEDULED", "OK", ("AA", "", "")),
    ],
)  # fmt: skip
def test_reply_codes(database: Database, status: str, control: str, expected: tuple[str, str, str]) -> None:
    take(database, message("ORM^O01", version="2.4"))
    database.submit(set_status, status).result()
    assert codes(database, control) == expected


def test_reply_codes_of_an_unknown_order(database: Database) -> None:
    assert codes(database, "SN") == ("AA", "NA", "SC")
    assert codes(database, "ZZ")[:2] == ("AE", "")
    other = message("ORM^O01", "RL").replace(b"P1^", b"P9^")
    assert b"\rORC|UR|P9^K\\T\\S\r" in take(database, other, order_answers=True).answer


def test_one_refused_order_refuses_all_in_the_answer_too(database: Database) -> None:
    take(database, message("ORM^O01"))
    bad = b"ORC|RL|P9\rOBR|2|P9||CHEST\r"
    answer = take(database, message("ORM^O01", "CA") + bad, order_answers=True).answer
    assert [line.split("|")[1] for line in answer.decode().split("\r") if line.startswith("ORC")] == ["UC", "UR"]


def test_each_step_is_told(database: Database) -> None:
    raw = order(1).replace("IPC|A1|", "IPC|A1|RP1|2.999.7.1||MR\rIPC|A1|")
    read = parsed(take(database, raw.encode(), order_answers=True).answer)
    assert read.validate()
    found = [ipc.ipc_5.to_er7() for ipc in read.ori_o24_response.ori_o24_order.ipc]
    assert found == ["MR", "CT"]


def test_no_segment_gets_in_by_a_value(database: Database) -> None:
    raw = message("OMI^O23^OMI_O23").replace(b"YAMADA^TARO", b"YAM\\X0D\\ORC|X\\F\\^TARO")
    answer = take(database, raw, order_answers=True).answer
    names = [line[:3] for line in answer.decode().split("\r")]
    assert names == ["MSH", "MSA", "ERR", "PID", "ORC", "OBR", "IPC", ""]  # the name is not shown as it was sent


def test_an_accept_acknowledgement_and_other_interfaces_get_ack(database: Database) -> None:
    accepted = take(database, message("OMI^O23^OMI_O23", wants="AL|NE"), order_answers=True).answer
    assert b"ACK^O23^ACK" in accepted
    assert b"\rMSA|CA|" in accepted
    assert b"ACK^O23^ACK" in take(database, message("OMI^O23^OMI_O23", "XO")).answer
