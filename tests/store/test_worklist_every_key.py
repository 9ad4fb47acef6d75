"""Every key of table K.6-1, alone and in company, on both databases: what is found is what the reference finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scale import scaled
from support.worklist.worklist import DATE, SPS, STATION, TIME, document, query
from support.worklist.worklist_reference import finds
from support.worklist.worklist_rows import found_by, replace_documents
from support.worklist.worklist_table import ROWS, Row

from broker.errors import BadContent
from broker.orders.core.worklist_item import HELD
from broker.store.db.database import Database

LEAVES = [row for row in ROWS if row.vr != "SQ"]
STATUSES = ["SCHEDULED", "ARRIVED", "READY", "STARTED", "COMPLETED"]
CHOICES: dict[str, list[Any]] = {  # of attributes that the search narrows by, and of the VRs of all others
    STATION: [["CT01"], ["CT01", "CT02"], ["ct01"], ["C%1"]],
    DATE: ["20260311", "20260312", "20260313", ""],
    TIME: ["000000", "080000", "100000", "235959", "100000.5", "1000"],
    "ScheduledProcedureStepStatus": STATUSES,
    "Modality": ["CT", "MR", "US"],
    "PatientName": [
        "DOE^JOHN", "LEFÈVRE^ANNE", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", "O'NEIL^100%_A\\B",
        "Hong^Gildong=洪^吉洞=홍^길동",
        "דָּוִד^כֹּהֵן", "ศรี^น้ำ", "がとう^か", "İZMİR^Łucja", "Ελένη^Σ", "أحمد^علي",
    ],
    "PatientID": ["P1", "P_1", "P%", "p1"],
    "AccessionNumber": ["A1", "a1", "A%", "50%_OFF", "", "A'1"],
    "StudyInstanceUID": ["1.2", "1.2.3", "1.2.30"],
    "AE": [["CT01"], ["CT01", "CT02"]], "AS": ["034Y", ""], "CS": ["ONE", "TWO", "one", ""],
    "DA": ["20260312", "20260313", ""], "DS": ["70.5", "71", ""],
    "LO": ["Text", "text", "Other*", "", " Text "], "LT": ["Text", " Text", "a\\b", "two\r\nlines", ""],
    "PN": ["DOE^JOHN", "Müller^Hans", "", "^^"], "SH": ["S1", "S2", ""], "TM": ["101500", "10", "235960", ""],
    "UI": ["1.2.3", "1.2", ""], "US": [4, 3, None], "ST": ["Text", " Text", "a\\b", ""], "UC": ["Text", "Other", ""],
}  # fmt: skip
RANGES = {
    "DA": [
        "20260312-", "-20260312", "20260311-20260312", "20260312-20260311", " 20260312 - 20260313", "2026.03.12",
        "2026.03.11-2026.03.12", "20260230", "-", "20260312-x", "2026",
    ],
    "TM": [
        "10", "1000", "10-", "-10", "0900-1200", "2200-0600", "10:00:00-10:15:00", "10:00", "100000.5", "-235960",
        "2460", "10-11-12", "101", "10:1500",
    ],
}  # fmt: skip


def _choices(row: Row) -> list[Any]:
    return CHOICES[row.keyword] if len(row.path) < 3 and row.keyword in CHOICES else CHOICES[row.vr]


def _merge(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Attributes of several places as one tree, each sequence with one item."""
    merged: dict[str, Any] = {}
    for part in parts:
        for keyword, value in part.items():
            inner = isinstance(value, list) and value and isinstance(value[0], dict)
            there = merged.get(keyword)
            merged[keyword] = [_merge([*([there[0]] if there else []), value[0]])] if inner else value
    return merged


def _stored(values: Sequence[tuple[Row, Any]], held: bool) -> dict[str, Any]:
    tree = _merge([row.at(value) for row, value in values])
    step = tree.pop(SPS, [{}])[0]
    return document(step=step, **tree, **({HELD: 1} if held else {}))


