"""SQL narrows, the matcher decides: together they find what the matcher alone finds among all documents."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert
from support.worklist import DATE, DEVICES, SPS, STATION, TIME, document, query

from broker.orders.answer import HELD
from broker.orders.names import fold
from broker.store import tables
from broker.store.database import Database
from broker.store.orders import name_groups
from broker.store.worklist import Criteria, Found, search
from broker.worklist.match import matches
from broker.worklist.plan import plan
from broker.worklist.query import Query

Documents = Sequence[dict[str, Any]]


def _insert(connection: Connection, documents: Documents) -> None:
    """Rows for documents, as an order would write them; row ids are positions from 1."""
    patient = connection.execute(
        insert(tables.patient).values(patient_id="P", issuer="", attributes="{}", updated_at=0).returning(
            tables.patient.c.id
        )
    ).scalar_one()  # fmt: skip
    numbers = {"placer_number": "", "placer_issuer": "", "filler_number": "", "filler_issuer": ""}
    request = connection.execute(
        insert(tables.service_request)
        .values(patient=patient, accession="", attributes="{}", created_at=0, updated_at=0, **numbers)
        .returning(tables.service_request.c.id)
    ).scalar_one()
    procedure = connection.execute(
        insert(tables.requested_procedure)
        .values(request=request, requested_procedure_id="R", study_instance_uid="1", attributes="{}")
        .returning(tables.requested_procedure.c.id)
    ).scalar_one()
    for number, one in enumerate(documents, 1):
        item = one[SPS][0]
        start = f"{item[DATE]}{item[TIME]:0<6}" if item[DATE] else ""
        connection.execute(
            insert(tables.scheduled_step).values(
                id=number, procedure=procedure, step_id=str(number), position=number,
                status=item["ScheduledProcedureStepStatus"], status_at=0, start_at=start, modality=item["Modality"],
                patient_id=one["PatientID"], patient_name=fold(one["PatientName"]), accession=one["AccessionNumber"],
                requested_procedure_id=one["RequestedProcedureID"], study_instance_uid=one["StudyInstanceUID"],
                attributes="{}", answer=json.dumps(one), revision=1, updated_at=0, held=HELD in one,
            )
        )  # fmt: skip
        for words in name_groups(fold(one["PatientName"])):
            connection.execute(insert(tables.step_name).values(step=number, words=words))
        for title in item[STATION]:
            connection.execute(insert(tables.step_station).values(step=number, ae_title=title, start_at=start))


def _all(connection: Connection, criteria: Criteria, page: int) -> list[Found]:
    found: list[Found] = []
    after: tuple[str, int] | None = None
    while part := search(connection, criteria, after, page):
        found += part
        after = (part[-1].start_at, part[-1].id)
    return found


def _found(database: Database, asked: Query, page: int = 3) -> list[int]:
    rows = database.read(_all, plan(asked), page).result()
    return [row.id for row in rows if matches(json.loads(row.answer), asked)]


def _expected(documents: Documents, asked: Query) -> list[int]:
    def place(number: int) -> tuple[str, int]:
        item = documents[number - 1][SPS][0]
        return f"{item[DATE]}{item[TIME]:0<6}", number

    return sorted((n for n, one in enumerate(documents, 1) if matches(one, asked)), key=place)


NAMES = ["DOE^JOHN", "LEFÈVRE^ANNE", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", "O'NEIL^100%_A\\B", "Müller^Hans"]
ACCESSIONS = ["A26031200451", "A1", "a1", "A%", "A_1", "50%_OFF", "", "A'1"]
STATIONS: list[list[str]] = [["CT01"], ["CT01", "CT02"], ["MR1"], ["ct01"], ["C%1"]]
STATUSES = ["SCHEDULED", "ARRIVED", "READY", "STARTED", "COMPLETED", "CANCELED"]
DATES = ["20260311", "20260312", "20260313", ""]  # without a date: to be scheduled
TIMES = ["000000", "080000", "100000", "1000", "235959", "100000.5"]
MODALITIES = ["CT", "MR", "US", "MG"]

documents = st.builds(
    lambda name, patient, accession, uid, held, **step: document(
        PatientName=name,
        PatientID=patient,
        AccessionNumber=accession,
        StudyInstanceUID=uid,
        step=step,
        **({HELD: 1} if held else {}),
    ),
    name=st.sampled_from(NAMES),
    patient=st.sampled_from(["P1", "P_1", "P%"]),
    accession=st.sampled_from(ACCESSIONS),
    uid=st.sampled_from(["1.2", "1.2.3"]),
    held=st.booleans(),
    **{
        STATION: st.sampled_from(STATIONS),
        DATE: st.sampled_from(DATES),
        TIME: st.sampled_from(TIMES),
        "Modality": st.sampled_from(MODALITIES),
        "ScheduledProcedureStepStatus": st.sampled_from(STATUSES),
    },
)


def _key(values: list[Any]) -> st.SearchStrategy[Any]:
    """A key: absent values, one of those stored, one cut to a wild card, or free text of awkward characters."""
    texts = [value for value in values if isinstance(value, str)]
    cut = st.builds(lambda text, at: text[:at] + "*", st.sampled_from(texts), st.integers(0, 6))
    return st.one_of(st.just(""), st.sampled_from(values), cut, st.text("A1*?%_'\\\0", max_size=4))


root_keys = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": _key([*NAMES, "doe^john", "山田*", "DOE"]),
        "PatientID": _key(["P1", "P_1", "P%"]),
        "AccessionNumber": _key([*ACCESSIONS, ["A1", "a1"]]),
        "StudyInstanceUID": st.sampled_from(["", "1.2", ["1.2", "1.2.3"], "1.*"]),
        "RequestedProcedureDescription": _key(["Abdomen"]),
    },
)
step_keys = st.fixed_dictionaries(
    {},
    optional={
        STATION: _key(["CT01", "CT02", "ct01", "C%1", ["CT01", "CT02"]]),
        DATE: st.sampled_from([*DATES, "20260312-", "-20260312", "20260311-20260312", ["20260311", "20260313"]]),
        TIME: st.sampled_from(["", "10", "1000-", "-1000", "0900-1200", "2200-0600", "100000", "-100000"]),
        "Modality": _key([*MODALITIES, ["MG", "US"]]),
        "ScheduledProcedureStepStatus": st.sampled_from(["", *STATUSES, "S*", ["STARTED", "READY"]]),
    },
)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Database(f"sqlite:///{Path(folder) / 'broker.db'}")
        yield opened
        opened.close()


def _replace(connection: Connection, stored: Documents) -> None:
    for table in reversed(tables.METADATA.sorted_tables):
        connection.execute(table.delete())
    _insert(connection, stored)


@settings(max_examples=150, deadline=None)
@given(
    stored=st.lists(documents, min_size=1, max_size=12),
    keys=st.builds(lambda root, step: {**root, SPS: [step]}, root_keys, step_keys),
    page=st.integers(1, 5),
)
def test_search_and_match_find_what_the_matcher_finds(
    embedded: Database, stored: Documents, keys: dict[str, Any], page: int
) -> None:
    embedded.submit(_replace, stored).result()
    asked = query(keys, charset=["ISO_IR 192"])
    assert _found(embedded, asked, page) == _expected(stored, asked)


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
    database.submit(_insert, STORED).result()
    keys, charset, implicit = DEVICES[device]
    asked = query(keys, charset=charset, implicit=implicit)
    found = _found(database, asked)
    assert found == _expected(STORED, asked)
    assert found


def test_awkward_keys_on_each_database(database: Database) -> None:
    database.submit(_insert, STORED).result()
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
        found = _found(database, asked)
        assert sorted(found) == sorted(expected), keys
        assert found == _expected(STORED, asked), keys


def test_order_is_by_start_then_id_over_page_borders(database: Database) -> None:
    times = ["120000", "080000", "080000", "230000", "000000", "080000"]
    states = ["READY", "SCHEDULED", "ARRIVED", "SCHEDULED", "READY", "SCHEDULED"]
    stored = [document(step={TIME: t, "ScheduledProcedureStepStatus": s}) for t, s in zip(times, states, strict=True)]
    database.submit(_insert, stored).result()
    for keys in ({}, {"PatientID": "P1"}, {SPS: [{STATION: "CT01", DATE: "20260312"}]}):
        for page in (1, 2, 10):
            assert _found(database, query(keys), page) == [5, 2, 3, 6, 1, 4]
