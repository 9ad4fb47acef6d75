"""Several orders with one number: one stays in force if they can be one exam, else a message says which, or is refused.

On both databases.
"""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import Connection, update
from store.test_authorities import order, rows, shown
from support.orders.intake import AT
from support.orders.intake import take as take_at

from broker.orders.stories.intake import Outcome
from broker.store.db.database import Database
from broker.store.schema import tables

NS, OID, BOTH = "1^RIS", "1^^2.999.9^ISO", "1^RIS^2.999.9^ISO"
P = "P1^^^HOSP"
HEAD = "HEAD^Head^L"
_minutes = itertools.count()


def take(database: Database, message: bytes) -> Outcome:
    """Take a message a minute after the one before."""
    return take_at(database, message, at=AT + timedelta(minutes=next(_minutes)))


def send(database: Database, *messages: bytes) -> str:
    """Take messages that must be accepted; what the last answer finds."""
    for message in messages:
        outcome = take(database, message)
        assert outcome.code == "AA", outcome
    return " ".join(f"{one.location}:{one.code}{one.severity}" for one in outcome.told)


def new(placer: str, **more: str) -> bytes:
    procedure = more.pop("procedure", "")
    message = order("NW", patient=more.pop("patient", P), placer=placer, **more)  # type: ignore[arg-type]
    return message.replace(b"CHEST^Chest^L", procedure.encode()) if procedure else message


def told(database: Database, placer: str = "2^RIS^2.999.9^ISO") -> str:
    """What a message finds that tells that both names are one."""
    return send(database, new(placer, patient="P9^^^HOSP"))


def cancel(database: Database, placer: str, **more: str) -> tuple[str, str]:
    outcome = take(database, order("CA", patient=more.pop("patient", P), placer=placer, **more))  # type: ignore[arg-type]
    return outcome.code, " ".join(f"{one.location}:{one.code}" for one in outcome.told)


def left(database: Database) -> list[str]:
    return [patient for (patient,) in shown(database, "PatientID") if patient != "P9"]


@pytest.mark.parametrize(("first", "second"), [(NS, OID), (OID, NS)])
@pytest.mark.parametrize("name", [NS, OID, BOTH])
def test_one_exam_stays_and_is_cancelled_by_any_name(database: Database, first: str, second: str, name: str) -> None:
    send(database, new(first), new(second, start="20300116090000"))
    assert len(left(database)) == 2
    assert told(database) == "ORC^1^2:205W"
    starts = shown(database, "PatientID", "ScheduledProcedureStepSequence")
    days = [step[0]["ScheduledProcedureStepStartDate"] for patient, step in starts if patient == "P1"]
    assert days == ["20300116"]
    links = [(row["request"], row["kind"], row["other"]) for row in rows(database, "order_link")]
    assert links == [(2, "joined", 1)]
    assert "order.same-number" in [row["action"] for row in rows(database, "audit")]
    assert cancel(database, name) == ("AA", "")
    assert left(database) == []


@pytest.mark.parametrize(("first", "second"), [(NS, OID), (OID, NS)])
def test_the_cancel_itself_may_tell_it(database: Database, first: str, second: str) -> None:
    send(database, new(first), new(second))
    assert cancel(database, BOTH) == ("AA", "ORC^1^2:205")
    assert left(database) == []


def test_a_cancel_of_one_of_the_two_counts_for_the_exam(database: Database) -> None:
    send(database, new(NS), new(OID), order("CA", patient=P, placer=NS))
    told(database)
    assert left(database) == []


def test_an_order_that_came_after_the_cancel_stays(database: Database) -> None:
    send(database, new(NS), order("CA", patient=P, placer=NS), new(OID))
    told(database)
    assert left(database) == ["P1"]
    assert cancel(database, NS) == ("AA", "")
    assert left(database) == []


def test_numbers_that_only_the_other_one_has_stay_known(database: Database) -> None:
    send(database, new(NS, filler="F1^RAD"), new(OID))
    told(database)
    assert cancel(database, "", filler="F1^RAD") == ("AA", "")
    assert left(database) == []


