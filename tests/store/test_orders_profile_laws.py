"""Law L3 and L4 for mappings: a mapping is refused by its check, or every message is answered by it, as trying it says.

`BROKER_FULL=1 pytest tests/store/test_orders_profile_laws.py` runs 10,000 examples on each database; else 200.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydicom.datadict import dictionary_VR, tag_for_keyword
from sqlalchemy import func, select
from support.loops import shortly
from support.orders.intake import PEER
from support.orders.profiles import ZONE, document, message
from support.scale import FULL

from broker import telemetry
from broker.errors import ConfigurationError
from broker.orders.core import attributes
from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.effects import refuse_idle
from broker.orders.mapping.profile import SECTIONS, FieldType, Profile
from broker.orders.trying.preview import preview
from broker.store.db.database import Database
from broker.store.schema import tables

KINDS = ("ORM^O01", "OMI^O23", "SIU^S12", "ADT^A08", "ORU^R01")
KEYWORDS = sorted({keyword for table in attributes.SECTIONS.values() for keyword in table})
PLACES = [
    "PID-3.1",
    "PID-3[2].1",
    "PID-5",
    "PID-7",
    "PID-8.1",
    "PID-11",
    "PID-13",
    "PV1-3",
    "PV1-19.1",
    "AL1-3",
    "ORC-2.1",
    "ORC-3.1",
    "ORC-7.4",
    "OBR-4",
    "OBR-4.1",
    "OBR-13",
    "OBR-18.1",
    "OBR-24.1",
    "IPC-1.1",
    "IPC-3.1",
    "IPC-5.1",
    "IPC-9",
    "ZDS-1.1",
    "ZVX-1",
    "ZVX-2.1.2",
    "ZVX-3[2].1",
    "OBX-5",
    "OBX-5.1",
    "OBX[3.1=TM*]-5",
    "OBX[3.1=TMOD].5.1",
    "OBX[3.1=TMOD][11=F].5",
    "PID-3[4.1=SITE].1",
    "NTE-3",
    "OBR/NTE-3",
    "AIS-3",
    "AIS-4",
    "AIG-3.1",
    "AIG-4.1",
    "AIL-3.1",
    "AIP-3",
    "SCH-11.4",
    "SCH-26.1",
    "MSH-4.1",
]
WORDS = [
    "CT",
    "MR",
    "SPIRAL",
    "CT01",
    "CT*",
    "T?",
    "*",
    "re:c.*",
    "re:(",
    "F",
    "ROUTINE",
    "1",
    "A1",
    "Text",
    "",
    "2.999.4",
]
TEXTS = [
    "CT",
    "20300102101500",
    "2.999.5^X&Y",
    "a~b^c&d",
    '""',
    "x" * 70,
    "3.5",
    "F",
    r"\T\ \.br\ ",
    "ÄÖ",
    "1.2",
    "TMOD",
]
_numbers = count(1)


@some.composite
def fragments(draw: some.DrawFn) -> str:
    """A part of a profile: paths, tables, defaults, rules and policies, good ones and others."""
    lines: list[str] = []
    for section in draw(some.lists(some.sampled_from(SECTIONS), unique=True, max_size=3)):
        lines.append(f"[{section}]")
        table = [*getattr(attributes, section.upper(), attributes.STEP)]
        for keyword in draw(
            some.lists(some.sampled_from(table) | some.sampled_from(KEYWORDS), unique=True, max_size=4)
        ):
            kinds = some.sampled_from([_fitting(keyword)] * 3 + [*FieldType])
            sources = draw(some.lists(some.tuples(some.sampled_from(PLACES), kinds), max_size=3))
            lines.append(f"{keyword} = {[place + (f':{kind}' if kind else '') for place, kind in sources]}")
    for table in draw(
        some.lists(some.sampled_from(("values", "defaults", "station", "identifiers", "policy")), unique=True)
    ):
        lines += draw(_MORE[table])
    return "\n".join(lines)


def _fitting(keyword: str) -> str:
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    if vr == "SQ":
        return FieldType.EI if "Issuer" in keyword or "Identifier" in keyword else FieldType.CODE
    return FieldType.XPN if vr == "PN" else FieldType.PLAIN


_NAMES = some.sampled_from(["Modality", "ScheduledStationAETitle", "PatientSex", "MedicalAlerts"]) | some.sampled_from(
    KEYWORDS
)
_WORD = some.sampled_from(WORDS)
_MORE: dict[str, some.SearchStrategy[list[str]]] = {
    "values": some.tuples(_NAMES, some.dictionaries(_WORD, _WORD, max_size=4)).map(
        lambda t: [f"[values.{t[0]}]", *(f"'{k}' = '{v}'" for k, v in t[1].items())]
    ),
    "defaults": some.dictionaries(_NAMES, _WORD, max_size=3).map(
        lambda t: ["[defaults]", *(f"{k} = '{v}'" for k, v in t.items())]
    ),
    "station": some.lists(
        some.tuples(some.sampled_from(PLACES) | _NAMES | some.just("sender"), _WORD, _WORD), min_size=1, max_size=3
    ).map(lambda rules: [f"[[station]]\nwhen = {{ '{n}' = '{w}' }}\nae_title = '{t}'" for n, w, t in rules]),
    "identifiers": some.fixed_dictionaries(
        {
            "accession": some.sampled_from(
                ["['message']", "['message', 'generate']", "['filler', 'refuse']", "['placer', 'message']"]
            ),
            "study_instance_uid": some.sampled_from(["'generate'", "'from-accession'", "'require'"]),
            "requested_procedure_id": some.sampled_from(["['accession', 'generate']", "['message', 'refuse']"]),
            "step_id": some.sampled_from(["['message', 'generate']", "['message', 'refuse']", "['generate']"]),
        }
    ).map(lambda t: ["[identifiers]", *(f"{k} = {v}" for k, v in t.items())]),
    "policy": some.fixed_dictionaries(
        {
            "unknown_appointment": some.sampled_from(["'keep'", "'create'"]),
            "start_missing": some.sampled_from(["'received'", "'unscheduled'", "'refuse'"]),
            "result_completes": some.sampled_from(["[]", "['F']"]),
        }
    ).map(lambda t: ["[policy]", *(f"{k} = {v}" for k, v in t.items())]),
}


def judged(text: str) -> Profile | None:
    """The profile, None where its check refuses it."""
    try:
        own = document(text)
        profile = ProfileBook({"x": own}).named("x")
        refuse_idle(own, profile)
    except ConfigurationError:
        return None
    return profile


@settings(
    max_examples=10_000 if FULL else 200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=fragments(), values=some.lists(some.sampled_from(TEXTS), min_size=3, max_size=3), sparse=some.booleans())
def test_a_mapping_is_refused_or_reads_every_message(
    database: Database, text: str, values: list[str], sparse: bool
) -> None:
    profile = judged(text)
    if profile is None:
        return
    door = OrderDoor(database, Interface(name="test"), lambda header: profile, zone=ZONE, default_station="NONE")
    defects = telemetry.HL7_DEFECTS._value.get()
    for kind in KINDS:
        raw = _fresh(message(kind, f"ZVX|{'|'.join(values)}", f"OBX|1|ST|TMOD^X||{values[0]}||||||F", sparse=sparse))
        before = database.read(_journaled).result()
        answer = shortly(door.handle(raw, PEER)) or b""
        code = re.search(rb"\rMSA\|(A[AE])\|", answer)
        assert code, answer
        assert telemetry.HL7_DEFECTS._value.get() == defects, answer
        assert database.read(_journaled).result() == before + 1
        if code[1] == b"AE":
            assert b"\rERR|" in answer
        if kind in ("ORM^O01", "OMI^O23"):
            tried = preview(raw, profile, ZONE)
            # what is stored may refuse more: the same identifier of another patient, a known number
            assert str(tried.code).encode() == code[1] or b"^205^" in answer or b"|205^" in answer


def _fresh(raw: bytes) -> bytes:
    """A message with identifiers that no other has."""
    number = next(_numbers)
    for name in (b"M1", b"P1", b"PL1", b"F1", b"A1", b"RP1", b"S1", b"V1", b"AP1"):
        raw = re.sub(rb"(?<![A-Z0-9.])" + name + rb"(?![A-Z0-9])", name + b"x%d" % number, raw)
    return raw.replace(b"2.999.1", b"2.999.1.%d" % number)


def _journaled(connection: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(tables.message)).scalar_one())
