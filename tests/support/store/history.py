"""The past of a broker: objects that were delivered or purged, their jobs, their files; of any size, in plain SQL."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

HOURS, FILES = 24, 50  # folders of the spool with files, and files in each
_DAY = 86_400.0
_SMALL = 4  # one object of so many stands in the database


def add_history(connection: sqlite3.Connection, count: int, spool: Path | None = None) -> None:
    """Add `count` objects to an SQLite file. `spool`: the folder that gets files of the youngest of them."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    for statement in history(count, "randomblob(32)"):
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if spool is not None:
        _add_files(spool, count, time.time())


def history(count: int, some_bytes: str) -> tuple[str, ...]:
    """Statements that add objects 1 to `count`, each with a done delivery, and their studies of 20 objects each.

    The older half came 60 days ago and is purged, the others came 20 days ago. `some_bytes` is SQL for a digest.
    """
    now = time.time()
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {count})"
    folder = "'20260101/' || substr(CAST(100 + v % 24 AS VARCHAR), 2)"
    old = f"v <= {count // 2}"
    at = f"{now} + v - CASE WHEN {old} THEN {60 * _DAY} ELSE {20 * _DAY} + {count} END"
    return (
        f"{numbers} INSERT INTO instance (id, sop_instance_uid, version, sop_class_uid, transfer_syntax_uid,"
        " study_instance_uid, series_instance_uid, calling_ae, called_ae, peer, path, data_offset, data_length,"
        " digest, received_at, state, reason, rules_version, trace, facts) SELECT v, '2.25.9' || (1000000 + v), 1,"
        " '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '2.25.8' || (v / 20), '2.25.7' || (v / 10), 'CT01',"
        f" 'BROKER', '10.0.0.7', CASE WHEN v % {_SMALL} = 0 THEN '' ELSE {folder} || '/' || v || '.dcm' END, 300,"
        f" 524288, {some_bytes}, {at}, CASE WHEN {old} THEN 'purged' ELSE 'routed' END, '', 1,"
        ' \'[{"rule": "all", "matched": true, "leaves": [["tag.Modality", "is", "CT", true]]}]\','
        ' \'{"tag.Modality": ["CT"], "assoc.calling_ae": ["CT01"]}\' FROM n',
        f"{numbers} INSERT INTO content (instance, data) SELECT v, {some_bytes} FROM n"
        f" WHERE v % {_SMALL} = 0 AND NOT {old}",
        f"{numbers} INSERT INTO study (id, study_instance_uid, first_at) SELECT v / 20 + 1, '2.25.8' || (v / 20), {at}"
        " FROM n WHERE v % 20 = 0 OR v = 1",
        f"{numbers} INSERT INTO study_key (study, patient_id, accession, modality, calling_ae)"
        " SELECT v / 20 + 1, 'QZPAT1' || v, 'A1' || v, 'CT', 'CT01' FROM n WHERE v % 20 = 0 OR v = 1",
        f"{numbers} INSERT INTO job (kind, lane, subject, detail, state, priority, due_at, attempts, failures,"
        " lease_owner, lease_until, fence, last_error, created_at, done_at) SELECT 'deliver', 'deliver:archive', v,"
        f" '{{\"rules\": [\"all\"], \"rules_version\": 1}}', 'done', 5, {at}, 1, 0, '', 0, 1, '', {at}, {at} + 30"
        " FROM n",
    )


