"""What performed procedure steps make of orders, on both databases: the cases of IHE, one by one."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sqlalchemy import Connection, func, select, text
from support.dicom.objects import Encoded, ct_slice
from support.mpps.performed import SERIES, bytes_of, creation, final, item, series, unscheduled
from support.orders.intake import received
from support.service.site import order
from support.worklist.worklist import IMPLICIT

from broker.dicom.dimse.message import PeerAE
from broker.model.lane import JobState
from broker.model.performed import MessageKind, PerformedMessage, PerformedStep
from broker.mpps import checks, deciding, overdue, recording
from broker.mpps.checks import MppsAnswer
from broker.mpps.dataset import decode
from broker.orders.core.context import StoryContext
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.stories import ending, intake
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.site.nodes import parse_nodes
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images.spool import Spool
from broker.store.mpps import objects, performed_steps
from broker.store.schema import tables

ZONE = ZoneInfo("Europe/Zurich")
NOW = datetime(2030, 3, 12, 11, tzinfo=ZONE)
START, END = (datetime(2030, 3, 12, 10, minute, tzinfo=ZONE).timestamp() for minute in (35, 50))
RIS, OTHER = parse_nodes(
    [
        {
            "name": "ris", "kind": "hl7", "application": "RIS", "host": "h", "port": 1, "roles": ["ris"],
            "feedback": {
                "events": ["started", "partial", "completed", "discontinued", "cancelled", "reopened"], "echo": True
            },
        },
        {"name": "manager", "kind": "dicom", "ae_title": "MANAGER", "host": "h", "port": 104, "roles": ["mpps"]},
    ]
)  # fmt: skip


class House:
    """Orders and a modality that performs."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.subscribers = (RIS,)

    def context(self) -> StoryContext:
        return StoryContext(uuid4(), self.now, "UNASSIGNED", "dicom:CT01", subscribers=self.subscribers)

    def order(self, *numbers: int, change: Callable[[str], str] = str, **more: Any) -> None:
        for number in numbers:
            raw = change(order(number, **more)).encode()
            examined = reception.examine(raw, Interface(name="test"), lambda _: built_in(), ZONE)
            assert examined is not None
            header = examined.header
            done = self.database.submit(intake.take, received(raw, header), header, examined.conversion, self.context())
            assert done.result(20).code == "AA"

    def message(self, kind: str, values: dict[str, Any], calling: str) -> PerformedMessage:
        data = bytes_of(values)
        return PerformedMessage(
            at=self.now.timestamp(), kind=MessageKind(kind), calling_ae=calling, transfer_syntax_uid=IMPLICIT,
            data=data, digest=hashlib.sha256(data).digest(),
        )  # fmt: skip

    def create(
        self, uid: str, *items: dict[str, Any], calling: str = "CT01", strict: bool = False, first: bool = False,
        **more: Any,
    ) -> MppsAnswer:  # fmt: skip
        values = creation(*items, **more)
        message = self.message("create", values, calling)
        found = decode(message.data, IMPLICIT)
        answer = checks.created(found, strict=strict, first_completed=first)
        done = self.database.submit(recording.create, uid, message, found, answer, self.context(), [OTHER])
        return done.result(20).answer

    def change(
        self, uid: str, values: dict[str, Any], *, calling: str = "CT01", strict: bool = False,
        lanes: Sequence[str] = (),
    ) -> MppsAnswer:  # fmt: skip
        message = self.message("set", values, calling)
        found = decode(message.data, IMPLICIT)
        done = self.database.submit(
            recording.change, uid, message, found, self.context(), [OTHER], strict=strict, lanes=lanes
        )
        return done.result(20).answer

    def statuses(self) -> list[str]:
        query = select(tables.scheduled_step.c.status).order_by(tables.scheduled_step.c.id)
        return list(self.database.read(lambda c: list(c.execute(query).scalars())).result(20))

    def shown(self) -> list[str]:
        """Statuses as the worklist answers have them."""

        def query(connection: Connection) -> list[str]:
            found = connection.execute(select(tables.scheduled_step.c.answer).order_by(tables.scheduled_step.c.id))
            return [
                json.loads(one)["ScheduledProcedureStepSequence"][0]["ScheduledProcedureStepStatus"]
                for one in found.scalars()
            ]

        return self.database.read(query).result(20)

    def one(self, uid: str) -> PerformedStep:
        found = self.database.read(performed_steps.find, uid).result(20)
        assert found is not None
        return found

    def links(self, uid: str) -> list[tuple[int | None, str]]:
        found = self.database.read(performed_steps.links, self.one(uid).row).result(20)
        return [(link.step, link.reason) for link in found]

    def told(self) -> list[str]:
        """What the RIS is told, oldest first, by order."""
        return [f"{d['order']} {d['event']} {d['status']}" for d in self.details("feedback:ris")]

    def details(self, lane: str) -> list[dict[str, Any]]:
        query = select(tables.job.c.detail).where(tables.job.c.lane == lane).order_by(tables.job.c.id)
        return [json.loads(one) for one in self.database.read(lambda c: list(c.execute(query).scalars())).result(20)]

    def causes(self, step: int = 1) -> list[str]:
        query = select(tables.step_event.c.cause).where(tables.step_event.c.step == step).order_by("id")
        return list(self.database.read(lambda c: list(c.execute(query).scalars())).result(20))

    def count(self, table: Any) -> int:
        query = select(func.count()).select_from(table)
        return int(self.database.read(lambda c: c.execute(query).scalar_one()).result(20))

    def decide(self, what: Callable[..., None], *args: Any) -> None:
        self.database.submit(what, *args, replace(self.context(), actor="api:anna")).result(20)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database of each kind for all tests: making one takes longer than most of them."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path_factory.mktemp('mpps') / 'broker.db'}")
    else:
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE mpps")
        opened = Database(server.get_uri(database="mpps").replace("postgresql://", "postgresql+psycopg://", 1))
    yield opened
    opened.close()


