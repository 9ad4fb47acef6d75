"""Mapping profiles at their edges: empty lists, merged tables, value tables on attributes with several values."""

from __future__ import annotations

from typing import Any

import pytest
from support.orders.profiles import message, ordered, site, step

from broker.orders.mapping.book import built_in
from broker.orders.mapping.document import merged
from broker.orders.mapping.parsing import KEYS
from broker.orders.mapping.profile import SECTIONS
from broker.orders.trying.preview import preview

ATTRIBUTES = [(section, a.keyword) for section in SECTIONS for a in built_in().sections[section]]


@pytest.mark.parametrize(("section", "keyword"), ATTRIBUTES)
@pytest.mark.parametrize("kind", ["ORM^O01", "OMI^O23", "SIU^S12", "ADT^A08", "ORU^R01"])
def test_any_attribute_may_be_taken_from_no_message(section: str, keyword: str, kind: str) -> None:
    """Also of a message that lacks it: then its place has to be named in a finding."""
    wanted = site(f"[{section}]\n{keyword} = []\n[policy]\nunknown_appointment = 'create'\n[defaults]\nModality = 'CT'")
    for raw in (message(kind), message(kind, sparse=True)):
        found = preview(raw, wanted)
        assert found.code in {"AA", "AE"}
        assert all(finding.location for finding in found.findings)
        for answer in ordered(found) if not kind.startswith("SIU") else ():  # [appointment] gives some of them
            held = answer.get(keyword, answer["ScheduledProcedureStepSequence"][0].get(keyword))
            assert section == "appointment" or held in (None, "CT", *_made(keyword, answer))


def _made(keyword: str, answer: dict[str, Any]) -> list[Any]:
    """Values that do not come of a message: made, or taken from policies and defaults."""
    item = answer["ScheduledProcedureStepSequence"][0]
    if keyword in {"AccessionNumber", "StudyInstanceUID", "RequestedProcedureID", "PatientID"}:
        return [answer[keyword]]
    if keyword in {"ScheduledProcedureStepID", "ScheduledStationAETitle"} or keyword.startswith(
        "ScheduledProcedureStepS"
    ):
        return [item[keyword]]
    return []


def test_empty_lists_leave_the_decision_to_policies_and_defaults() -> None:
    wanted = site(
        "[request]\nAccessionNumber = []\n[procedure]\nStudyInstanceUID = []\nRequestedProcedureID = []\n"
        "[step]\nModality = []\nScheduledProcedureStepID = []\nScheduledProcedureStepStartDate = []\n"
        "[defaults]\nModality = 'DX'"
    )
    shown = step(wanted, message("ORM^O01"))
    assert (shown["AccessionNumber"], shown["RequestedProcedureID"], shown["Modality"]) == ("F1", "F1", "DX")
    assert shown["StudyInstanceUID"].startswith("2.25.")
    assert shown["ScheduledProcedureStepID"].startswith("SPS")
    assert shown["ScheduledProcedureStepStartDate"] == "20260312"


@pytest.mark.parametrize("key", sorted(KEYS - {"name", "description", "senders", "station", "example", "sample"}))
def test_every_table_is_merged_key_by_key(key: str) -> None:
    """But for what is documented as a profile's own, and the list of station rules."""
    assert merged({key: {"A": 1, "B": 2}}, {key: {"B": 3, "C": 4}})[key] == {"A": 1, "B": 3, "C": 4}


@pytest.mark.parametrize("key", ["values", "measures"])
def test_tables_of_tables_are_merged_in_both(key: str) -> None:
    base, own = {key: {"X": {"A": 1}, "Y": {"A": 1}}}, {key: {"X": {"B": 2}, "Z": {"A": 1}}}
    assert merged(base, own)[key] == {"X": {"A": 1, "B": 2}, "Y": {"A": 1}, "Z": {"A": 1}}


@pytest.mark.parametrize("key", ["description", "senders", "example", "sample"])
def test_what_is_of_one_profile_alone_is_not_merged(key: str) -> None:
    assert key not in merged({key: {"A": 1}}, {"name": "x"})
    assert merged({key: {"A": 1}}, {key: {"B": 2}})[key] == {"B": 2}


def test_one_key_of_an_appointment_leaves_the_others_as_they_are() -> None:
    wanted = site("[appointment]\nScheduledProcedureStepLocation = ['AIL-3.1']")
    keywords = {attribute.keyword for attribute in wanted.sections["appointment"]}
    assert keywords == {attribute.keyword for attribute in built_in().sections["appointment"]}


@pytest.mark.parametrize(
    ("table", "field", "stations"),
    [
        ('CTX = "CT01"', "CTX", ["CT01"]),
        ('CTX = "CT01"', "CT09", ["CT09"]),
        ('CT09 = "CT01"', "CT09~CT08", ["CT01", "CT08"]),
        ('CT09 = "CT01"', "CT08~CT09", ["CT08", "CT01"]),
        ('CT09 = "CT01"\nCT08 = "CT01"', "CT09~CT08", ["CT01"]),
        ('CT09 = ""', "CT09~CT08", ["CT08"]),
        ('CT09 = "CT01"\n"*" = ""', "CT08~CT09", ["CT01"]),
        ('"*" = "CT01"', "CT08~CT09", ["CT01"]),
    ],
)
def test_a_value_table_maps_each_of_several_values(table: str, field: str, stations: list[str]) -> None:
    wanted = site(f"[values.ScheduledStationAETitle]\n{table}")
    assert step(wanted, message("OMI^O23", stations=field))["ScheduledStationAETitle"] == stations


def test_a_value_table_of_texts_with_several_values() -> None:
    wanted = site('[values.MedicalAlerts]\n"MRSA" = "MRSA carrier"')
    assert step(wanted, message("ORM^O01", alerts="MRSA~Latex"))["MedicalAlerts"] == ["MRSA carrier", "Latex"]


def test_an_identifier_of_a_value_table_is_never_cut() -> None:
    wanted = site(f'[values.AccessionNumber]\nA1 = "{"X" * 17}"')
    found = preview(message("ORM^O01", accession="A1"), wanted)
    assert (found.code, [f.location for f in found.findings if f.is_error]) == ("AE", ["OBR^1^18"])


def test_messages_of_the_tests_are_good() -> None:
    for kind in ("ORM^O01", "OMI^O23", "ADT^A08", "ORU^R01", "SIU^S12"):
        assert preview(message(kind), built_in()).code == "AA", kind