def test_what_has_begun_stays_in_force(database: Database) -> None:
    send(database, new(NS), new(OID))

    def begin(connection: Connection) -> None:
        step = tables.scheduled_step
        connection.execute(update(step).where(step.c.id == 1).values(status="STARTED"))

    database.submit(begin).result()
    assert told(database) == "ORC^1^2:205W"
    assert [row["status"] for row in rows(database, "scheduled_step")][:2] == ["STARTED", "CANCELED"]
    code, _ = cancel(database, NS)
    assert code == "AE"  # the examination has started


@pytest.mark.parametrize(
    "other",
    [{"procedure": HEAD, "start": "20300120090000"}, {"patient": "P2^^^HOSP"}],
    ids=["another-exam", "another-patient"],
)
def test_what_is_not_one_exam_stays_two_and_each_is_cancelled(database: Database, other: dict[str, str]) -> None:
    send(database, new(NS, accession="A1"), new(OID, accession="A2", **other))
    assert told(database) == "ORC^1^2:205W"
    assert len(left(database)) == 2
    assert rows(database, "order_link") == []
    assert cancel(database, OID, patient=other.get("patient", P), accession="A2") == ("AA", "")
    assert left(database) == ["P1"]
    assert cancel(database, NS, accession="A1") == ("AA", "")
    assert left(database) == []


def test_a_patient_alone_tells_which_of_two_is_meant(database: Database) -> None:
    send(database, new(NS), new(OID, patient="P2^^^HOSP"))
    told(database)
    assert cancel(database, OID) == ("AA", "")
    assert left(database) == ["P2"]
    assert cancel(database, OID, patient="P3^^^HOSP") == ("AE", "ORC^1^2:205")


def test_a_cancel_that_may_mean_two_exams_is_refused(database: Database) -> None:
    send(database, new(NS), new(OID, procedure=HEAD, start="20300120090000"))
    told(database)
    bare = order("CA", patient=P, placer=NS).replace(b"CHEST^Chest^L", b"")
    outcome = take(database, bare)
    assert (outcome.code, [(one.location, one.code) for one in outcome.told]) == ("AE", [("ORC^1^2", "205")])
    assert len(left(database)) == 2


def test_two_fillers_of_one_placer_number(database: Database) -> None:
    send(database, new(NS, filler="F1^RAD", accession="A1"), new(NS, filler="F2^RAD", accession="A2"))
    assert cancel(database, NS) == ("AE", "ORC^1^2:205")
    assert cancel(database, NS, filler="F2^RAD") == ("AA", "")
    assert len(left(database)) == 1


@pytest.mark.parametrize(("stored", "name"), [(NS, OID), (OID, NS)])
def test_a_cancel_that_came_under_the_other_name_is_applied_once_it_is_known(
    database: Database, stored: str, name: str
) -> None:
    send(database, new(stored))
    code, findings = cancel(database, name)
    if (code, findings) != ("AA", ""):  # a namespace and an OID that are not known together may be one or two
        assert (code, findings, left(database)) == ("AA", "ORC^1^2:204", ["P1"])
        assert told(database) == "ORC^1^2:205W"
    assert left(database) == []
    assert rows(database, "tombstone") == []


def test_a_kept_cancel_of_another_patient_is_not_applied(database: Database) -> None:
    send(database, new(NS))
    assert cancel(database, OID, patient="P2^^^HOSP") == ("AA", "ORC^1^2:204")
    assert told(database) == ""
    assert left(database) == ["P1"]
    assert len(rows(database, "tombstone")) == 1


def test_a_kept_cancel_of_what_has_started_is_told(database: Database) -> None:
    send(database, new(NS))
    cancel(database, OID)

    def begin(connection: Connection) -> None:
        connection.execute(update(tables.scheduled_step).values(status="STARTED"))

    database.submit(begin).result()
    assert told(database) == "ORC^1^2:205W"
    assert rows(database, "scheduled_step")[0]["status"] == "STARTED"
