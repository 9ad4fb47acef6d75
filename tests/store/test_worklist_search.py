"""SQL narrows, the matcher decides: devices, awkward keys, order, indexes. All keys: `test_worklist_every_key`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.worklist.worklist import DATE, DEVICES, SPS, STATION, TIME, document, query
from support.worklist.worklist_rows import Documents, found_by, insert_documents

from broker.store.db.database import Database
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches


def _expected(documents: Documents, asked: Query) -> list[int]:
    def place(number: int) -> tuple[str, int]:
        item = documents[number - 1][SPS][0]
        return f"{item[DATE]}{item[TIME]:0<6}", number

    return sorted((n for n, one in enumerate(documents, 1) if matches(one, asked)), key=place)


NAMES = ["DOE^JOHN", "LEFÈVRE^ANNE", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", "O'NEIL^100%_A\\B", "Müller^Hans"]


@pytest.fixture(scope="module")
def embedded() -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Database(f"sqlite:///{Path(folder) / 'broker.db'}")
        yield opened
        opened.close()


STORED = [
    document(),
    document(PatientName="LEFÈVRE^ANNE", step={"Modality": "US", DATE: "20260311"}),
    document(PatientName=NAMES[2], AccessionNumber="A26031200451", step={STATION: ["CT01", "CT02"], TIME: "090000"}),
    document(PatientName=NAMES[3], AccessionNumber="50%_OFF", step={STATION: ["MR1"], "Modality": "MG"}),
    document(step={"ScheduledProcedureStepStatus": "COMPLETED"}),
    document(AccessionNumber="50xyOFF", step={"ScheduledProcedureStepStatus": "READY", DATE: "20270101"}),
]


@pytest.mark.parametrize("device", DEVICES)
def test_real_devices(database: Database, device: str) -> None:
    database.submit(insert_documents, STORED).result()
    keys, charset, implicit = DEVICES[device]
    asked = query(keys, charset=charset, implicit=implicit)
    found = found_by(database, asked)
    assert found == _expected(STORED, asked)
    assert found


def test_awkward_keys_on_each_database(database: Database) -> None:
    database.submit(insert_documents, STORED).result()
    for keys, expected in (
        ({"AccessionNumber": "50%_OFF"}, [4]),
        ({"AccessionNumber": "50%*"}, [4]),
        ({"AccessionNumber": "%"}, []),
        ({"AccessionNumber": "'; DROP TABLE patient; --"}, []),
        ({"AccessionNumber": "A\0B"}, []),
        ({"AccessionNumber": "x" * 60_000 + "*"}, []),
        ({"AccessionNumber": [f"A{i}" for i in range(5_000)]}, [1, 2]),
        ({"PatientName": "山田*"}, [3]),
        ({"PatientName": "=山田*"}, [3]),
        ({"PatientName": "o'neil^100%_*"}, [4]),
        ({SPS: [{STATION: ["CT01", "CT02"], DATE: "20260312"}]}, [3, 1]),
        ({SPS: [{STATION: "CT*", DATE: "20260312"}]}, [3, 1]),
        ({SPS: [{"ScheduledProcedureStepStatus": "C*"}]}, [5]),
        ({SPS: [{"ScheduledProcedureStepStatus": ["COMPLETED", "READY"]}]}, [5, 6]),
    ):
        asked = query(keys, charset=["ISO_IR 192"])
        found = found_by(database, asked)
        assert sorted(found) == sorted(expected), keys
        assert found == _expected(STORED, asked), keys


def test_wide_signs_in_names_are_no_delimiters(database: Database) -> None:
    stored = [document(PatientName="DUPONT^JEAN=デュポン^ジャン＝ポール"), document(PatientName="A＾B^C"), document()]
    database.submit(insert_documents, stored).result()
    for name, expected in (
        ("デュポン^ジャン＝ポール", [1]), ("デュポン^ジャン＝ポ*", [1]), ("ポール*", []),
        ("A＾B*", [2]), ("A＾B^C", [2]),
    ):  # fmt: skip
        assert found_by(database, query({"PatientName": name}, charset=["ISO_IR 192"])) == expected, name


def test_strokes_of_letters_do_not_count_in_names(database: Database) -> None:
    names = ["WAŁĘSA^Lech", "Walesa^Lech", "SØRENSEN^Ægir=ソ", "Đoković=Ħ=Łódź", "Sörensen"]
    database.submit(insert_documents, [document(PatientName=name) for name in names]).result()
    for name, expected in (
        ("walesa*", [1, 2]), ("WAŁĘ*", [1, 2]), ("sorensen*", [3, 5]), ("sørensen*", [3, 5]), ("s?rensen^aegir", [3]),
        ("sor*", [3, 5]), ("dokovic", [4]), ("lodz", [4]), ("=h", [4]), ("=ħ=ł*", [4]), ("*^ægir", [3]), ("l*", [4]),
    ):  # fmt: skip
        assert found_by(database, query({"PatientName": name}, charset=["ISO_IR 192"])) == expected, name


def test_order_is_by_start_then_id_over_page_borders(database: Database) -> None:
    times = ["120000", "080000", "080000", "230000", "000000", "080000"]
    states = ["READY", "SCHEDULED", "ARRIVED", "SCHEDULED", "READY", "SCHEDULED"]
    stored = [document(step={TIME: t, "ScheduledProcedureStepStatus": s}) for t, s in zip(times, states, strict=True)]
    database.submit(insert_documents, stored).result()
    for keys in ({}, {"PatientID": "P1"}, {SPS: [{STATION: "CT01", DATE: "20260312"}]}):
        for page in (1, 2, 10):
            assert found_by(database, query(keys), page) == [5, 2, 3, 6, 1, 4]
