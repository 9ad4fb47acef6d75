"""The audit trail goes to a repository: in order, by TLS, again after a broken connection, and never twice around."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection
from support.audit.repository import AuditRepository, datagram_repository, repository
from support.audit.schema import checked
from support.audit.trail import ARR, LANE, Trail
from support.certificates import Authority
from support.loops import run, until

from broker.queue.retry_policy import RetryPolicy
from broker.site.node_tls import NodeTls
from broker.site.remotes import Repositories
from broker.site.repository import Repository
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database


def numbers(found: AuditRepository) -> list[int]:
    """The orders that messages are about."""
    texts = [checked(message) for message in found.messages]
    objects = [root.find("ParticipantObjectIdentification") for root in texts]
    return [int(str(one.get("ParticipantObjectID")).partition("/")[2]) for one in objects if one is not None]


def test_rows_go_by_tls_in_their_order(database: Database, tmp_path: Path) -> None:
    hospital = Authority(tmp_path)
    server, ours = hospital.issue("arr", dns=("arr.example",)), hospital.issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(hospital.ca))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = NodeTls(certificate=str(ours.certificate), key=str(ours.key), ca=str(hospital.ca), server_name="arr.example")

    async def scenario() -> None:
        async with repository(context) as found:
            trail = Trail(database, replace(ARR, port=found.port, tls=tls), Repositories(None, tmp_path))
            async with trail.running():
                trail.add(*range(1, 251))
                assert trail.feeder.feed(["arr"])
                assert not trail.feeder.feed(["arr"])
                await until(lambda: len(found.messages) == 250, "all rows are there", 30)
                trail.add(251)
                trail.feeder.feed(["arr"])
                await until(lambda: len(found.messages) == 251, "the next row is there", 30)
            assert numbers(found) == list(range(1, 252))
            assert found.connections == 1
            assert {head["priority"] for head in found.heads} == {"85"}
            assert {head["id"] for head in found.heads} == {"DICOM+RFC3881"}
            assert trail.queue.states(LANE) == ["done"] * 4

    run(scenario(), 60)


def test_a_stranger_gets_nothing(database: Database, tmp_path: Path) -> None:
    """A repository whose certificate another authority signed: the lane waits, and says why."""
    hospital, other = Authority(tmp_path / "a"), Authority(tmp_path / "b", "Other CA")
    server, ours = other.issue("arr"), hospital.issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.certificate, server.key)
    tls = NodeTls(certificate=str(ours.certificate), key=str(ours.key), ca=str(hospital.ca))

    async def scenario() -> None:
        async with repository(context) as found:
            trail = Trail(database, replace(ARR, port=found.port, tls=tls), Repositories(None, tmp_path))
            trail.add(1)
            trail.feeder.feed(["arr"])
            async with trail.running():
                await until(lambda: trail.queue.breaker(LANE)[0] > 1, "the breaker is open", 30)
            assert found.messages == []
            assert "tls" in trail.queue.breaker(LANE)[2]

    run(scenario(), 60)


def test_a_repository_that_was_away_gets_all_in_order(database: Database) -> None:
    """An hour's backlog; and that it is away makes no rows, or each failure would bring the next one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def scenario() -> None:
        trail = Trail(database, replace(ARR, port=port))
        async with trail.running():
            for number in range(1, 6):
                trail.add(number)
                trail.feeder.feed(["arr"])
            await until(lambda: trail.queue.breaker(LANE)[0] > 1, "the breaker is open", 30)
            before = trail.count()
            async with repository(port=port) as found:
                await until(lambda: len(found.messages) >= 5, "all rows are there", 30)
                assert numbers(found)[:5] == [1, 2, 3, 4, 5]
                await until(lambda: trail.queue.states(LANE) == ["done"] * 5, "all jobs are done", 30)
            assert trail.count() == before == 5

    run(scenario(), 60)


def test_nothing_of_the_audit_trail_is_ever_given_up(database: Database) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def scenario() -> None:
        trail = Trail(database, replace(ARR, port=port))
        trail.add(1)
        trail.feeder.feed(["arr"])
        async with trail.running(RetryPolicy(first=0.01, last=0.01, give_up=0.05)):
            await until(lambda: trail.queue.breaker(LANE)[0] > 20, "it was tried for long", 30)
            assert trail.queue.states(LANE) != ["held"]

    run(scenario(), 60)


def test_what_may_be_lost_in_a_broken_connection_comes_again(database: Database) -> None:
    async def scenario() -> None:
        async with repository() as found:
            trail = Trail(database, replace(ARR, port=found.port))
            async with trail.running():
                trail.add(1, 2, 3)
                trail.feeder.feed(["arr"])
                await until(lambda: len(found.messages) == 3, "three rows are there", 30)
                found.cut()
                await until(lambda: not found.writers, "the connection is gone", 30)
                trail.add(4)
                trail.feeder.feed(["arr"])
                await until(lambda: len(found.messages) >= 7, "all came again", 30)
            assert numbers(found) == [1, 2, 3, 1, 2, 3, 4]

    run(scenario(), 60)


def test_datagrams(database: Database) -> None:
    async def scenario() -> None:
        async with datagram_repository() as found:
            wanted = Repository(transport="udp", message_id="IHE+RFC-3881")
            trail = Trail(database, replace(ARR, port=found.port, repository=wanted))
            trail.add(1, 2)
            trail.feeder.feed(["arr"])

            def write(connection: Connection) -> None:
                add_audit(connection, 3.0, "cli:anna", "order.listed", "order", 0, {"x": "y" * 70_000})

            database.execute(write)
            trail.feeder.feed(["arr"])
            async with trail.running():
                await until(lambda: trail.queue.states(LANE) == ["done", "held"], "both jobs have ended", 30)
                await until(lambda: len(found.messages) == 2, "two rows are there", 30)
            assert found.heads[0]["id"] == "IHE+RFC-3881"
            assert trail.queue.errors(LANE)[1] == "too-long"

    run(scenario(), 60)


def test_a_repository_that_is_no_node_any_more(database: Database) -> None:
    async def scenario() -> None:
        trail = Trail(database, replace(ARR, name="other"))
        trail.add(1)
        trail.feeder.feed(["arr"])
        async with trail.running():
            await until(lambda: trail.queue.errors(LANE) == ["unknown-node"], "it is held", 30)

    run(scenario(), 60)
