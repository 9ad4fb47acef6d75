"""What may stand at the caret of a mapping profile: tables, keys, keywords, paths, types, values."""

from __future__ import annotations

import pytest

from broker.orders.mapping.completing import MOST, completions
from broker.orders.mapping.parsing import KEYS


@pytest.mark.parametrize(
    ("table", "line", "text", "over"),
    [
        ("", "ext", "extends", 3),
        ("[step]", "[val", "[values.", 4),
        ("[step]", "  [[sta", "[[station]]", 5),
        ("", "[values.Moda", "Modality]", 4),
        ("[step]", "ScheduledStationAE", "ScheduledStationAETitle", 18),
        ("[step]", "aetitle", "ScheduledStationAETitle", 7),
        ("[patient]", 'PatientID = ["PI', "PID-", 2),
        ("[patient]", 'PatientID = ["PID-', "PID-3", 4),
        ("[patient]", 'PatientComments = ["PID/NT', "NTE-", 2),
        ("[patient]", 'PatientName = ["PID-5:X', "XPN", 1),
        ("[defaults]", "Modal", "Modality", 5),
        ("[policy]", "start", "start_missing", 5),
        ("[policy]", 'start_missing = "un', "unscheduled", 2),
        ("[reading]", 'control_id = "', "made", 0),
        ("[values.Modality]", 'TDM = "C', "CT", 1),
        ("[check]", 'modalities = ["CT", "M', "MR", 1),
        ("[[station]]", "when = { Mod", "Modality", 3),
        ("[[station]]", 'when = { "PV1-', "PV1-3", 4),
        ("[[station]]", 'when = { Modality = "M', "", 0),
        ("[[ignore]]", "when = { ty", "type", 2),
        ("[senders]", "match = [{ app", "application", 3),
        ("[[example]]", "mess", "message", 4),
        ("[example.expect]", "PatientN", "PatientName", 8),
        ("[names]", "ord", "order", 3),
        ("[measures.PatientWeight]", "un", "units", 2),
    ],
)
def test_it_suggests_what_fits_there(table: str, line: str, text: str, over: int) -> None:
    found = {one.text: one.over for one in completions(table, line)}
    if text:
        assert found[text] == over
    assert len(found) <= MOST


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("[values.Modality]", "TD"),
        ("[[example]]", 'name = "PID-'),
        ("", 'description = "Mod'),
        ("[step]", "# Sched"),
        ("[nowhere]", "x"),
        ("[step]", 'Modality = ["OBR-24"] # "PI'),
        ("[" * 5000, "[" * 100_000),
    ],
)
def test_it_keeps_silent_where_nothing_is_known(table: str, line: str) -> None:
    assert completions(table, line) == []


def test_every_table_of_a_profile_is_offered() -> None:
    offered = {one.text.strip("[].") for one in completions("", "[")} | {one.text for one in completions("", "")}
    assert set(KEYS) - offered == set()


def test_notes_say_what_a_keyword_and_a_field_are() -> None:
    notes = {one.text: one.note for one in completions("[patient]", "PatientBirthD")}
    assert notes["PatientBirthDate"] == "Patient's Birth Date"
    fields = {one.text: one.note for one in completions("[patient]", '"PID-')}
    assert fields["PID-5"] == "Patient Name"
