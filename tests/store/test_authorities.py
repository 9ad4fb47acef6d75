"""One authority by its namespace, its universal ID, or both: what is stored, joined, kept apart. On both databases."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from sqlalchemy import Connection, select
from support.orders.intake import take

from broker.model.authority import AuthorityUse, KnownAuthority
from broker.store.db.database import Database
from broker.store.orders import authorities
from broker.store.schema import tables

NS, OID, BOTH = "HOSP", "&2.999.3&ISO", "HOSP&2.999.3&ISO"
_numbers = itertools.count(1)


def order(
    control: str = "NW", *, patient: str = f"P1^^^{BOTH}", name: str = "ROE^ANNA", placer: str = "1^RIS",
    filler: str = "", start: str = "20300115090000", birth: str = "19700101", visit: str = "", accession: str = "",
) -> bytes:  # fmt: skip
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101080000||OMI^O23^OMI_O23|O{next(_numbers)}|P|2.5.1",
        f"PID|||{patient}||{name}||{birth}|F",
        f"PV1||I|WARD||||||||||||||||{visit}",
        f"ORC|{control}|{placer}|{filler}||SC",
        f"TQ1|||||||{start}",
        f"OBR|1|{placer}|{filler}|CHEST^Chest^L|||||||||||||||||||||",
        f"IPC|{accession}||||CT",
    ]
    return "".join(line + "\r" for line in lines).encode()


def adt(trigger: str, patient: str, *more: str, name: str = "NEW^ANNA", birth: str = "19700101") -> bytes:
    lines = [
        f"MSH|^~\\&|ADT|SITE|BROKER|RAD|20300101090000||ADT^{trigger}|E{next(_numbers)}|P|2.5.1",
        f"EVN||2030010109{next(_numbers) % 60:02}00",
        f"PID|||{patient}||{name}||{birth}|F",
        *more,
    ]
    return "".join(line + "\r" for line in lines).encode()


def send(database: Database, *messages: bytes) -> str:
    """Take messages that must be accepted; what the last answer finds."""
    for message in messages:
        outcome = take(database, message)
        assert outcome.code == "AA", outcome
    errors = [line.split("|") for line in outcome.answer.decode().split("\r") if line.startswith("ERR")]
    return " ".join(f"{error[2]}:{error[3][:3]}{error[4]}" for error in errors)


def rows(database: Database, table: str) -> list[dict[str, Any]]:
    wanted = tables.METADATA.tables[table]

    def read(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in connection.execute(select(wanted).order_by(*wanted.primary_key))]

    return database.read(read).result()


def shown(database: Database, *keywords: str) -> list[tuple[Any, ...]]:
    """Values of the answers of open steps, oldest first."""
    steps = [row for row in rows(database, "scheduled_step") if row["status"] == "SCHEDULED"]
    return [tuple(json.loads(row["answer"]).get(keyword) for keyword in keywords) for row in steps]


@pytest.mark.parametrize(("first", "second"), [(BOTH, OID), (OID, BOTH), (BOTH, NS), (BOTH, "2.999.3")])
def test_a_patient_by_any_name_of_the_authority(database: Database, first: str, second: str) -> None:
    assert send(database, order(patient=f"P1^^^{first}"), adt("A08", f"P1^^^{second}")) == ""
    assert shown(database, "PatientName", "IssuerOfPatientID") == [("NEW^ANNA", "HOSP")]
    assert [(row["patient_id"], row["issuer"]) for row in rows(database, "patient")] == [("P1", "HOSP")]


@pytest.mark.parametrize("field", ["placer", "filler"])
@pytest.mark.parametrize(
    ("first", "second"),
    [("1^RIS^2.999.9^ISO", "1^^2.999.9^ISO"), ("1^^2.999.9^ISO", "1^RIS^2.999.9^ISO"), ("1^^2.999.9^ISO", "1^2.999.9")],
)
def test_an_order_number_by_any_name_of_the_authority(database: Database, field: str, first: str, second: str) -> None:
    numbers: dict[str, str] = {"placer": "", "filler": ""}
    send(database, order("NW", **{**numbers, field: first}))
    assert send(database, order("CA", **{**numbers, field: second})) == ""
    assert shown(database, "PatientID") == []


def test_what_two_uses_of_a_namespace_tell_is_no_contradiction(database: Database) -> None:
    both = order(
        patient=f"P1^^^{BOTH}", placer="1^HOSP^2.999.4^ISO", filler="1^HOSP^2.999.5^ISO", visit="V1^^^HOSP&2.999.6&ISO"
    )
    assert send(database, both) == ""
    again = order("XO", patient=f"P1^^^{OID}", placer="1^^2.999.4^ISO", filler="", visit="V1^^^&2.999.6&ISO")
    assert send(database, again) == ""
    assert len(rows(database, "patient")) == len(rows(database, "service_request")) == 1


def test_what_one_use_tells_another_one_knows(database: Database) -> None:
    send(database, order(patient=f"P1^^^{BOTH}", placer="1^HOSP"))
    assert send(database, order("CA", patient=f"P1^^^{OID}", placer="1^^2.999.3^ISO")) == ""
    assert shown(database, "PatientID") == []


def test_a_namespace_with_another_universal_id_is_kept_apart(database: Database) -> None:
    send(database, order(patient=f"P1^^^{BOTH}"))
    other = "HOSP&2.999.4&ISO"
    assert send(database, order(patient=f"P1^^^{other}", placer="2^RIS", name="OTHER^EVE")) == "PID^1^3:205W"
    assert shown(database, "PatientName", "IssuerOfPatientID") == [("ROE^ANNA", "HOSP"), ("OTHER^EVE", "HOSP")]
    assert send(database, adt("A08", "P1^^^&2.999.4&ISO", name="THIRD^EVE")) == ""
    assert send(database, adt("A08", "P1^^^&2.999.3&ISO", name="NEW^ANNA")) == ""
    assert [name for (name,) in shown(database, "PatientName")] == ["NEW^ANNA", "THIRD^EVE"]


def test_a_universal_id_with_another_namespace_is_kept_apart(database: Database) -> None:
    send(database, order(patient=f"P1^^^{BOTH}"))
    assert send(database, order(patient="P1^^^CLINIC&2.999.3&ISO", placer="2^RIS", name="OTHER^EVE")) == "PID^1^3:205W"
    assert [row["issuer"] for row in rows(database, "patient")] == ["HOSP", "CLINIC"]


def test_local_universal_ids_tell_nothing(database: Database) -> None:
    assert send(database, order(patient="P1^^^HOSP&7&L"), order(patient="P2^^^CLINIC&7&L", placer="2^RIS")) == ""
    assert rows(database, "authority") == []


def test_two_records_of_one_person_become_one(database: Database) -> None:
    send(database, order(patient=f"P1^^^{NS}"), order(patient=f"P1^^^{OID}", placer="2^RIS", name="Roe^Anna Maria"))
    assert len(rows(database, "patient")) == 2
    assert send(database, adt("A08", f"P1^^^{BOTH}", name="ROE^ANNA^M")) == ""
    assert [(row["patient_id"], row["issuer"]) for row in rows(database, "patient")] == [("P1", "HOSP")]
    assert shown(database, "PatientName", "IssuerOfPatientID") == [("ROE^ANNA^M", "HOSP")] * 2
    assert "patient.merged" in [row["action"] for row in rows(database, "audit")]


def test_two_records_that_differ_stay_two_until_they_are_merged(database: Database) -> None:
    send(database, order(patient=f"P1^^^{NS}"))
    send(database, order(patient=f"P1^^^{OID}", placer="2^RIS", name="OTHER^EVE", birth="19991231"))
    assert send(database, adt("A08", f"P1^^^{BOTH}")) == "PID^1^3:205W"
    assert [name for (name,) in shown(database, "PatientName")] == ["NEW^ANNA", "OTHER^EVE"]
    assert "patient.kept-apart" in [row["action"] for row in rows(database, "audit")]
    # both are served as before, by the names they came under
    assert send(database, order("XO", patient=f"P1^^^{OID}", placer="2^RIS", name="OTHER^EVE", birth="19991231")) == ""
    assert send(database, adt("A40", f"P1^^^{NS}", f"MRG|P1^^^{OID}")) == ""
    assert [name for (name,) in shown(database, "PatientName")] == ["NEW^ANNA", "NEW^ANNA"]
    assert send(database, order("XO", patient=f"P1^^^{OID}", placer="2^RIS")) == ""


def test_a_refused_message_teaches_nothing(database: Database) -> None:
    send(database, order(patient="P1^^^OTHER"))
    assert take(database, order("XO", patient=f"P2^^^{BOTH}")).code == "AE"
    assert rows(database, "authority") == []


def test_retired_identifiers_join_too(database: Database) -> None:
    send(database, order(patient=f"P1^^^{OID}"), adt("A40", f"P2^^^{OID}", f"MRG|P1^^^{OID}"))
    send(database, adt("A08", f"P2^^^{BOTH}"))
    assert send(database, order("XO", patient=f"P1^^^{NS}")) == "PID^1^3:0^MW"
    assert shown(database, "PatientID", "IssuerOfPatientID") == [("P2", "HOSP")]


def test_what_waits_for_an_order_joins_too(database: Database) -> None:
    take(database, order("CA", patient=f"P1^^^{OID}", placer="1^^2.999.9^ISO"))
    send(database, order(patient=f"P2^^^{BOTH}", placer="2^RIS^2.999.9^ISO"))
    send(database, order(patient=f"P1^^^{NS}", placer="1^RIS"))
    assert shown(database, "PatientID") == [("P2",)]


def test_a_visit_by_any_name_of_the_authority(database: Database) -> None:
    send(database, adt("A01", f"P1^^^{NS}", "PV1||I|A||||||||||||||||V1^^^&2.999.6&ISO"))
    send(database, adt("A02", f"P1^^^{NS}", "PV1||I|B||||||||||||||||V1^^^VIS&2.999.6&ISO"))
    send(database, adt("A02", f"P1^^^{NS}", "PV1||I|C||||||||||||||||V1^^^VIS"))
    assert [(row["location"], row["issuer"]) for row in rows(database, "visit")] == [("C", "VIS")]


def test_known_pairs_are_found_by_either_name(database: Database) -> None:
    send(database, order(patient=f"P1^^^{BOTH}"))
    pair = KnownAuthority(AuthorityUse.PATIENT, "HOSP", "2.999.3")
    for names in (("HOSP", "x"), ("x", "2.999.3"), ("HOSP", "2.999.3")):
        found = database.read(lambda connection, names=names: authorities.known(connection, *names)).result()
        assert [one for one, _ in found] == [pair]
