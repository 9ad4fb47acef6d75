"""Performed procedure steps passed on to a foreign SCP and told to a foreign subscriber: in order, nothing lost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update
from support.loops import run, until
from support.mpps.mpps import EXPLICIT, IMPLICIT, NOTIFICATION, Answer, Heard, Taken, mpps_scp, uid
from support.peers.tools import free_port
from support.queue.lanes import dispatching
from support.worklist.worklist import read

from broker.delivery.mpps_sender import MppsSender
from broker.model.lane import LaneKind
from broker.mpps import passing_on
from broker.mpps.passing_on import MppsEvent
from broker.queue import holds
from broker.queue.dispatcher import Dispatcher
from broker.site.nodes import Node, parse_nodes
from broker.site.remotes import Remotes
from broker.store.db.database import Database
from broker.store.schema import tables

FINAL = (0x0110, 0xA710)


def nodes(*ports: int, roles: tuple[str, ...] = ("mpps", "mpps-notification")) -> tuple[Node, ...]:
    names = ("ris", "pacs")
    return parse_nodes(
        {"name": name, "kind": "dicom", "ae_title": "RIS", "host": "127.0.0.1", "port": port, "roles": list(roles)}
        for name, port in zip(names, ports, strict=False)
    )


@asynccontextmanager
async def passing(database: Database, *known: Node) -> AsyncIterator[Dispatcher]:
    """The queue at work, as in a broker that has just started."""
    by_name = {node.name: node for node in known}
    delivery = MppsSender(database, by_name.get, Remotes("BROKER", None, Path()))
    handlers = {LaneKind.MPPS: delivery.forward, LaneKind.MPPS_EVENT: delivery.notify}
    async with dispatching(database, handlers) as dispatcher:
        yield dispatcher
    await delivery.close()


def jobs_of(database: Database, lane: str = "mpps:ris") -> list[tuple[str, str]]:
    """State and last error of each job, in their order."""
    job = tables.job.c
    query = select(job.state, job.last_error).where(job.lane == lane).order_by(job.id)
    return [tuple(row) for row in database.read(lambda c: c.execute(query).all()).result(10)]


def states(database: Database, lane: str = "mpps:ris") -> list[str]:
    return [state for state, _ in jobs_of(database, lane)]


async def all_done(database: Database, count: int, lane: str = "mpps:ris") -> None:
    await until(lambda: states(database, lane) == ["done"] * count, f"all of {lane} is done")


def test_messages_go_as_they_came_and_in_their_order(database: Database) -> None:
    taken = Taken(database, ("ris", "pacs"))
    sent = {number: [taken.create(number, EXPLICIT if number % 2 else IMPLICIT)] for number in range(1, 6)}
    for number in sent:
        sent[number].append(taken.set(number, PerformedProcedureStepStatus="IN PROGRESS"))
        sent[number].append(taken.set(number))

    async def work() -> None:
        with mpps_scp() as ris, mpps_scp() as pacs:
            async with passing(database, *nodes(ris.port, pacs.port)):
                await all_done(database, 15)
                await all_done(database, 15, "mpps:pacs")
            for scp in (ris, pacs):
                assert {n: [h.data for h in scp.heard if h.uid == uid(n)] for n in sent} == sent
                assert all(scp.kinds(number) == ["create", "set", "set"] for number in sent)
                assert scp.associations == 1

    run(work())


@pytest.mark.parametrize(("own", "theirs"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_a_node_with_another_transfer_syntax_gets_the_same_values(database: Database, own: str, theirs: str) -> None:
    taken = Taken(database)
    original = taken.create(syntax=own)
    taken.set(syntax=own)

    async def work() -> None:
        with mpps_scp(syntaxes=[theirs]) as ris:
            async with passing(database, *nodes(ris.port)):
                await all_done(database, 2)
            assert {heard.syntax for heard in ris.heard} == {theirs}
            assert read(ris.heard[0].data, implicit=theirs == IMPLICIT) == read(original, implicit=own == IMPLICIT)

    run(work())


def test_a_node_without_the_class_holds_what_it_would_get(database: Database) -> None:
    Taken(database).create()

    async def work() -> None:
        with mpps_scp(syntaxes=["1.2.840.10008.1.2.2"]) as ris:
            async with passing(database, *nodes(ris.port)):
                await until(lambda: jobs_of(database) == [("held", "no-presentation-context")], "it is held")

    run(work())


def test_a_receiver_that_was_away_gets_everything_in_order_after_a_restart_too(database: Database) -> None:
    taken = Taken(database)
    port = free_port()
    for number in (1, 2, 3):
        taken.create(number)
        taken.set(number)

    async def away() -> None:
        async with passing(database, *nodes(port)):
            await until(lambda: _breaker(database) >= 2, "the lane is broken")
        assert states(database) == ["ready"] * 6

    async def back() -> None:
        with mpps_scp(port=port) as ris:
            async with passing(database, *nodes(port)):
                await all_done(database, 6)
            assert all(ris.kinds(number) == ["create", "set"] for number in (1, 2, 3))

    run(away())
    run(back())


def _breaker(database: Database) -> int:
    lane = tables.lane.c
    query = select(lane.failures).where(lane.name == "mpps:ris")
    return database.read(lambda c: c.execute(query).scalar()).result(10) or 0


def again(database: Database) -> None:
    """The first try of every job has ended without us knowing how."""

    def unit(connection: Connection) -> None:
        connection.execute(update(tables.job).values(attempts=1))

    database.submit(unit).result(10)


@pytest.mark.parametrize(
    ("script", "tried", "expected"),
    [
        ({"create": 0x0111}, True, [("done", "status-0111"), ("done", "")]),
        ({"create": 0x0111}, False, [("held", "status-0111"), ("ready", "")]),
        ({"set": FINAL}, True, [("done", ""), ("done", "status-0110-A710")]),
        ({"set": FINAL}, False, [("done", ""), ("held", "status-0110-A710")]),
        ({"create": 0x0106}, False, [("held", "status-0106"), ("ready", "")]),
        ({"create": 0x0107, "set": 0x0116}, False, [("done", "status-0107"), ("done", "status-0116")]),
        ({"set": 0x0112}, False, [("done", ""), ("held", "status-0112")]),
        ({"create": 0x0124}, True, [("held", "status-0124"), ("ready", "")]),
    ],
)
def test_answers_decide(
    database: Database, script: dict[str, Answer], tried: bool, expected: list[tuple[str, str]]
) -> None:
    taken = Taken(database)
    taken.create()
    taken.set()
    if tried:
        again(database)

    async def work() -> None:
        with mpps_scp(lambda heard: script.get(heard.kind, 0)) as ris:
            async with passing(database, *nodes(ris.port)):
                await until(lambda: jobs_of(database) == expected, f"{expected}")

    run(work())


def test_a_step_that_the_receiver_has_lost_is_created_once_more(database: Database) -> None:
    """DM-14: 0112 to an N-SET."""
    taken = Taken(database)
    created, updated = taken.create(), taken.set()
    known: set[str] = set()
    forgets = [True]

    def script(heard: Heard) -> Answer:
        if heard.kind == "create":
            known.add(heard.uid)
            return 0
        if forgets.pop() if forgets else False:
            known.clear()
        return 0 if heard.uid in known else 0x0112

    async def work() -> None:
        with mpps_scp(script) as ris:
            async with passing(database, *nodes(ris.port)):
                await all_done(database, 2)
            assert [h.data for h in ris.heard] == [created, updated, created, updated]

    run(work())


def test_trouble_that_passes_is_tried_again_and_a_refusal_holds_one_step_only(database: Database) -> None:
    taken = Taken(database)
    for number in (1, 2):
        taken.create(number)
        taken.set(number)
    tries: list[str] = []

    def script(heard: Heard) -> Answer:
        if heard.uid == uid(1):
            return 0x0106
        tries.append(heard.kind)
        return 0x0110 if tries.count("create") < 5 else 0

    async def work() -> None:
        with mpps_scp(script) as ris:
            async with passing(database, *nodes(ris.port)) as queue:
                await until(lambda: states(database) == ["held", "ready", "done", "done"], "one waits for a person")
                assert tries == ["create"] * 5 + ["set"]
                ris.answer = lambda _: 0
                database.submit(holds.release, 1, "test", time.time()).result(10)
                queue.wake()
                await all_done(database, 4)
            assert ris.kinds(1) == ["create", "create", "set"]

    run(work())


def test_a_subscriber_is_told_each_event_by_an_scp_that_calls_it(database: Database) -> None:
    """PS3.4 F.9: the SCP opens the association and proposes its role."""
    taken = Taken(database, ())
    taken.create()
    row = taken.rows[1]

    async def work() -> None:
        with mpps_scp() as ris:
            subscriber = nodes(ris.port)

            def unit(connection: Connection) -> None:
                passing_on.tell_message(connection, subscriber, row, 1, MppsEvent.IN_PROGRESS, 1.0)
                passing_on.tell_message(connection, subscriber, row, 2, MppsEvent.COMPLETED, 1.0)
                passing_on.tell_message(connection, subscriber, row, 2, MppsEvent.COMPLETED, 1.0)  # a repeat
                passing_on.tell_change(connection, subscriber, row, 1, MppsEvent.UPDATED, 1.0)

            database.submit(unit).result(10)
            async with passing(database, *subscriber):
                await all_done(database, 3, "mpps-event:ris")
            assert [(h.event, h.uid, h.sop_class) for h in ris.heard] == [
                (1, uid(1), NOTIFICATION), (2, uid(1), NOTIFICATION), (4, uid(1), NOTIFICATION),
            ]  # fmt: skip
            assert ris.associations == 1

    run(work())


def test_a_subscriber_that_was_away_is_told_when_it_is_back(database: Database) -> None:
    taken = Taken(database, ())
    taken.create()
    port = free_port()

    async def work() -> None:
        subscriber = nodes(port)

        def unit(connection: Connection) -> None:
            passing_on.tell_message(connection, subscriber, taken.rows[1], 1, MppsEvent.IN_PROGRESS, 1.0)

        database.submit(unit).result(10)
        async with passing(database, *subscriber):
            await until(lambda: jobs_of(database, "mpps-event:ris") == [("ready", "")], "it waits")
            with mpps_scp(port=port) as ris:
                await all_done(database, 1, "mpps-event:ris")
                assert [heard.event for heard in ris.heard] == [1]

    run(work())


def test_without_its_role_a_node_is_sent_nothing(database: Database) -> None:
    Taken(database).create()

    async def work() -> None:
        with mpps_scp() as ris:
            async with passing(database, *nodes(ris.port, roles=("destination",))):
                await until(lambda: jobs_of(database) == [("held", "unknown-node")], "it is held")
            assert ris.heard == []

    run(work())


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("create", "IN PROGRESS", 1),
        ("create", "COMPLETED", 2),
        ("set", "IN PROGRESS", None),
        ("set", "COMPLETED", 2),
        ("set", "DISCONTINUED", 3),
    ],
)
def test_which_event_a_message_is(kind: str, status: str, expected: int | None) -> None:
    assert passing_on.event_of(kind, status) == expected