@pytest.fixture
def house(shared: Database) -> House:
    """An empty one."""

    def empty(connection: Connection) -> None:
        names = [table.name for table in tables.METADATA.sorted_tables if table.name != "alembic_version"]
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
            return
        for name in reversed(names):
            connection.execute(text(f"DELETE FROM {name}"))

    shared.submit(empty).result(20)
    return House(shared)


def two_steps(message: str) -> str:
    ipc = next(line for line in message.split("\r") if line.startswith("IPC"))
    return message + ipc.replace("SPS1", "SPS1B") + "\r"


def test_scheduled(house: House) -> None:
    house.order(1)
    assert house.create("1.2.1") == MppsAnswer()
    assert (house.statuses(), house.shown()) == (["STARTED"], ["STARTED"])
    one = house.one("1.2.1")
    assert (one.status, one.linking, one.attention, one.started_at, one.ended_at) == (
        "IN PROGRESS", "linked", "", START, None,
    )  # fmt: skip
    assert house.links("1.2.1") == [(1, "step+study")]
    assert house.change("1.2.1", final()) == MppsAnswer()
    assert (house.statuses(), house.shown()) == (["COMPLETED"], ["COMPLETED"])
    assert house.one("1.2.1").ended_at == END
    assert house.told() == ["1 started IP", "1 completed CM"]
    assert house.causes() == ["order:NW", "mpps:created", "mpps:completed"]
    first, last = house.details("feedback:ris")
    assert (first["began"], first["ended"]) == (START, None)
    assert (last["began"], last["ended"]) == (START, END)


def test_messages_are_queued_for_those_they_are_passed_on_to(house: House) -> None:
    house.create("1.2.1")
    house.create("1.2.1")
    house.change("1.2.1", {"PerformedProcedureStepDescription": "Thorax"})
    house.change("1.2.1", final())
    house.change("1.2.1", final("DISCONTINUED"))
    claimed = house.database.submit(jobs.claim, "mpps:manager", "h:1", NOW.timestamp() + 1, 60.0, 64).result(20)
    assert [(job.kind, job.subject) for job in claimed] == [("mpps", 1)]  # one after the other
    assert house.count(tables.job) == 3
    assert house.count(tables.mpps_message) == 3


def test_two_steps_of_one_procedure_are_complete_when_both_are(house: House) -> None:
    house.order(1, change=two_steps)
    house.create("1.2.1", item(1))
    house.change("1.2.1", final())
    assert house.statuses() == ["COMPLETED", "SCHEDULED"]
    house.create("1.2.2", item(1, ScheduledProcedureStepID="SPS1B"))
    house.change("1.2.2", final())
    assert house.statuses() == ["COMPLETED", "COMPLETED"]
    assert house.told() == ["1 started IP", "1 partial A", "1 started IP", "1 completed CM"]


