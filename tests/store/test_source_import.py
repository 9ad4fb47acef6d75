"""What other worklist servers have comes into ours: once, changed when it changes, and never against our own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from structlog.testing import capture_logs
from support.hl7.messages import group, message
from support.orders.intake import ZONE, audit, log, steps, take
from support.peers.dcmtk import wlmscpfs
from support.peers.tools import free_port
from support.worklist.sources import Server, day, item, node, worklist_server

from broker.dicom.association.user import Remote
from broker.orders.importing import adopting
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.orders import imported, sourced
from broker.worklist.source import source_import
from broker.worklist.source.account import ImportAccount
from broker.worklist.source.source_import import SourceImport
from broker.worklist.source.source_schedule import LONGEST_PAUSE, pause

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with worklist_server() as running:
        yield running


def importing(
    database: Database, port: int, *, dry: bool = False, name: str = "old", timeout: float = 20, **source: Any
) -> ImportAccount:
    """One import; what became of it."""
    known: Node = node(port, name, **source)
    remote = Remote("127.0.0.1", port, "WORKLIST", "BROKER", response_timeout=timeout)
    account = asyncio.run(SourceImport(database, known, remote, ZONE, "UNASSIGNED").run(dry=dry))
    account.counts = +account.counts
    return account


def outcomes(account: ImportAccount) -> dict[str, int]:
    return dict(account.counts)


def stored(database: Database) -> list[dict[str, object]]:
    """All steps, by their identifiers: PostgreSQL adopts several items at once."""
    return sorted(database.read(steps).result(), key=lambda step: str(step["step_id"]))


def change(one: Dataset, **step: Any) -> None:
    for keyword, value in step.items():
        setattr(one.ScheduledProcedureStepSequence[0], keyword, value)


def test_items_come_once_and_change(database: Database, server: Server) -> None:
    server.items = [item(1), item(2)]
    assert outcomes(importing(database, server.port, dry=True)) == {"created": 2}
    assert stored(database) == []
    account = importing(database, server.port)
    assert account.complete
    assert outcomes(account) == {"created": 2}
    first, second = stored(database)
    assert (first["accession"], first["step_id"], first["study_instance_uid"]) == ("W1", "S1", "2.999.1.1")
    assert first["patient_name"] == "muller^kathe"
    assert "Müller^Käthe" in str(first["answer"])
    assert first["start_at"] == f"{day(1)}103000"
    before = database.read(audit).result()

    assert outcomes(importing(database, server.port)) == {"unchanged": 2}
    change(server.items[1], ScheduledProcedureStepStartTime="113000", ScheduledStationAETitle="CT02")
    assert outcomes(importing(database, server.port)) == {"unchanged": 1, "updated": 1}
    again = stored(database)
    assert again[0] == first
    assert (again[1]["id"], again[1]["start_at"]) == (second["id"], f"{day(1)}113000")
    assert "CT02" in str(again[1]["answer"])
    assert database.read(audit).result() == [*before, "order.updated"]


@one_database
def test_steps_of_one_order_are_one_order(database: Database, server: Server) -> None:
    same = {
        "AccessionNumber": "W1",
        "StudyInstanceUID": "2.999.1.1",
        "RequestedProcedureID": "R1",
        "PatientID": "QZPAT1",
    }
    server.items = [
        item(1),
        item(2, **same),
        item(3, **{**same, "StudyInstanceUID": "2.999.1.3", "RequestedProcedureID": "R3"}),
    ]
    assert outcomes(importing(database, server.port)) == {"created": 1, "updated": 2}
    assert [step["step_id"] for step in stored(database)] == ["S1", "S2", "S3"]
    assert len({step["procedure"] for step in stored(database)}) == 2
    assert outcomes(importing(database, server.port)) == {"unchanged": 3}


@one_database
def test_without_numbers_an_item_is_known_by_its_study(database: Database, server: Server) -> None:
    server.items = [item(1, AccessionNumber=None, RequestedProcedureID=None)]
    assert outcomes(importing(database, server.port)) == {"created": 1}
    assert str(stored(database)[0]["accession"]).startswith("ACC")
    change(server.items[0], ScheduledProcedureStepDescription="Thorax mit KM")
    assert outcomes(importing(database, server.port)) == {"updated": 1}
    (step,) = stored(database)
    assert "Thorax mit KM" in str(step["answer"])


@one_database
def test_a_corrected_accession_number_reaches_the_order(database: Database, server: Server) -> None:
    server.items = [item(1), item(2)]
    assert outcomes(importing(database, server.port)) == {"created": 2}
    server.items[0].AccessionNumber = "W1CORRECT"
    assert outcomes(importing(database, server.port)) == {"unchanged": 1, "updated": 1}
    assert [step["accession"] for step in stored(database)] == ["W1CORRECT", "W2"]
    assert outcomes(importing(database, server.port)) == {"unchanged": 2}


@one_database
def test_without_a_study_it_is_known_by_its_accession_number(database: Database, server: Server) -> None:
    server.items = [item(1, StudyInstanceUID=None), item(2, StudyInstanceUID=None, AccessionNumber=None)]
    account = importing(database, server.port)
    assert outcomes(account) == {"created": 1, "refused": 1}
    assert list(account.reasons) == ["neither StudyInstanceUID nor AccessionNumber: nothing to know it by again"]
    uid = stored(database)[0]["study_instance_uid"]
    change(server.items[0], ScheduledProcedureStepStartTime="120000")
    assert outcomes(importing(database, server.port)) == {"updated": 1, "refused": 1}
    assert [step["study_instance_uid"] for step in stored(database)] == [uid]


def ordered(number: int, **root: Any) -> Dataset:
    """An item of the order that the RIS sends by `group(…, number)` for the patient QZPAT1 of SITE."""
    named = {"AccessionNumber": str(number), "PlacerOrderNumberImagingServiceRequest": str(number)}
    return item(
        number, **{**named, "PatientID": "QZPAT1", "IssuerOfPatientID": "SITE", "StudyInstanceUID": None, **root}
    )


def tell(database: Database, *groups: str) -> None:
    """The RIS sends a message."""
    outcome = take(database, message(*groups).encode())
    assert outcome.code == "AA", outcome


def test_own_orders_win(database: Database, server: Server) -> None:
    """By order number, by accession number and by study."""
    tell(database, group("NW", "1"))
    (own,) = stored(database)
    server.items = [
        ordered(1), item(2, AccessionNumber="1"), item(3, StudyInstanceUID=str(own["study_instance_uid"])),
    ]  # fmt: skip
    assert outcomes(importing(database, server.port)) == {"ours": 3}
    assert stored(database) == [own]
    assert outcomes(importing(database, server.port)) == {"unchanged": 3}


@one_database
def test_what_others_write_into_an_imported_order_stays(database: Database, server: Server) -> None:
    server.items = [ordered(1)]
    assert outcomes(importing(database, server.port)) == {"created": 1}
    tell(database, group("XO", "1", start="20300312103000"))
    (changed,) = stored(database)
    assert changed["start_at"] == "20300312103000"
    change(server.items[0], ScheduledProcedureStepStartTime="235900")
    assert outcomes(importing(database, server.port)) == {"ours": 1}
    assert stored(database) == [changed]
    server.items.clear()
    for _ in range(3):
        importing(database, server.port, missing="cancel")
    assert stored(database) == [changed]


@one_database
def test_another_server_with_the_same_items_changes_nothing(database: Database, server: Server) -> None:
    server.items = [item(1)]
    assert outcomes(importing(database, server.port)) == {"created": 1}
    before = stored(database)
    change(server.items[0], ScheduledProcedureStepStartTime="060000")
    assert outcomes(importing(database, server.port, name="other")) == {"ours": 1}
    assert stored(database) == before
    assert outcomes(importing(database, server.port)) == {"updated": 1}


def test_what_has_started_or_ended_is_not_undone(database: Database, server: Server) -> None:
    server.items = [ordered(1), ordered(2)]
    assert outcomes(importing(database, server.port)) == {"created": 2}
    tell(database, group("SC", "1", status="IP"), group("SC", "2", status="CM"))
    for one in server.items:
        change(one, ScheduledProcedureStepStartTime="120000")
    assert outcomes(importing(database, server.port)) == {"updated": 1, "ended": 1}
    assert [step["status"] for step in stored(database)] == ["STARTED", "COMPLETED"]
    server.items.clear()
    for _ in range(3):
        importing(database, server.port, missing="cancel")
    assert [step["status"] for step in stored(database)] == ["STARTED", "COMPLETED"]


@one_database
def test_vanished_items_are_kept_unless_asked_for(database: Database, server: Server) -> None:
    server.items = [item(number) for number in range(1, 4)]
    importing(database, server.port)
    del server.items[0]
    for _ in range(3):
        assert outcomes(importing(database, server.port)) == {"unchanged": 2, "missing": 1}
    assert {step["status"] for step in stored(database)} == {"SCHEDULED"}


def test_vanished_items_are_cancelled_the_second_time(database: Database, server: Server) -> None:
    server.items = [item(number) for number in range(1, 4)]
    importing(database, server.port, missing="cancel")
    gone = server.items.pop(0)
    assert outcomes(importing(database, server.port, missing="cancel")) == {"unchanged": 2, "missing": 1}
    assert {step["status"] for step in stored(database)} == {"SCHEDULED"}
    server.items.insert(0, gone)  # back again: counted anew
    assert outcomes(importing(database, server.port, missing="cancel")) == {"unchanged": 3}
    del server.items[0]
    assert outcomes(importing(database, server.port, missing="cancel")) == {"unchanged": 2, "missing": 1}
    account = importing(database, server.port, missing="cancel")
    assert outcomes(account) == {"unchanged": 2, "missing": 1, "canceled": 1}
    assert [step["status"] for step in stored(database)] == ["CANCELED", "SCHEDULED", "SCHEDULED"]
    assert log(database, int(str(stored(database)[0]["id"])))[-1].actor == "source:old"
    assert outcomes(importing(database, server.port, missing="cancel")) == {"unchanged": 2}
    server.items.insert(0, gone)  # a status does not go backwards: a person reopens it
    assert outcomes(importing(database, server.port, missing="cancel")) == {"unchanged": 2, "ended": 1}
    assert stored(database)[0]["status"] == "CANCELED"


@one_database
def test_a_moved_item_is_not_vanished(database: Database, server: Server) -> None:
    """Out of the window or of the filter: the server is asked for the item itself."""
    server.items = [item(1), item(2), item(3)]
    importing(database, server.port, missing="cancel")
    change(server.items[0], ScheduledProcedureStepStartDate=day(90))
    change(server.items[1], ScheduledStationAETitle="CT02")
    assert outcomes(importing(database, server.port, missing="cancel", stations=["CT01"])) == {
        "unchanged": 1, "missing": 2,
    }  # fmt: skip
    found = outcomes(importing(database, server.port, missing="cancel", stations=["CT01"]))
    assert found == {"unchanged": 1, "missing": 2, "moved": 2, "updated": 2}
    assert [step["status"] for step in stored(database)] == ["SCHEDULED"] * 3
    assert stored(database)[0]["start_at"] == f"{day(90)}103000"


@one_database
def test_a_server_in_trouble_cancels_nothing(database: Database, server: Server) -> None:
    server.items = [item(number) for number in range(1, 25)]
    importing(database, server.port, missing="cancel")
    everything, server.items = server.items, []
    for _ in range(3):  # it has lost its list, and says success
        account = importing(database, server.port, missing="cancel")
        assert outcomes(account) == {"missing": 24}
        assert list(account.reasons) == ["so many items are missing that none is cancelled"]
    server.items, server.final = everything[:20], 0xA700
    for _ in range(3):  # it breaks off
        account = importing(database, server.port, missing="cancel")
        assert (account.complete, account.error) == (False, "status-A700")
        assert outcomes(account) == {"unchanged": 20}
    server.items, server.final = everything, 0
    for _ in range(3):  # it has more than we take
        account = importing(database, server.port, missing="cancel", max_items=10)
        assert (account.complete, account.error) == (False, "too-many-items")
        assert outcomes(account) == {"unchanged": 10}
    assert {step["status"] for step in stored(database)} == {"SCHEDULED"}


@one_database
def test_patients_whom_others_have_told_of(database: Database, server: Server) -> None:
    tell(database, group("NW", "1"))
    here = {"PatientID": "QZPAT1", "AccessionNumber": "W9"}
    server.items = [item(1, **here, PatientName="Another^Name")]
    assert outcomes(importing(database, server.port, issuer="SITE")) == {"created": 1}
    assert {step["patient_name"] for step in stored(database)} == {"muller^kathe"}
    server.items = [item(2, **{**here, "AccessionNumber": "W8"}, PatientBirthDate="19010203")]
    account = importing(database, server.port, issuer="SITE")
    assert outcomes(account) == {"refused": 1, "missing": 1}
    assert list(account.reasons) == ["The patient of this identifier has another birth date here"]
    # without an issuer it is a patient of the other server's own
    assert outcomes(importing(database, server.port)) == {"created": 1, "missing": 1}


@one_database
def test_what_cannot_be_used_does_not_stop_the_rest(database: Database, server: Server) -> None:
    nameless = item(4, StudyInstanceUID=None, AccessionNumber=None)
    useless = [item(2, step={"Modality": None}), item(3, PatientID=None), nameless]
    server.items = [item(1), *useless, item(1), item(5)]
    with capture_logs() as logs:
        account = importing(database, server.port)
    assert outcomes(account) == {"created": 2, "refused": 3, "repeated": 1}
    assert account.complete
    told = str(logs) + str(account)
    assert not any(word in told for word in ("QZPAT", "Müller", "Käthe", "19760229"))


@one_database
@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
def test_a_server_that_names_no_character_set(database: Database, server: Server, charset: str) -> None:
    bare = item(1, SpecificCharacterSet=None, PatientName=None)
    bare.add_new("PatientName", "PN", "Müller^Käthe".encode({"ISO_IR 100": "latin_1", "ISO_IR 192": "utf_8"}[charset]))
    server.items = [bare]
    assert outcomes(importing(database, server.port, charset=charset)) == {"created": 1}
    assert "Müller^Käthe" in str(stored(database)[0]["answer"])


@one_database
def test_windows_filters_and_names(database: Database, server: Server) -> None:
    server.items = [item(1, ahead=0), item(2, ahead=9), item(3, ahead=-2), item(4, step={"Modality": "MR"})]
    account = importing(database, server.port, days_back=0, days_ahead=3, stations=["CT01", "CT02"], modalities=["CT"])
    assert outcomes(account) == {"created": 1}
    asked = [one.ScheduledProcedureStepSequence[0] for one in server.queries]
    assert [one.ScheduledStationAETitle for one in asked] == ["CT01", "CT02"]
    assert {one.Modality for one in asked} == {"CT"}
    assert {one.ScheduledProcedureStepStartDate for one in asked} == {f"{day()}-{day(3)}"}
    assert "PatientBirthDate" in server.queries[0]
    assert server.callers[0] == "BROKER"


@one_database
def test_bounded_in_time(database: Database, server: Server) -> None:
    server.items, server.hang = [item(1)], threading.Event()
    account = importing(database, server.port, deadline=0.5)
    assert (account.complete, account.error, outcomes(account)) == (False, "deadline", {})
    account = importing(database, server.port, timeout=0.3)
    assert not account.complete
    assert account.error


@one_database
def test_servers_that_are_none(database: Database) -> None:
    assert importing(database, free_port()).error == "connect-failed"

    def verification(entity: AE) -> None:
        entity.add_supported_context("1.2.840.10008.1.1")

    with worklist_server(contexts=verification) as other:
        assert importing(database, other.port).error
    assert stored(database) == []


@one_database
def test_old_items_are_forgotten(database: Database, server: Server) -> None:
    server.items = [item(1, ahead=0), item(2, ahead=3)]
    importing(database, server.port)
    assert database.submit(sourced.forget, "old", f"{day(1)}000000").result() == 1
    assert list(database.read(sourced.of_node, "old").result()) == ["study|2.999.1.2|S2"]
    assert database.submit(sourced.forget, "other", "29990101000000").result() == 0


@one_database
def test_chunks(database: Database, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_import, "CHUNK", 3)
    server.items = [item(number) for number in range(1, 8)]
    assert outcomes(importing(database, server.port)) == {"created": 7}


@one_database
def test_dcmtk(database: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    with wlmscpfs(tmp_path_factory.mktemp("wl"), item(1), item(2, step={"Modality": "MR"})) as port:
        account = importing(database, port, modalities=["CT"])
        assert (account.complete, outcomes(account)) == (True, {"created": 1})
        account = importing(database, port)
        assert (account.complete, outcomes(account)) == (True, {"created": 1, "unchanged": 1})
    assert [step["modality"] for step in stored(database)] == ["CT", "MR"]
    assert all("Müller^Käthe" in str(step["answer"]) for step in stored(database))


def test_pauses_grow_to_an_hour() -> None:
    assert [pause(300, n) for n in range(4)] == [300, 600, 1200, 2400]
    assert pause(300, 99) == LONGEST_PAUSE
    assert pause(7200, 5) == 7200


@one_database
def test_an_item_that_trips_us_does_not_stop_the_rest(
    database: Database, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt = adopting.adopt

    def tripping(connection: Any, node: str, one: Any, context: Any, **more: Any) -> Any:
        if one.step_id == "S2":
            raise ValueError("Müller")
        return adopt(connection, node, one, context, **more)

    monkeypatch.setattr(adopting, "adopt", tripping)
    server.items = [item(1), item(2), item(3)]
    with capture_logs() as logs:
        account = importing(database, server.port)
    assert outcomes(account) == {"created": 2, "refused": 1}
    assert "source.item_failed" in str(logs)
    assert "Müller" not in str(logs)


@one_database
def test_items_without_step_identifiers_of_an_earlier_version(database: Database, server: Server) -> None:
    """Their keys had neither stations nor start; they are the same items under a new key."""
    server.items = [item(1, step={"ScheduledProcedureStepID": None})]
    assert outcomes(importing(database, server.port)) == {"created": 1}
    before = stored(database)

    def as_before(connection: Any) -> None:
        ((key, known),) = sourced.of_node(connection, "old").items()
        sourced.rename(connection, "old", key, "study|2.999.1.1|")
        sourced.save(connection, "old", replace(known, key="study|2.999.1.1|", step_id="", digest=b"earlier"), 1.0)

    database.submit(as_before).result()
    assert outcomes(importing(database, server.port)) == {"unchanged": 1}
    assert stored(database) == before
    (key,) = database.read(sourced.of_node, "old").result()
    assert key == f"study|2.999.1.1|\\CT01\\{day(1)}103000"
    change(server.items[0], ScheduledProcedureStepStartTime="143000")
    assert outcomes(importing(database, server.port, missing="cancel")) == {"updated": 1}
    assert [(step["step_id"], step["start_at"]) for step in stored(database)] == [
        (before[0]["step_id"], f"{day(1)}143000")
    ]


@one_database
def test_one_of_two_steps_without_identifiers_moves(database: Database, server: Server) -> None:
    same = {
        "AccessionNumber": "W1",
        "StudyInstanceUID": "2.999.1.1",
        "RequestedProcedureID": "R1",
        "PatientID": "QZPAT1",
    }
    nameless = {"ScheduledProcedureStepID": None}
    server.items = [
        item(1, **same, step=nameless), item(2, **same, step={**nameless, "ScheduledStationAETitle": "CT02"})
    ]  # fmt: skip
    assert outcomes(importing(database, server.port)) == {"created": 1, "updated": 1}
    change(server.items[1], ScheduledProcedureStepStartTime="150000")
    assert outcomes(importing(database, server.port)) == {"unchanged": 1, "updated": 1}
    found = {(*_stations(step), str(step["start_at"])[8:]) for step in stored(database)}
    assert found == {("CT01", "103000"), ("CT02", "150000")}
    change(server.items[1], ScheduledProcedureStepStatus="CANCELED")
    assert outcomes(importing(database, server.port)) == {"unchanged": 1, "canceled": 1}
    assert {(*_stations(step), step["status"]) for step in stored(database)} == {
        ("CT01", "SCHEDULED"), ("CT02", "CANCELED"),
    }  # fmt: skip


def _stations(step: dict[str, object]) -> list[str]:
    answer = json.loads(str(step["answer"]))
    return list(answer["ScheduledProcedureStepSequence"][0]["ScheduledStationAETitle"])


def test_the_status_of_a_server_is_not_that_of_a_ris(database: Database, server: Server) -> None:
    tell(database, group("NW", "1"))
    own = stored(database)
    server.items = [ordered(1, step={"ScheduledProcedureStepStatus": "CANCELED"})]
    assert outcomes(importing(database, server.port)) == {"skipped": 1}
    assert stored(database) == own


def test_what_needs_a_look_is_named_and_kept(database: Database, server: Server) -> None:
    bad = item(2, PatientSex="U", step={"ScheduledProcedureStepDescription": "Thorax"})
    ended = item(3, step={"ScheduledProcedureStepStatus": "COMPLETED"})
    nameless = item(4, PatientID=None)
    server.items = [item(1), bad, ended, nameless]
    account = importing(database, server.port)
    assert outcomes(account) == {"created": 2, "skipped": 1, "refused": 1}
    expected = [("W2", "taken"), ("W3", "skipped"), ("W4", "refused")]
    assert sorted((note.accession, note.outcome) for note in account.named) == expected
    kept = database.read(imported.find, "old").result()
    assert sorted((note.accession, note.outcome) for note in kept) == expected
    assert "QZPAT" not in str(kept)
    bad.PatientSex = "F"
    assert outcomes(importing(database, server.port)) == {"unchanged": 1, "updated": 1, "skipped": 1, "refused": 1}
    assert sorted(note.accession for note in database.read(imported.find, "old").result()) == ["W3", "W4"]
