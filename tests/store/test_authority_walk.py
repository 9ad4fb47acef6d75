"""Two names of an authority become one in small steps, and no message sees a half of it. On both databases.

20,000 rows of each kind, with `BROKER_FULL=1` 500,000.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from structlog.testing import capture_logs
from support.mpps.performed import bytes_of, creation, item
from support.orders.closing import House
from support.orders.intake import take
from support.scale import scaled
from support.store.measured import Walked, uncollected
from support.worklist.worklist import IMPLICIT

from broker.errors import StoreUnavailable
from broker.model.performed import MessageKind, PerformedMessage
from broker.mpps import checks, recording
from broker.mpps.dataset import decode
from broker.orders import authority_walk
from broker.orders.authority_walk import join_authorities
from broker.orders.lookup import recognizing
from broker.orders.stories import identity
from broker.store.db.database import Database
from broker.store.db.deadlines import unhurried
from broker.store.orders import authorities
from broker.store.schema import tables

COUNT = scaled(3_000, 500_000)
OID, NS, BOTH = "&2.999.3&ISO", "HOSP", "HOSP&2.999.3&ISO"
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message that teaches joins what it names itself; all else is left to the walk."""
    monkeypatch.setattr(recognizing, "AT_ONCE", 0)


def message(control: str, number: str, issuer: str, *, name: str = "ROE^ANNA", visit: str = "") -> bytes:
    """An order message whose patient, visit and order have this number, all under one authority."""
    of = issuer.replace("&", "^")
    return "".join(
        f"{line}\r"
        for line in (
            f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||OMI^O23^OMI_O23|W{next(_numbers)}|P|2.5.1",
            f"PID|||P{number}^^^{issuer}||{name}||19700101|F",
            f"PV1||I|WARD||||||||||||||||{visit or f'V{number}'}^^^{issuer}",
            f"ORC|{control}|O{number}^{of}|||SC",
            "TQ1|||||||20260312120000",
            f"OBR|1|O{number}^{of}||CHEST^Chest^L",
            f"IPC|A{number}|R{number}|2.999.7.{number}|S{number}|CT",
        )
    ).encode()


def admission(number: str, issuer: str, name: str = "ROE^ANNA") -> bytes:
    """A message that admits the patient with this number."""
    return "".join(
        f"{line}\r"
        for line in (
            f"MSH|^~\\&|ADT|SITE|BROKER|RAD|20260312080000||ADT^A01|W{next(_numbers)}|P|2.5.1",
            "EVN||20260312080000",
            f"PID|||P{number}^^^{issuer}||{name}||19700101|F",
            f"PV1||I|WARD||||||||||||||||V{number}^^^{issuer}",
        )
    ).encode()