def test_group(house: House) -> None:
    house.order(1, patient="QZPAT")
    house.order(2, change=lambda one: one.replace("QZPAT2", "QZPAT1"))
    one, other = (item(n, StudyInstanceUID="2.999.8.7") for n in (1, 2))
    house.create("1.2.1", one, other)
    assert house.links("1.2.1") == [(1, "step+accession"), (2, "step+accession")]
    assert house.statuses() == ["STARTED", "STARTED"]
    house.change("1.2.1", final())
    assert house.statuses() == ["COMPLETED", "COMPLETED"]
    assert house.told() == ["1 started IP", "2 started IP", "1 completed CM", "2 completed CM"]


def test_a_group_with_an_item_of_nobody_keeps_both_facts(house: House) -> None:
    house.order(1)
    house.create("1.2.1", item(1), item(9))
    assert house.links("1.2.1") == [(1, "step+study"), (None, "unknown")]
    assert (house.one("1.2.1").linking, house.one("1.2.1").attention) == ("partly", "partly")
    assert house.statuses() == ["STARTED"]


def test_append(house: House) -> None:
    house.order(1)
    for uid in ("1.2.1", "1.2.2"):
        assert house.create(uid) == MppsAnswer()
        assert house.statuses() == ["STARTED"]
        assert house.change(uid, final()) == MppsAnswer()
        assert house.statuses() == ["COMPLETED"]
    assert house.shown() == ["COMPLETED"]
    assert house.told() == ["1 started IP", "1 completed CM"] * 2
    assert house.one("1.2.2").attention == ""


