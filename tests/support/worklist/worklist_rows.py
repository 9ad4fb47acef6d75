"""Worklist documents as rows of a database, and what the search and the matcher find there together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert

from broker.dicom.dataset.folding import fold_for_search
from broker.orders.core.worklist_item import HELD
from broker.store.db.database import Database
from broker.store.orders.saving import name_groups
from broker.store.schema import tables
from broker.store.worklist.candidates import Criteria, Found, search
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches
from support.worklist.worklist import DATE, SPS, STATION, TIME

Documents = Sequence[dict[str, Any]]


def insert_documents(connection: Connection, documents: Documents) -> None:
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
                patient_id=one["PatientID"], patient_name=fold_for_search(one["PatientName"]),
                accession=one["AccessionNumber"],
                requested_procedure_id=one["RequestedProcedureID"], study_instance_uid=one["StudyInstanceUID"],
                attributes="{}", answer=json.dumps(one), revision=1, updated_at=0, held=HELD in one,
            )
        )  # fmt: skip
        for words in name_groups(fold_for_search(one["PatientName"])):
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


def found_by(database: Database, asked: Query, page: int = 3) -> list[int]:
    """Row ids of the matches in their order; `page` candidates of one statement."""
    rows = database.read(_all, search_criteria(asked), page).result()
    return [row.id for row in rows if matches(json.loads(row.answer), asked)]


def replace_documents(connection: Connection, documents: Documents) -> None:
    """These documents and nothing else."""
    for table in reversed(tables.METADATA.sorted_tables):
        connection.execute(table.delete())
    insert_documents(connection, documents)
