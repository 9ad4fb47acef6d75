"""Who ordered is told by the numbers that it knows, whatever the broker made of them. On both databases."""

from __future__ import annotations

import pytest
from support.orders.caller import Caller
from support.orders.intake import ZONE, take

from broker.delivery.feedback.outbound import SendingParty, build
from broker.orders.core.identifiers import short_form
from broker.orders.direct import placing
from broker.orders.documents import outline
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.mapping.profile import Profile
from broker.orders.telling.feedback import Notice, OrderEvent
from broker.settings import Settings
from broker.site.nodes import Node, parse_nodes
from broker.store.db.database import Database
from broker.store.orders import reading

NUMBER, PROCEDURE, PATIENT = "P" * 70, "RP-2026-0001-000234-01", "4711" * 20
SHORT = '[reading]\nlong_identifiers = "short"\n'
MAPPED = '[request]\nPlacerOrderNumberImagingServiceRequest = ["OBR-18.1"]\n'
TABLE = '[values.PlacerOrderNumberImagingServiceRequest]\nOLD = "NEW"\n'


def site(text: str) -> Profile:
    return ProfileBook({"x": read(f'name = "x"\nextends = "ihe"\n{text}', "test")}).named("x")


def order(
    placer: str,
    *,
    control: str = "NW",
    procedure: str = "RP1",
    patient: str = "4711",
    obr_18: str = "",
    number: int = 1,
) -> bytes:
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|2026031208000{number}||ORM^O01|{control}{number}|P|2.5",
        f"PID|||{patient}^^^SITE||ROE^RICHARD",
        f"ORC|{control}|{placer}|||||^^^20260312100000",
        f"OBR|1|{placer}||CHEST^Chest||||||||||||||{obr_18}|{procedure}|||||CT",
    ]
    return "".join(line + "\r" for line in lines).encode()


def node(message: str = "ORM^O01", version: str = "2.5.1") -> Node:
    feedback = {"message": message, "version": version}
    (made,) = parse_nodes(
        [
            {
                "name": "ris",
                "kind": "hl7",
                "application": "RIS",
                "host": "h",
                "port": 1,
                "roles": ["ris"],
                "feedback": feedback,
            }
        ]
    )
    return made


def feedback(database: Database, message: str = "ORM^O01", row: int = 1) -> dict[str, list[str]]:
    """The last segment of each name of the message about an order, as fields."""
    stored = database.read(reading.load_order, row).result()
    notice = Notice(order=row, event=OrderEvent.STARTED, status="IP", result="I", control_id="C", at=1.0)
    raw = build(stored, notice, node(message), SendingParty("BROKER", "RAD"), ZONE).decode()
    return {line[:3]: line.split("|") for line in raw.split("\r") if line}


@pytest.mark.parametrize(
    ("profile", "sent", "more", "known"),
    [
        (SHORT, f"{NUMBER}^RIS", "", short_form(NUMBER, 64)),
        (MAPPED, "17^RIS^2.999.9^ISO", "A77", "A77"),
        (TABLE, "OLD^RIS", "", "NEW"),
        (SHORT + MAPPED, f"{NUMBER}^RIS", "B" * 70, short_form("B" * 70, 64)),
    ],
    ids=["short-form", "other-field", "value-table", "short-form-of-other-field"],
)
def test_feedback_and_reply_carry_the_number_that_the_ris_sent(
    database: Database, profile: str, sent: str, more: str, known: str
) -> None:
    outcome = take(database, order(sent, obr_18=more), site(profile), order_answers=True)
    assert outcome.code == "AA"
    assert database.read(reading.load_order, 1).result().placer.number == known
    reply = {line[:3]: line.split("|") for line in outcome.answer.decode().split("\r") if line}
    assert (reply["ORC"][2], reply["OBR"][2]) == (sent, sent)
    for message in ("ORM^O01", "OMI^O23", "ORU^R01"):
        told = feedback(database, message)
        assert (told["ORC"][2], told["OBR"][2]) == (sent, sent), message


def test_other_identifiers_go_out_in_their_long_form(database: Database) -> None:
    accession = "ACCESSION-2026-00001"
    message = order("P1", procedure=PROCEDURE, patient=PATIENT, obr_18=accession)
    reply = take(database, message, site(SHORT), order_answers=True).answer.decode()
    told = feedback(database)
    assert told["PID"][3].split("^")[0] == PATIENT
    assert told["OBR"][18:20] == [accession, PROCEDURE]
    assert f"|{PATIENT}^" in reply
    assert f"|{accession}|{PROCEDURE}|" in reply
    assert "".join(feedback(database, "OMI^O23")["IPC"][1:3]) == accession + PROCEDURE


def test_a_later_message_says_anew_what_the_number_is(database: Database) -> None:
    take(database, order("17^RIS", obr_18="A77"), site(MAPPED))
    take(database, order("18^RIS", control="XO", obr_18="A77", number=2), site(MAPPED))
    assert feedback(database)["ORC"][2] == "18^RIS"
    take(database, order("A77^RIS", control="XO", obr_18="A77", number=3), site(MAPPED))
    assert feedback(database)["ORC"][2] == "A77^RIS"
    assert not any(name.startswith("Sent") for name in database.read(reading.load_order, 1).result().attributes)


def test_without_a_number_in_its_field_the_mapped_one_is_told(database: Database) -> None:
    take(database, order("", obr_18="A77"), site(MAPPED))
    assert feedback(database)["ORC"][2].split("^")[0] == "A77"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PlacerOrderNumberImagingServiceRequest", NUMBER),
        ("RequestedProcedureID", PROCEDURE),
        ("PatientID", PATIENT),
        ("AccessionNumber", "ACCESSION-2026-00001"),
    ],
)
def test_search_finds_an_order_by_the_long_form(database: Database, keyword: str, value: str) -> None:
    message = order(NUMBER, procedure=PROCEDURE, patient=PATIENT, obr_18="ACCESSION-2026-00001")
    take(database, message, site(SHORT))
    found = database.read(placing.search, {keyword: value}, 0, 10).result()
    assert [document["id"] for document in found] == [1]
    assert database.read(placing.search, {keyword: value + "X"}, 0, 10).result() == []


def test_a_document_that_is_given_back_keeps_the_long_forms(database: Database) -> None:
    take(database, order(f"{NUMBER}^RIS", procedure=PROCEDURE), site(SHORT))
    caller = Caller(database, Settings())
    body = outline.document(database.read(reading.load_order, 1).result())
    given = {name: part for name, part in body.items() if name not in ("id", "revision")}
    assert given["request"]["SentPlacerOrderNumberImagingServiceRequest"] == [NUMBER, "RIS"]
    for procedure in given["procedures"]:
        procedure["RequestedProcedureDescription"] = "Other"
    change = placing.usable(caller.convert(given))
    assert caller.amend(1, change, body["revision"], "api").result().action == "updated"
    told = feedback(database)
    assert (told["ORC"][2], told["OBR"][19]) == (f"{NUMBER}^RIS", PROCEDURE)
