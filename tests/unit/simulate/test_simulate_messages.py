"""The messages of the virtual RIS, read by the broker's own tokenizer."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hl7apy.parser import parse_message

from broker.errors import PeerFault, Refused
from broker.hl7.message import Message, parse
from broker.simulate.messages import build
from broker.simulate.orders import SimulatedOrder, make_orders
from broker.simulate.ris import check_answer
from broker.simulate.stations import STATIONS

NOW = datetime(2030, 3, 12, 8, 15, 0, tzinfo=UTC)
ORDERS = make_orders(24, date(2030, 3, 12), STATIONS)


def _read(order: SimulatedOrder) -> Message:
    return parse(build(order, order.accession, NOW))


def _of(interface: str) -> list[SimulatedOrder]:
    return [order for order in ORDERS if order.station.interface == interface]


@pytest.mark.parametrize("order", _of("OMI"), ids=lambda order: order.accession)
def test_omi_says_everything_of_the_step_in_ipc(order: SimulatedOrder) -> None:
    message = _read(order)
    assert message.header.message_type == "OMI^O23"
    assert message.header.get(12) == "2.5.1"
    found = [message.get(f"IPC-{n}.1") for n in (1, 2, 3, 4, 5, 9)]
    assert found == [
        order.accession, order.procedure_id, order.study_instance_uid, order.step_id,
        order.station.modality, order.station.ae_title,
    ]  # fmt: skip
    assert message.get("TQ1-7") == f"{order.start:%Y%m%d%H%M%S}"
    assert message.get("OBR-4.2") == order.station.procedure[1]


@pytest.mark.parametrize("order", _of("ORM"), ids=lambda order: order.accession)
def test_orm_says_it_in_obr_and_zds(order: SimulatedOrder) -> None:
    message = _read(order)
    assert message.header.message_type == "ORM^O01"
    assert message.header.get(12) == "2.3.1"
    found = [message.get(f"OBR-{n}.1") for n in (18, 19, 20, 24)]
    assert found == [order.accession, order.procedure_id, order.step_id, order.station.modality]
    assert message.get("ZDS-1.1") == order.study_instance_uid
    assert message.get("ORC-7.4") == f"{order.start:%Y%m%d%H%M%S}"
    assert order.station.ae_title not in build(order, "X", NOW).decode()


@pytest.mark.parametrize("order", ORDERS[:12], ids=lambda order: order.patient.patient_id)
def test_names_come_through_in_every_script(order: SimulatedOrder) -> None:
    segment = _read(order).first("PID")
    assert segment is not None
    names = [(r.get(1), r.get(2), r.get(8)) for r in segment.repetitions(5)]
    assert names == [(*group, form) for group, form in zip(order.patient.name, "AIP", strict=False)]
    assert segment.get(3, 1) == order.patient.patient_id


def test_omi_is_valid_for_hl7apy() -> None:
    text = build(_of("OMI")[0], "C1", NOW).decode("utf-8")
    assert parse_message(text, find_groups=True).validate()


def test_orders_differ_and_are_on_one_day() -> None:
    assert len({order.accession for order in ORDERS}) == len({order.study_instance_uid for order in ORDERS}) == 24
    assert {order.start.date() for order in make_orders(500, date(2030, 3, 12), STATIONS)} == {date(2030, 3, 12)}
    assert max(len(order.accession) for order in ORDERS) <= 16
    assert max(len(order.step_id) for order in ORDERS) <= 16


def _answer(code: str, control_id: str, *segments: str) -> bytes:
    head = "MSH|^~\\&|BROKER|R|SIM_RIS|S|20300312||ACK|1|P|2.5.1"
    return "\r".join((head, f"MSA|{code}|{control_id}", *segments)).encode()


def test_only_aa_for_the_same_message_is_acceptance() -> None:
    check_answer(_answer("AA", "7"), "7")
    with pytest.raises(PeerFault):
        check_answer(_answer("AA", "8"), "7")
    with pytest.raises(Refused) as refused:
        check_answer(_answer("AE", "7", "ERR||PID^1^3|101^missing|E"), "7")
    assert refused.value.code == "AE 101"
    with pytest.raises(PeerFault):
        check_answer(b"hello", "7")