def around(count: int, some_bytes: str) -> tuple[str, ...]:
    """Statements that add steps with their events, MPPS, an audit trail and notes."""
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {count})"
    start = "CAST(20260301 + v / 600 AS VARCHAR) || '103000'"
    status = "CASE WHEN v % 10 = 0 THEN 'SCHEDULED' ELSE 'COMPLETED' END"
    return (
        "INSERT INTO patient (id, patient_id, issuer, attributes, updated_at) VALUES (1, 'P', '', '{}', 0)",
        f"{numbers} INSERT INTO patient (id, patient_id, issuer, attributes, updated_at)"
        " SELECT v + 1, 'P' || v, '2.999.3', '{}', 0 FROM n",
        f"{numbers} INSERT INTO visit (patient, admission_id, issuer, location, patient_class, state, opened_at,"
        " closed_at, updated_at) SELECT v + 1, 'V' || v, '2.999.3', '', '', 'open', 0, 0, 0 FROM n",
        f"{numbers} INSERT INTO service_request (id, patient, placer_number, placer_issuer, filler_number,"
        " filler_issuer, accession, attributes, created_at, updated_at)"
        " SELECT v, v + 1, 'O' || v, '2.999.3', 'F' || v, '2.999.3', '', '{}', 0, 0 FROM n",
        f"{numbers} INSERT INTO requested_procedure (id, request, requested_procedure_id, study_instance_uid,"
        " attributes) SELECT v, v, 'R' || v, '2.25.8' || v, '{}' FROM n",
        f"{numbers} INSERT INTO scheduled_step (id, procedure, step_id, position, status, status_at, start_at,"
        " modality, patient_id, patient_name, accession, requested_procedure_id, study_instance_uid, attributes,"
        f" answer, revision, updated_at) SELECT v, v, 'S', 1, {status}, 0, {start}, 'CT', 'P', 'N', 'A', 'R',"
        " '2.25.8' || v, '{}', '{}', 1, 0 FROM n",
        f"{numbers} INSERT INTO step_station (step, ae_title, start_at) SELECT v, 'ST' || (v % 500), {start} FROM n",
        f"{numbers} INSERT INTO step_event (step, at, before, after, cause, actor) SELECT v, v, '', 'SCHEDULED',"
        " 'x', 'y' FROM n",
        f"{numbers} INSERT INTO audit (at, actor, action, object_kind, object_id, detail, patient)"
        " SELECT v, 'user:' || (v % 40), 'action.' || (v % 60), 'order', v % 1000, '{}', v % 900 FROM n",
        f"{numbers} INSERT INTO import_item (source, key, accession, place, outcome, findings, first_at, last_at,"
        " times) SELECT 's', v || '', '', '', 'refused', '[]', v, v, 1 FROM n",
        f"{numbers} INSERT INTO idempotency (actor, key, digest, request, action, answer, at)"
        f" SELECT 'a', v || '', {some_bytes}, CASE WHEN v > {count // 2} THEN v END, 'b', '{{}}', v FROM n",
        f"{numbers} INSERT INTO mpps (sop_instance_uid, status, linking, calling_ae, station, modality, started_at,"
        " document, findings, revision, created_at, updated_at, attention, compared_at) SELECT '2.25.6' || v,"
        " CASE WHEN v % 500 = 0 THEN 'IN PROGRESS' ELSE 'COMPLETED' END, 'linked', 'CT01', 'CT01', 'CT', 0, '{}', '[]',"
        " 1, v, v, '', CASE WHEN v % 400 = 0 THEN NULL ELSE 1.0 END FROM n",
        f"{numbers} INSERT INTO message (received_at, listener, peer, sender, control_id, message_type, digest, raw,"
        f" accepted, answer_code, answer, note) SELECT v, '', '', '', v || '', '', {some_bytes}, {some_bytes},"
        f" v % 50 <> 0, 'AA', {some_bytes}, '' FROM n",
        f"{numbers} INSERT INTO mpps_link (mpps, position, step, reason) SELECT v, 1, v, '' FROM n",
    )


def _add_files(spool: Path, count: int, now: float) -> None:
    """Empty-looking files of known objects, as old as they, in the folders of their hours."""
    for number in range(count, max(0, count - HOURS * FILES), -1):
        if number % _SMALL:
            file = spool / f"20260101/{number % 24:02d}" / f"{number}.dcm"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
            os.utime(file, (now - 20 * _DAY,) * 2)