def many(database: Database, count: int) -> None:
    """Patients with a visit and an order each, by universal ID alone."""
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1000 UNION ALL SELECT v + 1 FROM n WHERE v < {1000 + count})"
    statements = (
        f"{numbers} INSERT INTO patient (id, patient_id, issuer, attributes, updated_at)"
        " SELECT v, 'P' || v, '2.999.3', '{}', 0 FROM n",
        f"{numbers} INSERT INTO visit (patient, admission_id, issuer, location, patient_class, state, opened_at,"
        " closed_at, updated_at) SELECT v, 'V' || v, '2.999.3', '', '', 'open', 0, 0, 0 FROM n",
        f"{numbers} INSERT INTO service_request (id, patient, placer_number, placer_issuer, filler_number,"
        " filler_issuer, accession, attributes, created_at, updated_at)"
        " SELECT v, v, 'O' || v, '2.999.3', '', '', '', '{}', 0, 0 FROM n",
    )

    def unit(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    database.execute(unhurried(unit))


def issuers(database: Database) -> dict[str, set[str]]:
    """Under which issuers anything stands."""

    def read(connection: Connection) -> dict[str, set[str]]:
        columns = (tables.patient.c.issuer, tables.visit.c.issuer, tables.service_request.c.placer_issuer)
        return {c.table.name: set(connection.execute(select(c).distinct()).scalars()) for c in columns}

    return database.read(read).result()


def left(database: Database) -> list[Any]:
    """What is still to be joined."""
    return database.read(authorities.joins).result()


def rows(database: Database, column: Any) -> list[Any]:
    return database.read(lambda c: list(c.execute(select(column).order_by(column)).scalars())).result()


@pytest.mark.timeout(scaled(120, 3000))
def test_a_large_authority_is_joined_by_short_transactions(database: Database) -> None:
    for number in range(100):
        assert take(database, message("NW", str(number), OID)).code == "AA"
    many(database, COUNT)
    assert take(database, message("NW", "901", "OTHER")).code == "AA"  # compiles statements
    assert take(database, message("NW", "902", BOTH)).code == "AA"
    assert rows(database, tables.patient.c.issuer).count("HOSP") <= recognizing.AT_ONCE + 2  # by the message itself
    assert {join.pair.universal_id for join in left(database)} == {"2.999.3"}
    house = Walked(database)
    with uncollected():
        join_authorities(house.walk)
    assert house.pace.short
    assert issuers(database) == {"patient": {"HOSP", "OTHER"}, "visit": {"HOSP"}, "service_request": {"HOSP", "OTHER"}}
    assert left(database) == []
    answers = [json.loads(answer) for answer in rows(database, tables.scheduled_step.c.answer)]
    assert {answer["IssuerOfPatientID"] for answer in answers} == {"HOSP", "OTHER"}


@pytest.fixture
def pending(database: Database) -> Database:
    """Orders 1 to 3 by universal ID alone; another message has told the namespace, and nobody has walked yet."""
    for number in "123":
        assert take(database, message("NW", number, OID)).code == "AA"
        assert take(database, admission(number, OID)).code == "AA"
    assert take(database, message("NW", "9", BOTH)).code == "AA"
    assert "2.999.3" in issuers(database)["patient"]
    return database


@pytest.mark.parametrize("form", [NS, BOTH, OID, "2.999.3"])
def test_a_message_in_between_finds_what_it_names(pending: Database, form: str) -> None:
    assert take(pending, message("XO", "1", form, name="NEW^ANNA")).code == "AA"
    assert take(pending, message("CA", "2", form)).code == "AA"
    assert take(pending, admission("1", form, "NEW^ANNA")).code == "AA"
    assert len(rows(pending, tables.patient.c.id)) == len(rows(pending, tables.service_request.c.id)) == 4
    assert len(rows(pending, tables.visit.c.id)) == 3
    assert rows(pending, tables.scheduled_step.c.status) == ["CANCELED", "SCHEDULED", "SCHEDULED", "SCHEDULED"]
    assert "2.999.3" in issuers(pending)["patient"]  # of the third, whom nobody named
    answers = [json.loads(answer) for answer in rows(pending, tables.scheduled_step.c.answer)]
    assert sum(answer["PatientName"] == "NEW^ANNA" for answer in answers) == 1


def test_an_mpps_in_between_finds_its_step(pending: Database) -> None:
    scheduled = item(1, StudyInstanceUID="2.999.7.1", ScheduledProcedureStepID="S1", AccessionNumber="A1")
    data = bytes_of(creation(scheduled, PatientID="P1", IssuerOfPatientID=NS))
    sent = PerformedMessage(
        at=0, kind=MessageKind("create"), calling_ae="CT01", transfer_syntax_uid=IMPLICIT, data=data, digest=b""
    )
    found = decode(data, IMPLICIT)
    checked, context = checks.created(found, strict=False, first_completed=False), House(pending).walk.context()
    recorded = pending.execute(recording.create, "2.999.1", sent, found, checked, context, [])
    assert recorded.answer.good
    assert recorded.linking == "linked"


def test_a_walk_that_was_stopped_goes_on(pending: Database) -> None:
    many(pending, 500)
    stopped = Walked(pending)
    real = stopped.walk.pace.alone
    count = 0

    def alone(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            stopped.stopping.set()
        return real(*args)

    stopped.walk.pace.alone = alone  # type: ignore[method-assign]
    join_authorities(stopped.walk)
    assert issuers(pending)["patient"] == {"2.999.3", "HOSP"}
    assert left(pending)
    join_authorities(Walked(pending).walk)
    assert issuers(pending)["patient"] == {"HOSP"}
    assert left(pending) == []


def test_a_number_that_fails_does_not_keep_the_others(pending: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = identity.join_recorded

    def fails(connection: Connection, numbers: Any, context: Any) -> None:
        if any(str(number).endswith("2") for of in numbers.values() for number in of):  # patient, visit, order
            raise RuntimeError
        real(connection, numbers, context)

    monkeypatch.setattr(authority_walk.identity, "join_recorded", fails)
    with capture_logs() as logs:
        join_authorities(Walked(pending).walk)
    assert [entry["event"] for entry in logs].count("authority.join_failed") == 3
    assert rows(pending, tables.patient.c.issuer) == ["2.999.3", "HOSP", "HOSP", "HOSP"]
    assert [join.pair.use for join in left(pending)] == ["patient", "visit", "placer"]
    monkeypatch.undo()
    join_authorities(Walked(pending).walk)
    assert left(pending) == []


def test_a_silent_database_ends_the_walk(pending: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(authority_walk.identity, "join_recorded", away)
    with pytest.raises(StoreUnavailable):
        join_authorities(Walked(pending).walk)
    assert left(pending)


def test_two_persons_are_told_apart_once(database: Database) -> None:
    assert take(database, message("NW", "1", NS)).code == "AA"
    other = message("NW", "1", OID, name="OTHER^EVE").replace(b"19700101", b"19991231").replace(b"|O1^", b"|O5^")
    other = other.replace(b"IPC|A1|R1|2.999.7.1|S1", b"IPC|A5|R5|2.999.7.5|S5")
    assert take(database, other).code == "AA"
    assert take(database, message("NW", "9", BOTH)).code == "AA"
    assert take(database, message("XO", "1", NS)).findings == 1
    assert take(database, message("XO", "1", NS)).findings == 0
    join_authorities(Walked(database).walk)
    actions = rows(database, tables.audit.c.action)
    assert actions.count("patient.kept-apart") == 1


def test_what_becomes_doubtful_is_joined_no_more(database: Database) -> None:
    """Another use says that the universal ID has another namespace: which of both is meant nobody knows."""
    for one in (message("NW", "1", OID), admission("1", OID)):
        assert take(database, one).code == "AA"
    patient = message("NW", "9", "LOCAL").replace(b"P9^^^LOCAL", f"P9^^^{BOTH}".encode())
    assert take(database, patient).code == "AA"
    assert {join.pair.use for join in left(database)} == {"patient", "visit", "placer", "filler"}
    placer = message("NW", "8", "LOCAL").replace(b"O8^LOCAL", b"O8^RIS^2.999.3^ISO")
    assert take(database, placer).code == "AA"
    assert {(join.pair.use, join.pair.namespace) for join in left(database)} == {("patient", "HOSP"), ("placer", "RIS")}
    join_authorities(Walked(database).walk)
    found = issuers(database)
    assert found == {"patient": {"HOSP", "LOCAL"}, "visit": {"2.999.3"}, "service_request": {"RIS", "LOCAL"}}