def test_an_append_that_is_abandoned_leaves_the_step_done(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.change("1.2.1", final())
    house.create("1.2.2")
    house.change("1.2.2", final("DISCONTINUED", images=()))
    assert house.statuses() == ["COMPLETED"]


def test_a_late_message_begins_nothing_that_the_ris_has_ended(house: House) -> None:
    house.order(1)
    house.order(1, control="SC", status="CM")
    house.create("1.2.1")
    assert house.statuses() == ["COMPLETED"]
    assert (house.one("1.2.1").linking, house.one("1.2.1").attention) == ("linked", "step-ended")


def test_what_is_performed_of_a_cancelled_order_is_for_a_person(house: House) -> None:
    house.order(1)
    house.order(1, control="CA", status="CA")
    house.create("1.2.1")
    house.change("1.2.1", final())
    assert house.statuses() == ["CANCELED"]
    assert house.one("1.2.1").attention == "step-canceled"
    house.decide(deciding.set_aside, 1, "the radiologist knows")
    assert (house.one("1.2.1").linking, house.one("1.2.1").attention) == ("linked", "")


def test_unscheduled(house: House) -> None:
    house.order(1)
    assert house.create("1.2.1", unscheduled(), patient="") == MppsAnswer()
    one = house.one("1.2.1")
    assert (one.linking, one.attention, house.links("1.2.1")) == ("unscheduled", "unscheduled", [(None, "unknown")])
    house.change("1.2.1", final())
    assert (house.statuses(), house.told()) == (["SCHEDULED"], [])


@pytest.mark.parametrize(("ended", "status", "told"), [
    (False, "STARTED", ["1 started IP"]), (True, "COMPLETED", ["1 completed CM"]),
])  # fmt: skip
def test_an_order_that_comes_later(house: House, ended: bool, status: str, told: list[str]) -> None:
    house.create("1.2.1", unscheduled("2.999.7.1"))
    if ended:
        house.change("1.2.1", final())
    house.order(2)
    assert house.links("1.2.1") == [(None, "unknown")]
    house.order(1)
    assert house.links("1.2.1") == [(2, "late:study")]
    assert house.statuses() == ["SCHEDULED", status]
    one = house.one("1.2.1")
    assert (one.linking, one.attention) == ("linked", "")
    assert [one.replace("2 ", "1 ", 1) for one in house.told()] == told
    if not ended:
        house.change("1.2.1", final())
        assert house.statuses() == ["SCHEDULED", "COMPLETED"]


@pytest.mark.parametrize("keys", [{"AccessionNumber": "RP1"}, {"RequestedProcedureID": "A1"}])
def test_an_order_that_comes_later_for_a_device_that_mixes_its_numbers_up(house: House, keys: dict[str, str]) -> None:
    house.create("1.2.1", unscheduled(ScheduledProcedureStepID="SPS1", **keys))
    house.order(1)
    assert (house.links("1.2.1"), house.statuses()) == ([(1, "late:step+swapped")], ["STARTED"])


def test_the_ris_whose_order_comes_later_is_told_what_the_modality_did(house: House) -> None:
    assert RIS.feedback is not None
    house.subscribers = (replace(RIS, feedback=RIS.feedback.model_copy(update={"echo": False})),)
    house.create("1.2.1", unscheduled("2.999.7.1"))
    house.change("1.2.1", final())
    house.order(1)
    assert house.told() == ["1 completed CM"]


def test_an_order_of_another_patient_that_comes_later_is_not_linked(house: House) -> None:
    house.create("1.2.1", unscheduled("2.999.7.1"), patient="SOMEBODY")
    house.order(1)
    assert (house.links("1.2.1"), house.statuses()) == ([(None, "unknown")], ["SCHEDULED"])


def test_another_patient_links_nothing(house: House) -> None:
    house.order(1)
    house.create("1.2.1", patient="SOMEBODY")
    one = house.one("1.2.1")
    assert (one.linking, one.attention, house.links("1.2.1")) == ("mismatch", "mismatch", [(None, "mismatch")])
    assert house.statuses() == ["SCHEDULED"]
    house.decide(deciding.link, 1, 1, None)
    assert (house.statuses(), house.one("1.2.1").linking) == (["STARTED"], "linked")
    with pytest.raises(deciding.Undecided):
        house.decide(deciding.link, 1, 1, None)


def test_another_person_under_the_right_identifier_waits_for_a_person(house: House) -> None:
    house.order(1)
    house.create("2.999.1", PatientName="QUITE^OTHER", PatientBirthDate="20010101", PatientSex="M")
    made = house.one("2.999.1")
    assert (made.linking, made.findings, made.attention) == ("linked", ("other-person",), "other-person")
    assert house.statuses() == ["STARTED"]
    house.decide(deciding.set_aside, made.row, "seen")
    assert (house.one("2.999.1").linking, house.one("2.999.1").attention) == ("linked", "")


@pytest.mark.parametrize("said", [{"PatientName": "MULLER^K"}, {"PatientName": "Other^Käthe"}, {"PatientSex": ""}])
def test_small_differences_of_a_person_are_none(house: House, said: dict[str, str]) -> None:
    house.order(1)
    house.create("2.999.1", **said)
    assert (house.one("2.999.1").findings, house.one("2.999.1").attention) == ((), "")


def test_another_study_than_that_of_the_order_is_a_finding(house: House) -> None:
    house.order(1)
    house.create("2.999.1", item(1, StudyInstanceUID="2.999.555"))
    made = house.one("2.999.1")
    assert (made.linking, made.findings, made.attention) == ("linked", ("other-study",), "")


def test_an_order_that_comes_later_shows_another_person_and_study(house: House) -> None:
    other = item(1, StudyInstanceUID="2.999.555")
    house.create("2.999.1", other, PatientName="QUITE^OTHER", PatientBirthDate="20010101")
    house.order(1)
    made = house.one("2.999.1")
    assert (made.linking, made.findings) == ("linked", ("other-person", "other-study"))
    assert made.attention == "other-person"


def test_a_link_settles_no_other_reason_to_look(house: House) -> None:
    house.order(1)
    house.create("1.2.1", patient="SOMEBODY")
    house.change("1.2.1", final("DISCONTINUED", reason="110514", images=("2.999.9.1.1",)))
    assert house.one("1.2.1").attention == "wrong-entry"
    house.decide(deciding.link, 1, 1, None)
    one = house.one("1.2.1")
    assert (one.linking, one.attention, house.statuses()) == ("linked", "wrong-entry", ["SCHEDULED"])
    house.decide(deciding.set_aside, 1, "the images were discarded")
    assert house.one("1.2.1").attention == ""


def test_keys_that_fit_several_steps_are_for_a_person(house: House) -> None:
    house.order(1, change=two_steps)
    house.create("1.2.1", unscheduled("2.999.7.1"))
    assert (house.one("1.2.1").attention, house.statuses()) == ("ambiguous", ["SCHEDULED", "SCHEDULED"])
    house.change("1.2.1", final())
    house.decide(deciding.link, 1, 2, 0)
    assert house.statuses() == ["SCHEDULED", "COMPLETED"]


def test_abandoned(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.change("1.2.1", final("DISCONTINUED", images=()))
    assert (house.statuses(), house.shown()) == (["SCHEDULED"], ["SCHEDULED"])
    assert house.told() == ["1 started IP", "1 reopened SC"]
    house.create("1.2.2")
    assert house.statuses() == ["STARTED"]


DISCONTINUED = [
    ("110501", ("2.999.9.1.1",), "SCHEDULED", ""), ("110515", (), "SCHEDULED", ""), ("110516", (), "SCHEDULED", ""),
    ("110514", ("2.999.9.1.1",), "SCHEDULED", "wrong-entry"), ("110514", (), "SCHEDULED", ""),
    ("110500", (), "CANCELED", ""), ("110502", (), "CANCELED", ""), ("110510", (), "CANCELED", ""),
    ("110512", ("2.999.9.1.1",), "CANCELED", ""),
    ("110505", (), "DISCONTINUED", "discontinued"), ("", ("2.999.9.1.1",), "DISCONTINUED", "discontinued"),
]  # fmt: skip


def test_discontinued(house: House) -> None:
    for number, (reason, images, status, attention) in enumerate(DISCONTINUED, 1):
        house.order(number)
        house.create(f"1.2.{number}", item(number), patient=f"QZPAT{number}")
        house.change(f"1.2.{number}", final("DISCONTINUED", reason=reason, images=images))
        assert house.one(f"1.2.{number}").attention == attention
        assert house.statuses()[-1] == status, reason
    assert house.shown() == house.statuses()


def test_images_of_a_wrong_entry_that_have_not_left_or_come_later_are_held(house: House, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    rules = parse_rules({"default": {"action": "send", "send": ["pacs", "cad"]}}, {"pacs", "cad"}, 1)
    door = Reception(house.database, spool, lambda: rules, ZONE, lambda: None)
    wrong, right, late = ct_slice(64), ct_slice(64), ct_slice(64)

    def arrive(one: Encoded) -> str:
        peer = PeerAE("CT01", "BROKER", "10.0.0.9")
        return door.whole(IncomingObject(one.sop_class, one.sop_instance, one.transfer_syntax, peer), one.data)

    assert [arrive(wrong), arrive(right)] == ["new", "new"]
    begun = house.database.submit(jobs.claim, "deliver:cad", "h:1", NOW.timestamp() * 2, 60.0, 64).result(20)
    assert len(begun) == 2
    house.order(1)
    house.create("1.2.1")
    values = final("DISCONTINUED", reason="110514", images=(wrong.sop_instance, late.sop_instance))
    assert house.change("1.2.1", values, lanes=("deliver:pacs", "deliver:cad")) == MppsAnswer()
    (held,) = house.database.read(held_jobs.find, HeldFilter(), 0, 100).result(20)
    assert (held.lane, held.subject, held.error) == ("deliver:pacs", 1, "wrong-entry")
    assert arrive(late) == "new"
    later = [
        (one.lane, one.subject, one.error)
        for one in house.database.read(held_jobs.find, HeldFilter(), 0, 100).result(20)
        if one != held
    ]
    assert sorted(later) == [("deliver:cad", 3, "wrong-entry"), ("deliver:pacs", 3, "wrong-entry")]
    assert house.database.submit(jobs.end_hold, held.id, JobState.READY, NOW.timestamp()).result(20)
    assert [arrive(wrong), arrive(late)] == ["duplicate", "duplicate"]  # what a person has released stays so
    assert held.id not in {one.id for one in house.database.read(held_jobs.find, HeldFilter(), 0, 100).result(20)}
    spool.close()


def test_one_acquisition_for_several_procedures(house: House) -> None:
    """Split: the same series in several performed steps."""
    house.order(1, change=two_steps)
    house.create("1.2.1", item(1))
    house.create("1.2.2", item(1, ScheduledProcedureStepID="SPS1B"))
    for uid in ("1.2.1", "1.2.2"):
        assert house.change(uid, final()) == MppsAnswer()
    assert house.statuses() == ["COMPLETED", "COMPLETED"]


def test_two_performed_steps_of_one_scheduled_one(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.create("1.2.2")
    house.change("1.2.1", final())
    assert house.statuses() == ["STARTED"]
    house.change("1.2.2", final())
    assert house.statuses() == ["COMPLETED"]


def test_a_repeat_has_no_second_effect(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.now += timedelta(minutes=5)
    assert house.create("1.2.1") == MppsAnswer(findings=("repeated",))
    house.change("1.2.1", final())
    assert house.change("1.2.1", final()) == MppsAnswer(findings=("repeated",))
    assert house.told() == ["1 started IP", "1 completed CM"]
    assert house.one("1.2.1").revision == 2
    for step in (timedelta(days=365), timedelta(days=-730)):  # an outage, or a clock that was set
        house.now += step
        assert house.create("1.2.1") == MppsAnswer(findings=("repeated",))
        assert house.change("1.2.1", final()) == MppsAnswer(findings=("repeated",))
    assert house.change("1.2.1", final("DISCONTINUED")).status == 0x0110


def test_the_same_instance_of_another(house: House) -> None:
    house.create("1.2.1")
    assert house.create("1.2.1", calling="CT02").findings == ("duplicate-of-other-ae",)
    assert house.create("1.2.1", Modality="MR").findings == ("duplicate",)
    assert house.one("1.2.1").modality == "CT"


def test_intermediate_messages_replace_sequences_whole(house: House) -> None:
    house.create("1.2.1")
    house.change("1.2.1", {"PerformedSeriesSequence": final()["PerformedSeriesSequence"] * 2})
    assert house.one("1.2.1").status == "IN PROGRESS"
    house.change("1.2.1", final())
    assert len(house.one("1.2.1").document["PerformedSeriesSequence"]) == 1


def test_unknown_and_final(house: House) -> None:
    assert house.change("1.2.9", final()).status == 0x0112
    house.create("1.2.1")
    house.change("1.2.1", final("DISCONTINUED"))
    assert house.change("1.2.1", final()) == checks.FINISHED
    assert (checks.FINISHED.status, checks.FINISHED.error_id) == (0x0110, 0xA710)


def test_of_two_at_once_exactly_one_wins(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    statuses = ("COMPLETED", "DISCONTINUED") * 4
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda status: house.change("1.2.1", final(status)), statuses))
    won = house.one("1.2.1").status
    assert house.count(tables.mpps_message) == 2
    for status, answer in zip(statuses, answers, strict=True):
        assert answer.status in ({0} if status == won else {0x0110}), answer
    assert sum(answer.good and not answer.findings for answer in answers) == 1


def test_two_creations_at_once_are_one(house: House) -> None:
    house.order(1)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: house.create("1.2.1", calling=f"CT0{n % 2}"), range(8)))
    assert sorted({answer.status for answer in answers}) == [0, 0x0111]
    assert house.count(tables.mpps) == 1
    assert house.told() == ["1 started IP"]


def test_messages_and_orders_at_once(house: House) -> None:
    """Cancels of the RIS against the modality: whatever comes first, the step ends in one of the two states."""
    numbers = range(1, 9)
    house.order(*numbers)

    def perform(number: int) -> None:
        house.create(f"1.2.{number}", item(number), patient=f"QZPAT{number}")
        house.change(f"1.2.{number}", final())

    def change(number: int) -> None:
        house.order(number, name="Meier^Eva", control="XO", control_id=f"X{number}")

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, n) for n in numbers for work in (perform, change)]:
            done.result(30)
    assert house.statuses() == ["COMPLETED"] * 8
    assert house.shown() == ["COMPLETED"] * 8


