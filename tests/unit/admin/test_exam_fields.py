"""The fields of the form of an exam carry what a person types into the document of an order, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.orders.documents import order

from broker.admin.web.exams import fields
from broker.admin.web.exams.barcodes import QUIET, code_128
from broker.admin.web.forms import FormFields


def form(values: dict[str, str]) -> FormFields:
    return FormFields(list(values.items()))


NAMES = ["Example^Anna", "Wałęsa^Lech^^Dr=山田^太郎=やまだ^たろう", "Single", "^Given", "A^B^C^D^E", "Van^ der"]


@given(st.sampled_from(NAMES), st.sampled_from(["House^Gregory^^Dr^MD", "", "House"]))
def test_a_form_that_nobody_touched_changes_nothing(name: str, referring: str) -> None:
    document: dict[str, Any] = order(1)
    document["patient"]["PatientName"] = name
    document["visit"] = {"ReferringPhysicianName": referring} if referring else {}
    before = deepcopy(document)
    assert fields.changed(document, form(fields.shown(document))) == before
    assert document == before


def test_only_what_was_typed_is_changed() -> None:
    document: dict[str, Any] = order(1)
    document["patient"]["PatientName"] = "Wałęsa^Lech^^Dr=山田^太郎"
    typed = fields.shown(document) | {"given": "Leszek", "sex": "M", "referring": "House, Gregory"}
    after = fields.changed(document, form(typed))
    assert after["patient"]["PatientName"] == "Wałęsa^Leszek^^Dr=山田^太郎"
    assert after["patient"]["PatientSex"] == "M"
    assert after["visit"]["ReferringPhysicianName"] == "House^Gregory"
    assert after["procedures"] == document["procedures"]


def test_the_procedures_of_an_order_with_several_have_no_fields() -> None:
    document: dict[str, Any] = order(1)
    document["procedures"] *= 2
    assert {one.path[0] for one in fields.of(document)} == {"patient", "visit"}
    assert not any(one.fresh for one in fields.of(document))


@pytest.mark.parametrize("text", ["A1", "00000000000000000001", "A-1/2.b", "~"])
def test_a_bar_code_has_its_quiet_zones_and_whole_modules(text: str) -> None:
    code = code_128(text)
    assert code is not None
    assert (code.width - 2 * QUIET - 2) % 11 == 0  # each character is 11 modules, the stop has two more
    assert code.path.startswith(f"M{QUIET} 0h")


@pytest.mark.parametrize("text", ["", "Ä1", "山田"])
def test_what_code_128_lacks_has_no_bar_code(text: str) -> None:
    assert code_128(text) is None
