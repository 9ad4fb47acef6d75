"""Value tables: values, patterns, expressions, every other value, and entries that leave the word to the next path."""

from __future__ import annotations

import pytest
from support.orders.profiles import message, site, step

from broker.errors import ConfigurationError
from broker.orders.mapping.value_table import ValueTable
from broker.orders.trying.preview import preview

TABLE = ValueTable({"T*": 1, "TM*": 2, "TMR?": 3, "tmr7": 4, "re:t.*9": 5, "re:x[0-9]+": 6, "re:X1.*": 7, "*": 8})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("TMR7", 4), ("tmr7", 4), ("TMR8", 3), ("TMR88", 2), ("tx", 1), ("T9", 1), ("x12", 6), ("X1a", 7), ("y", None),
        ("", None), ("*", 8),
    ],
)  # fmt: skip
def test_the_nearest_entry_decides(text: str, wanted: int | None) -> None:
    assert TABLE.find(text) == (None if text == "*" else wanted)


def test_entries_are_read_in_capitals_but_for_expressions() -> None:
    assert dict(ValueTable({"ct": "CT", r"re:\d": "1"})) == {"CT": "CT", r"re:\d": "1"}
    assert ValueTable({r"re:\d+": "N"}).find("12") == "N"


@pytest.mark.parametrize("entry", ["re:(", "re:(?=x)", "re:" + "x" * 200, "*" + "x" * 200])
def test_a_pattern_that_cannot_be_used_names_itself(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mapping profile 'x': values\.Modality: ") as failed:
        site(f"[values.Modality]\n'{entry}' = 'CT'")
    assert entry[:10].upper() in str(failed.value).upper()


def test_own_patterns_come_before_those_of_the_extended_profile() -> None:
    own = site('[values.Modality]\n"re:T.*" = "MR"')
    assert next(iter(own.values["Modality"])) == "re:T.*"


PATHS = '[step]\nModality = ["OBR-24.1", "OBR-4.1"]\n[values.Modality]\n'


@pytest.mark.parametrize(
    ("table", "field", "wanted"),
    [
        ('"1" = ""\nCHEST = "CR"', "1", "CR"),
        ('"?" = ""\nCHEST = "CR"', "9", "CR"),
        ('"*" = ""\nCHEST = "CR"', "9", "CR"),
        ('"re:[0-9]" = ""\nCHEST = "CR"', "9", "CR"),
        ('"1" = ""\nCHEST = "CR"', "MR", "MR"),
    ],
)
def test_an_empty_entry_leaves_the_word_to_the_next_path(table: str, field: str, wanted: str) -> None:
    assert step(site(PATHS + table), message("ORM^O01", modality=field))["Modality"] == wanted


def test_an_empty_entry_on_the_last_path_empties_and_one_for_others_does_not() -> None:
    emptied = site('[values.PatientTransportArrangements]\nCHEST = ""\n[procedure]\n'
                   'PatientTransportArrangements = ["OBR-4.1"]')  # fmt: skip
    (change,) = [one.change for one in preview(message("ORM^O01"), emptied).ordered]
    assert change.procedures[0].attributes["PatientTransportArrangements"] == ""  # type: ignore[attr-defined]
    kept = site(
        '[values.PatientTransportArrangements]\n"*" = ""\n[procedure]\nPatientTransportArrangements = ["OBR-4.1"]'
    )
    found = preview(message("ORM^O01"), kept)
    (change,) = [one.change for one in found.ordered]
    assert "PatientTransportArrangements" not in change.procedures[0].attributes  # type: ignore[attr-defined]
    assert [f"{f.location} {f.severity}" for f in found.findings] == ["OBR^1^4 W"]