def test_a_person_ends_what_a_modality_left_open(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.decide(deciding.end, 1, "COMPLETED", "modality broke down")
    assert house.statuses() == ["COMPLETED"]
    assert house.change("1.2.1", final()) == checks.FINISHED
    with pytest.raises(deciding.Undecided):
        house.decide(deciding.end, 1, "COMPLETED", "again")
    query = select(tables.audit.c.actor, tables.audit.c.detail).where(tables.audit.c.action == "mpps.ended")
    (entry,) = house.database.read(lambda c: c.execute(query).all()).result(20)
    assert entry[0] == "api:anna"
    assert json.loads(entry[1])["reason"] == "modality broke down"


def test_what_a_person_ends_is_told_to_who_listens(house: House) -> None:
    board = {"name": "board", "kind": "dicom", "ae_title": "BOARD", "host": "127.0.0.1", "port": 1}
    listeners = parse_nodes([{**board, "roles": ["mpps-notification"]}])
    house.create("1.2.1")
    context = replace(house.context(), actor="api:anna")
    house.database.submit(deciding.end, 1, "DISCONTINUED", "left open", context, listeners).result(20)
    assert house.details("mpps-event:board") == [{"mpps": 1, "event": 3}]


def test_a_first_message_that_is_completed_where_the_device_may(house: House) -> None:
    house.order(1)
    whole = final()
    assert house.create("1.2.1", **whole).status == 0x0106
    assert house.count(tables.mpps) == 0
    assert house.create("1.2.1", first=True, **whole).status == 0
    assert house.statuses() == ["COMPLETED"]
    assert house.told() == ["1 completed CM"]


def test_values_longer_than_any_index_takes_are_no_keys_and_no_trouble_of_the_database(house: House) -> None:
    long = random.Random(1).randbytes(10_000).hex()
    house.order(1)
    values = {"AccessionNumber": long, "RequestedProcedureID": long}
    assert house.create("1.2.1", unscheduled(long, ScheduledProcedureStepID=long, **values)).status == 0x0116
    assert house.one("1.2.1").linking == "unscheduled"
    assert house.change("1.2.1", final("DISCONTINUED", reason="110514", images=(long,))).status == 0x0116
    assert house.create("1.2.2", patient=long).status == 0x0116
    assert house.database.writable


@pytest.mark.parametrize(("images", "status"), [((), "SCHEDULED"), (("2.999.9.1.1",), "COMPLETED")])
def test_what_was_done_before_a_person_reopened_the_step_ends_it_no_more(
    house: House, images: tuple[str, ...], status: str
) -> None:
    house.order(1)
    house.create("1.2.1")
    house.change("1.2.1", final())
    house.now += timedelta(minutes=5)
    house.database.submit(ending.reopen, 1, 1, "to be repeated", house.context()).result(20)
    house.now += timedelta(minutes=5)
    house.create("1.2.2")
    assert house.statuses() == ["STARTED"]
    house.change("1.2.2", final("COMPLETED" if images else "DISCONTINUED", images=images))
    assert (house.statuses(), house.shown()) == ([status], [status])


def test_an_overdue_step_that_its_modality_ends_after_all_waits_for_nobody(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.now += timedelta(hours=25)
    assert house.database.submit(overdue.note, 1, house.now.timestamp(), house.context()).result(20)
    house.change("1.2.1", {SERIES: [series("2.999.9.1.1")]})
    assert house.one("1.2.1").attention == "overdue"  # it is not noted twice
    house.change("1.2.1", final())
    one = house.one("1.2.1")
    assert (one.status, one.attention, one.findings) == ("COMPLETED", "", ("overdue",))


def test_images_of_a_wrong_entry_that_was_created_so_are_held(house: House) -> None:
    house.order(1)
    whole = final("DISCONTINUED", reason="110514", images=("2.999.9.1.1",))
    assert house.create("1.2.1", first=True, **whole).status == 0
    assert (house.statuses(), house.one("1.2.1").attention) == (["SCHEDULED"], "wrong-entry")
    assert house.database.read(objects.is_kept_back, "2.999.9.1.1").result(20)


def test_images_of_a_wrong_entry_that_a_person_ends_are_held(house: House) -> None:
    house.order(1)
    house.create("1.2.1")
    house.change("1.2.1", final("IN PROGRESS", reason="110514", images=("2.999.9.1.1",)))
    house.decide(deciding.end, 1, "DISCONTINUED", "the modality broke down")
    assert (house.statuses(), house.one("1.2.1").attention) == (["SCHEDULED"], "wrong-entry")
    assert house.database.read(objects.is_kept_back, "2.999.9.1.1").result(20)


def test_an_order_without_performed_steps_is_told_by_our_clock(house: House) -> None:
    house.order(1)
    house.order(1, control="SC", status="IP")
    (detail,) = house.details("feedback:ris")
    assert detail["began"] == NOW.timestamp()
