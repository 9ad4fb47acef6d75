from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.order import StepStatus
from broker.orders.telling import feedback
from broker.orders.telling.feedback import Notice, OrderEvent, audience, codes, event, state
from broker.site.nodes import Node, parse_nodes

# by their first letters; T is STARTED, E is READY
LETTERS = {
    "S": "SCHEDULED", "A": "ARRIVED", "E": "READY", "T": "STARTED", "C": "COMPLETED", "D": "DISCONTINUED",
    "X": "CANCELED",
}  # fmt: skip


def steps(letters: str) -> list[str]:
    return [LETTERS[letter] for letter in letters]


@pytest.mark.parametrize(
    ("statuses", "said", "order_status"),
    [
        ("", None, "SC"), ("S", None, "SC"), ("SS", None, "SC"), ("SX", None, "SC"), ("SD", None, "SC"),
        ("A", "arrived", "SC"), ("SA", "arrived", "SC"), ("E", "arrived", "SC"), ("AD", "arrived", "SC"),
        ("T", "started", "IP"), ("ST", "started", "IP"), ("CT", "started", "IP"), ("TD", "started", "IP"),
        ("CS", "partial", "A"), ("CA", "partial", "A"), ("CDS", "partial", "A"),
        ("C", "completed", "CM"), ("CC", "completed", "CM"), ("CD", "completed", "CM"), ("CXD", "completed", "CM"),
        ("D", "discontinued", "DC"), ("DX", "discontinued", "DC"), ("X", "cancelled", "CA"), ("XX", "cancelled", "CA"),
    ],
)  # fmt: skip
def test_what_the_steps_say_together(statuses: str, said: str | None, order_status: str) -> None:
    assert state(steps(statuses)) == said
    assert codes(state(steps(statuses)))[0] == order_status


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "S", None), ("", "SS", None), ("S", "SS", None), ("SS", "SX", None), ("SS", "SD", None),
        ("S", "A", "arrived"), ("SS", "AS", "arrived"), ("AS", "AA", None), ("A", "E", None),
        ("S", "T", "started"), ("A", "T", "started"), ("ST", "TT", None), ("TT", "CT", None), ("CS", "CT", "started"),
        ("T", "C", "completed"), ("S", "C", "completed"), ("TT", "CC", "completed"), ("CT", "CD", "completed"),
        ("ST", "SC", "partial"), ("CSS", "CCS", None), ("TS", "CX", "completed"),
        ("T", "D", "discontinued"), ("SS", "DD", "discontinued"), ("DS", "DX", "discontinued"),
        ("S", "X", "cancelled"), ("SX", "XX", "cancelled"), ("", "X", "cancelled"),
        ("T", "S", "reopened"), ("D", "S", "reopened"), ("X", "S", "reopened"), ("TS", "DS", "reopened"),
        ("A", "S", "reopened"), ("C", "T", "started"), ("C", "CS", "partial"), ("TA", "DA", "arrived"),
    ],
)  # fmt: skip
def test_what_a_ris_is_told(before: str, after: str, told: str | None) -> None:
    assert event(steps(before), steps(after)) == told


@given(st.lists(st.sampled_from(list(StepStatus))), st.lists(st.sampled_from(list(StepStatus))))
def test_every_situation_has_codes_and_nothing_is_told_twice(before: list[str], after: list[str]) -> None:
    found = event(before, after)
    assert (found is None) == (state(before) is state(after))
    assert all(codes(state(after)))
    assert codes(state(after)) == codes(found) or found is None
    assert event(after, list(reversed(after))) is None


def node(**feedback_keys: Any) -> Node:
    table = {
        "name": "ris", "kind": "hl7", "application": "RIS", "facility": "A", "host": "127.0.0.1", "port": 1,
        "roles": ["ris"], "feedback": feedback_keys,
    }  # fmt: skip
    return parse_nodes([table])[0]


@pytest.mark.parametrize(
    ("keys", "told", "source", "sender", "hears"),
    [
        ({}, OrderEvent.STARTED, "RIS|A", None, True),
        ({}, OrderEvent.STARTED, "", None, True),
        ({}, OrderEvent.IMAGES, "RIS|A", None, False),
        ({"events": ["images"]}, OrderEvent.IMAGES, "RIS|A", None, True),
        ({"events": ["completed"]}, OrderEvent.STARTED, "RIS|A", None, False),
        ({}, OrderEvent.STARTED, "RIS|A", ("RIS", "A"), False),
        ({}, OrderEvent.STARTED, "RIS|A", ("RIS", "B"), True),
        ({}, OrderEvent.STARTED, "RIS|A", ("PACS", "A"), True),
        ({"echo": True}, OrderEvent.STARTED, "RIS|A", ("RIS", "A"), True),
        ({"senders": ["RIS"]}, OrderEvent.STARTED, "RIS|B", None, True),
        ({"senders": ["RIS|A"]}, OrderEvent.STARTED, "RIS|B", None, False),
        ({"senders": ["RIS|A", "KIS"]}, OrderEvent.STARTED, "KIS|", None, True),
        ({"senders": ["RIS"]}, OrderEvent.STARTED, "", None, False),
        ({"senders": ["RIS"]}, OrderEvent.STARTED, "RIS2|A", None, False),
    ],
)
def test_who_is_told(
    keys: dict[str, Any], told: OrderEvent, source: str, sender: tuple[str, str] | None, hears: bool
) -> None:
    assert bool(audience([node(**keys)], told, source, sender)) is hears


def test_a_notice_survives_its_job() -> None:
    notice = Notice(
        order=7, event=OrderEvent.COMPLETED, status="CM", result="R", control_id="BRK1", at=12.5, began=3.25, ended=None
    )
    assert Notice.of(json.loads(json.dumps(notice.document()))) == notice


def test_the_codes_are_those_of_the_tables() -> None:
    every = [codes(said) for said in (None, *(e for e in OrderEvent if e is not OrderEvent.IMAGES))]
    assert {status for status, _ in every} <= {"A", "CA", "CM", "DC", "IP", "SC"}  # HL7 table 0038
    assert {result for _, result in every} <= {"A", "I", "R", "S", "X"}  # HL7 table 0123
    assert set(feedback.ENDS) < set(OrderEvent)
