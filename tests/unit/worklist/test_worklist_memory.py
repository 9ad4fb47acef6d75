"""Queries that are remembered: what is kept of them, what is not, and how much."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.worklist.worklist import DATE, DEVICES, SPS, STATION, TIME, document, query

from broker.store.db.pace import FIRST, TARGET
from broker.wildcard import compile_wildcard
from broker.worklist.explain import recall
from broker.worklist.explain.memory import KEEP, QueryMemory, QueryOutcome, merged
from broker.worklist.query.matcher import matches

SECRET = b"a secret of the tests"


def kept(keys: dict[Any, Any], charset: list[str] | None = None) -> Any:
    """What stands in the database of a query."""
    return json.loads(json.dumps(recall.encode(query(keys, charset=charset), SECRET)))


@given(st.text(alphabet="ab*?", max_size=12))
def test_a_pattern_has_its_text_again(text: str) -> None:
    while "**" in text:
        text = text.replace("**", "*")
    assert compile_wildcard(recall.text_of(compile_wildcard(text))) == compile_wildcard(text)


@pytest.mark.parametrize("name", DEVICES)
def test_queries_of_real_devices_come_back(name: str) -> None:
    keys, charset, implicit = DEVICES[name]
    asked = query(keys, charset=charset, implicit=implicit)
    back = recall.decode(json.loads(json.dumps(recall.encode(asked, SECRET))))
    assert (back.query.named, back.query.charset) == (asked.named, asked.charset)
    for values in ({}, {"step": {STATION: ["MR9"]}}, {"step": {DATE: "20260313"}}, {"step": {"Modality": "US"}}):
        stored = document(PatientName="LEFEVRE^ANNE", AccessionNumber="A26031200451", **values)
        verdicts = {recall.fits(stored, one, SECRET) for one in back.secrets}
        if None not in verdicts:
            assert matches(stored, asked) is (matches(stored, back.query) and False not in verdicts)


def test_no_value_of_a_patient_is_kept() -> None:
    keys = {
        "PatientName": "CANARY^ONE", "PatientID": "CANARY2", "PatientBirthDate": "19010203", "PatientSex": "F",
        "AccessionNumber": "CANARY3", "StudyInstanceUID": "2.999.77", "CurrentPatientLocation": "CANARY4",
        "RequestedProcedureCodeSequence": [{"CodeValue": "CANARY5", "CodeMeaning": ""}],
        "OtherPatientIDsSequence": [{"PatientID": "CANARY6"}],
        SPS: [{STATION: "CT01", DATE: "20260312", TIME: "08-18", "ScheduledPerformingPhysicianName": "CANARY7",
               "ScheduledProcedureStepID": "CANARY8", "Modality": "C" * 65}],
    }  # fmt: skip
    found = kept(keys)
    text = json.dumps(found)
    assert "CANARY" not in text
    assert "19010203" not in text
    assert "2.999.77" not in text
    assert "C" * 65 not in text
    assert recall.keys(recall.decode(found))[STATION] == "CT01"
    assert found["named"][0] == "AccessionNumber"
    assert "CT01" in text


@pytest.mark.parametrize(
    ("keys", "values", "fits"),
    [
        ({"PatientID": "P1"}, {}, True),
        ({"PatientID": "P2"}, {}, False),
        ({"PatientID": "P*"}, {}, None),
        ({"PatientID": "P2"}, {"PatientID": ""}, False),
        ({"PatientName": "doe^john"}, {}, True),
        ({"PatientName": "DOE^JOHN"}, {"PatientName": "Yamada^T=DOE^JOHN"}, True),
        ({"PatientName": "DOE^JANE"}, {}, False),
        ({"PatientName": "DOE*"}, {}, None),
        ({"PatientBirthDate": "1970.01.01"}, {}, True),
        ({"PatientBirthDate": "19600101-"}, {}, None),
        ({"RequestedProcedureCodeSequence": [{"CodeValue": "CTABD"}]}, {}, None),
        ({SPS: [{"ScheduledProcedureStepID": "S1"}]}, {}, True),
        ({SPS: [{"ScheduledProcedureStepID": "S2"}]}, {}, False),
    ],
)
def test_hashes_tell_what_fits(keys: dict[Any, Any], values: dict[str, Any], fits: bool | None) -> None:
    (one,) = recall.decode(kept(keys)).secrets
    assert recall.fits(document(**values), one, SECRET) is fits
    assert recall.fits(document(**values), one, b"another secret") is not True


class Written:
    """Stands for the database: what is written together."""

    busy = False

    def __init__(self) -> None:
        self.units: list[Any] = []

    def execute(self, timed: Any, unit: Any, part: Any) -> tuple[None, float]:
        self.units.append(part)
        return None, TARGET * 0.75  # the next step is as large


def test_a_flood_of_queries_is_one_write_and_bounded() -> None:
    database = Written()
    memory = QueryMemory(database, SECRET)  # type: ignore[arg-type]
    asked = query({SPS: [{STATION: "CT01"}]})
    for number in range(5000):
        memory.remember("CT01", "127.0.0.1", QueryOutcome(number, asked, 1, 0, 0.01))
        memory.remember(f"X{number}", "127.0.0.1", QueryOutcome(number, asked, 1, 0, 0.01))
    memory.flush()
    assert max(len(unit) for unit in database.units) == FIRST  # of a transaction
    news = {device: one for unit in database.units for device, one in unit}
    assert len(news) == 1000
    calls, entries = news["CT01", "127.0.0.1"]
    assert (calls, len(entries)) == (5000, KEEP)
    written = len(database.units)
    memory.flush()
    assert len(database.units) == written


def test_long_queries_take_no_memory_until_they_are_written() -> None:
    memory = QueryMemory(Written(), SECRET)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for number in range(60):
            values = "\\".join(f"{number:02}{value:05}" for value in range(5000))
            memory.remember(
                f"X{number}",
                "127.0.0.1",
                QueryOutcome(number, query({"AccessionNumber": values}), 1, 0, 0.01, size=40_000),
            )
        gc.collect()  # what waits for the collector is not held
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 30_000_000  # 47 MB if all of them were kept as they were understood
    memory.flush()


def entry(at: float, keys: dict[Any, Any] | None, comment: str = "") -> dict[str, Any]:
    asked = kept(keys) if keys is not None else None
    return {"at": at, "first": at, "times": 1, "count": 0, "status": "0000", "duration": 0, "comment": comment,
            "asked": asked}  # fmt: skip


def test_the_same_query_is_counted_and_the_broad_one_outlives_bar_codes() -> None:
    broad = {SPS: [{STATION: "CT01", DATE: "20260312"}]}
    old = merged([], [entry(1, broad), entry(2, broad)])
    assert [(one["at"], one["first"], one["times"]) for one in old] == [(2, 1, 2)]
    codes = [entry(10 + number, {"AccessionNumber": f"A{number}"}) for number in range(3 * KEEP)]
    found = merged(old, codes)
    assert len(found) == KEEP
    assert found[0]["at"] == 2
    assert found[-1]["at"] == 9 + 3 * KEEP
    assert merged(found, [entry(99, None, "bad date")])[-1]["asked"] is None