def _value(rows: list[Row], widen: bool) -> st.SearchStrategy[tuple[Row, Any]]:
    def of(row: Row) -> st.SearchStrategy[Any]:
        values = _choices(row)
        flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
        if not widen:
            return st.sampled_from(values)
        texts = [value for value in flat if isinstance(value, str)]
        kinds: list[st.SearchStrategy[Any]] = [st.sampled_from(flat), st.sampled_from(flat)]
        if row.vr in RANGES:
            kinds += [st.sampled_from(RANGES[row.vr])] * 2
        elif texts and row.vr not in ("UI", "DS", "AS"):
            kinds.append(st.builds(lambda text, at: f"{text[:at]}*", st.sampled_from(texts), st.integers(0, 6)))
            kinds.append(st.builds(lambda text: f"?{text[1:]}", st.sampled_from(texts)))
            kinds.append(st.text("A1*?%_'\\\0", max_size=4))
        if row.vr in ("UI", "CS", "SH", "AE"):
            kinds.append(st.lists(st.sampled_from(texts), min_size=2, max_size=3))
        return st.one_of(kinds)

    made = [st.tuples(st.just(row), of(row)) for row in rows]
    return st.integers(0, len(made) - 1).flatmap(made.__getitem__)


HOT = [row for row in LEAVES if row.keyword in CHOICES and len(row.path) < 3]
stored_documents = st.builds(
    _stored, st.lists(st.one_of(_value(HOT, False), _value(LEAVES, False)), min_size=3, max_size=8),
    st.integers(0, 9).map(lambda number: number == 0),
)  # fmt: skip
queries = st.lists(st.one_of(_value(HOT, True), _value(LEAVES, True)), max_size=5).map(
    lambda keys: _merge([row.at(value) for row, value in keys])
)


def _place(stored: dict[str, Any], number: int) -> tuple[str, int]:
    item = stored[SPS][0]
    return f"{item[DATE]}{item[TIME]:0<6}", number


def _agree(database: Database, stored: Sequence[dict[str, Any]], keys: dict[str, Any], page: int) -> None:
    try:
        expected = [number for number, one in enumerate(stored, 1) if finds(one, keys)]
    except ValueError:
        with pytest.raises(BadContent):
            query(keys, charset=["ISO_IR 192"])
        return
    found = found_by(database, query(keys, charset=["ISO_IR 192"]), page)
    assert found == sorted(expected, key=lambda number: _place(stored[number - 1], number))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def one_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path_factory.mktemp('keys') / 'broker.db'}")
        yield opened
        opened.close()
        return
    server = request.getfixturevalue("postgresql")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE every_key")
    opened = Database(server.get_uri(database="every_key").replace("postgresql://", "postgresql+psycopg://", 1))
    yield opened
    opened.close()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("DROP DATABASE every_key WITH (FORCE)")


@settings(
    max_examples=scaled(120, 5000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(stored=st.lists(stored_documents, min_size=1, max_size=5), asked=st.lists(queries, min_size=4, max_size=6))
def test_any_query_finds_what_the_reference_finds(
    one_database: Database, stored: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> None:
    one_database.submit(replace_documents, stored).result()
    for number, keys in enumerate(asked):
        _agree(one_database, stored, keys, page=1 + number % 4)


@pytest.mark.parametrize("vr", sorted({row.vr for row in LEAVES}))
def test_each_key_alone(one_database: Database, vr: str) -> None:
    """Steps that differ in one attribute of the table; its values asked for, and their wild cards and ranges."""
    for row in LEAVES:
        if row.vr != vr:
            continue
        stored = [document(), *(_stored([(row, value)], held=False) for value in _choices(row)[:3])]
        one_database.submit(replace_documents, stored).result()
        first = next(value for value in _choices(row) if value)
        single = first[0] if isinstance(first, list) else first
        asked: list[Any] = [single, ""]
        if isinstance(single, str) and vr not in ("UI", "DS", "AS"):
            asked += RANGES[vr] if vr in RANGES else [f"{single[:2]}*", f"?{single[1:]}", "*", "NOTHING"]
        for key in asked:
            _agree(one_database, stored, row.at(key), page=3)
