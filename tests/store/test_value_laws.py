"""A change with any text in any field deletes nothing that is known, on both databases (orders: law L2).

200 examples; with `BROKER_FULL=1` 10,000.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.orders.hospital import Hospital, texts
from support.orders.values import message_of
from support.orders.values import texts as any_text
from support.scale import scaled
from support.worklist.worklist import SPS, encoded

from broker.hl7.paths import path
from broker.orders.mapping.profile import FieldType
from broker.store.db.database import Database

_ANY = settings(
    max_examples=scaled(200, 10_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# what the worklist shows of each field that a change may get wrong
_SHOWN = {
    "PID-5": "PatientName",
    "PID-7": "PatientBirthDate",
    "PID-8": "PatientSex",
    "PV1-3": "CurrentPatientLocation",
    "PV1-8": "ReferringPhysicianName",
    "PV1-15": "PregnancyStatus",
    "TQ1-7": "step.ScheduledProcedureStepStartDate",
    "TQ1-9": "RequestedProcedurePriority",
    "OBR-4": "RequestedProcedureDescription",
    "OBR-13": "MedicalAlerts",
    "OBR-16": "RequestingPhysician",
    "OBR-31": "ReasonForTheRequestedProcedure",
    "IPC-5": "step.Modality",
    "IPC-6": "step.ScheduledProcedureStepDescription",
    "IPC-7": "step.ScheduledStationName",
    "IPC-8": "step.ScheduledProcedureStepLocation",
    "IPC-9": "step.ScheduledStationAETitle",
    "OBX-5": "PatientWeight",
}
_numbers = count(1)
_ANYBODY = "L???????"


@cache
def _asking_anybody() -> bytes:
    keys: dict[str, Any] = {SPS: [{}], "PatientID": _ANYBODY}
    for shown in _SHOWN.values():
        level, keyword = (keys[SPS][0], shown[5:]) if shown.startswith("step.") else (keys, shown)
        level[keyword] = None if keyword == "PregnancyStatus" else ""
    return encoded(keys, charset=["ISO_IR 192"])


def _asking(patient_id: str) -> bytes:
    """An identifier that asks for what changes may get wrong, of one patient."""
    return _asking_anybody().replace(_ANYBODY.encode(), patient_id.encode())


def _known(number: int) -> dict[str, dict[int, str]]:
    return {
        "PID": {3: f"L{number:07}", 5: "DOE^JANE", 7: "19700101", 8: "F"},
        "PV1": {2: "I", 3: "WARD", 8: "1^HOUSE^GREGORY", 15: "B6"},
        "ORC": {1: "NW", 2: f"P{number}", 3: f"F{number}"},
        "TQ1": {7: "20260312103000", 9: "S"},
        "OBR": {2: f"P{number}", 3: f"F{number}", 4: "C1^Chest^L", 13: "Latex", 16: "2^WHO^DOCTOR", 31: "^Cough"},
        "OBX": {2: "NM", 3: "29463-7", 5: "70", 6: "kg"},
        "IPC": {
            1: f"A{number}",
            2: f"R{number}",
            4: f"S{number}",
            5: "CR",
            6: "PR^Protocol^L",
            7: "ROOM",
            8: "LOC",
            9: "CT01",
        },
    }


@_ANY
@given(place=st.sampled_from(sorted(_SHOWN)), text=any_text())
@example(place="IPC-7", text=f"00000{10 * chr(160)}£")  # as long as may be, and padded
def test_no_text_deletes_what_is_known(database: Database, place: str, text: str) -> None:
    hospital = Hospital(database)
    number = next(_numbers)
    known = _known(number)
    assert b"MSA|AA" in (hospital.send(message_of(None, "", FieldType.PLAIN, base=known)) or b"")
    where = path(place)
    changed = message_of(where, text, FieldType.PLAIN, base=known, control="XO")
    answer = hospital.send(changed.replace(b"|C1|", b"|C2|", 1)) or b""
    status, items = hospital.find(_asking(f"L{number:07}"))
    assert status == 0
    (item,) = items
    shown = texts(item)
    for keyword in _SHOWN.values():
        deleted = text.strip() == '""' and keyword == _SHOWN[place] and b"MSA|AA" in answer
        assert shown.get(keyword) or deleted, (place, text, keyword, answer)
