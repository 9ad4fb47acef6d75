"""Notices go to webhooks and mail servers that refuse, are busy, break off, hang or are strangers."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update as changed
from support.certificates import Authority, Files
from support.loops import run, until
from support.peers.mail_server import OK, MailServer, mail_server
from support.peers.webhooks import Webhook, webhook
from support.queue.lanes import QUICK, Queue, dispatching

from broker.delivery.notices.notice_sender import NoticeSender
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.notices.wording import Teller
from broker.model.lane import LaneKind
from broker.queue.retry_policy import RetryPolicy
from broker.site.node_tls import NodeTls
from broker.site.nodes import Node
from broker.site.tables.mail import Mail
from broker.store import notices
from broker.store.db.database import Database
from broker.store.notices import NewNotice, RuleNotice
from broker.store.schema import tables

LANE = "notify:desk"
CT01 = Node(name="ct-scanner", kind="dicom", ae_title="CT01", roles=frozenset({"modality"}))
HOSTILE = "Grüße <b>\u2028 x"
TABLE = Mail(sender="broker@hospital.example", to=("it@hospital.example", "rad@hospital.example"), security="none")
BUSY = (429, {"Retry-After": "1"})


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases; `tests/wire/lanes` and `tests/store/test_notices.py` look at both."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Desk:
    """A node that is notified, and its lane."""

    def __init__(self, database: Database, node: Node, folder: Path = Path(), pages: str = "") -> None:
        self.database, self.node, self.queue = database, node, Queue(database)
        self.sender = NoticeSender(
            database, lambda name: self.node if name == "desk" else None,
            lambda title: (CT01,) if title == "CT01" else (),
            NoticeTls(folder), Teller("BROKER", ZoneInfo("Europe/Zurich"), pages),
        )  # fmt: skip

    def put(self, *rules: str, study: str = "2.999.1") -> None:
        new = [
            NewNotice("desk", study, 1_000_000_000.0, RuleNotice(
                rule=rule, rules_version=7, action="hold", destinations=("pacs", "cad"), level="study", device="CT01",
                modality="CT", key=f"key-{number}",
            )) for number, rule in enumerate(rules, 1)
        ]  # fmt: skip
        self.database.execute(notices.enqueue, new, time.time())

    @asynccontextmanager
    async def running(self, policy: RetryPolicy = QUICK) -> AsyncIterator[None]:
        async with dispatching(self.database, {LaneKind.NOTIFY: self.sender}, policy=policy):
            yield

    async def ends(self, *states: str) -> None:
        await until(lambda: self.queue.states(LANE) == [*states], f"{states}", 20)


def to_webhook(found: Webhook, **more: Any) -> Node:
    parts: dict[str, Any] = {"name": "desk", "kind": "webhook", "url": found.url, "roles": frozenset({"notify"})}
    return Node(**parts | {"host": "127.0.0.1", "port": found.port, "timeout": 10} | more)


def to_mail(found: MailServer, table: Mail = TABLE, **more: Any) -> Node:
    parts: dict[str, Any] = {"name": "desk", "kind": "mail", "mail": table, "roles": frozenset({"notify"})}
    return Node(**parts | {"host": "127.0.0.1", "port": found.port, "timeout": 10} | more)


def server_side(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_a_webhook_is_told_without_a_word_of_the_patient(database: Database) -> None:
    with webhook() as found:
        desk = Desk(database, to_webhook(found), pages="https://broker.example")
        desk.put("whole study")

        async def scenario() -> None:
            async with desk.running():
                await desk.ends("done")

        run(scenario())
        ((headers, document),) = found.posts
        assert headers["content-type"] == "application/json"
        assert headers["idempotency-key"] == document["id"] == "key-1"
        assert "authorization" not in headers
        assert document == {
            "id": "key-1", "event": "rule-acted", "broker": "BROKER", "at": "2001-09-09T03:46:40+02:00",
            "rule": "whole study", "rules_version": 7, "level": "study", "action": "hold",
            "destinations": ["pacs", "cad"], "device": {"ae_title": "CT01", "node": "ct-scanner"}, "modality": "CT",
            "objects": 1, "link": "https://broker.example/rules",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("script", "state", "error"),
    [
        ([408, 500, 502, 200], "done", ""),
        ([429, 503, 204], "done", ""),
        ([0, 204], "done", ""),  # breaks off
        ([(302, {"Location": "http://127.0.0.1:1/"})], "held", "http-302"),
        ([401], "held", "http-401"),
        ([422], "held", "http-422"),
    ],
    ids=["failing", "busy", "breaking off", "elsewhere", "a stranger", "refusing"],
)
def test_what_a_status_means(database: Database, script: list[Any], state: str, error: str) -> None:
    tries = len(script)
    with webhook(*script) as found:
        desk = Desk(database, to_webhook(found))
        desk.put("r")

        async def scenario() -> None:
            async with desk.running():
                await desk.ends(state)

        run(scenario())
        assert found.keys == ["key-1"] * tries
        assert desk.queue.errors(LANE) == [error]


def test_a_busy_webhook_is_left_alone_for_as_long_as_it_says(database: Database) -> None:
    """All notices wait then. One that fails alone keeps no other."""
    with webhook(500, BUSY) as found:
        desk = Desk(database, to_webhook(found))
        desk.put("a", "b")

        async def scenario() -> None:
            async with desk.running(RetryPolicy(first=0.02, last=5, give_up=1000)):
                await until(lambda: len(found.posts) == 2, "both were tried")
                asked = time.time()
                await until(lambda: desk.queue.breaker(LANE)[0] > 0, "the breaker is open")
                assert desk.queue.breaker(LANE)[1] > asked + 0.7
                await desk.ends("done", "done")

        run(scenario())
        assert sorted(found.keys) == ["key-1", "key-1", "key-2", "key-2"]


def test_a_webhook_that_hangs_is_given_up_and_tried_again(database: Database) -> None:
    with webhook(-1) as found:
        desk = Desk(database, to_webhook(found, timeout=0.3))
        desk.put("r")

        async def scenario() -> None:
            async with desk.running():
                await until(lambda: desk.queue.breaker(LANE)[2] == "no-answer", "the breaker is open")
                desk.node = replace(desk.node, timeout=10)
                await desk.ends("done")

        run(scenario())
        assert found.keys == ["key-1", "key-1"]


def test_a_webhook_by_tls_gets_the_token_and_a_stranger_gets_nothing(database: Database, tmp_path: Path) -> None:
    hospital, other = Authority(tmp_path / "a"), Authority(tmp_path / "b", "Other CA")
    with webhook(tls=server_side(hospital.issue("desk"))) as found:
        secret = {"url": f"https://127.0.0.1:{found.port}/hook", "passcode": "t0ken"}
        wrong, right = (NodeTls(ca=str(one.ca)) for one in (other, hospital))
        desk = Desk(database, to_webhook(found, tls=wrong, **secret))
        desk.put("r")

        async def scenario() -> None:
            async with desk.running():
                await until(lambda: desk.queue.breaker(LANE)[0] > 0, "the breaker is open")
                assert "tls-" in desk.queue.breaker(LANE)[2]
                assert found.posts == []
                desk.node = replace(desk.node, tls=right)
                await desk.ends("done")

        run(scenario())
        assert found.posts[0][0]["authorization"] == "Bearer t0ken"


def test_a_mail_is_ascii_and_nothing_in_it_begins_a_header(database: Database) -> None:
    found = MailServer()

    async def scenario() -> None:
        async with mail_server(found):
            desk = Desk(database, to_mail(found))
            desk.put(HOSTILE)
            async with desk.running():
                await desk.ends("done")

    run(scenario())
    (raw,), (mail,) = found.raw, found.mails
    assert raw.isascii()
    assert found.to == [list(TABLE.to)]
    assert {name for name in mail.keys() if not name.startswith("X-")} == {  # noqa: SIM118 - it is no mapping
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding",
    }  # fmt: skip
    assert mail["Subject"] == "BROKER: rule Grüße <b>  x"
    assert mail["Message-ID"] == "<key-1@hospital.example>"
    text = mail.get_content()
    assert re.search(r"What it does: +holds pacs, cad", text)
    assert re.search(r"Device: +CT01 \(ct-scanner\)", text)


@pytest.mark.parametrize(
    ("recipients", "data", "state", "error", "mails"),
    [
        (["450 later", OK], [], "done", "", 1),
        (["550 no", OK], [], "held", "smtp-550-some", 1),
        (["550 no", "551 no"], [], "held", "smtp-550", 0),
        ([], ["451 later"], "done", "", 2),
        ([], ["554 no"], "held", "smtp-554", 1),
        ([], ["break"], "done", "", 2),
        (["421 bye"], [], "done", "", 1),
    ],
    ids=["later", "one is unknown", "all are", "data later", "refused", "breaking off", "closing"],
)
def test_what_a_reply_means(
    database: Database, recipients: list[str], data: list[str], state: str, error: str, mails: int
) -> None:
    found = MailServer()
    found.recipients, found.data = list(recipients), list(data)

    async def scenario() -> None:
        async with mail_server(found):
            desk = Desk(database, to_mail(found))
            desk.put("r")
            async with desk.running():
                await desk.ends(state)
            assert desk.queue.errors(LANE) == [error]

    run(scenario())
    assert [mail["Message-ID"] for mail in found.mails] == ["<key-1@hospital.example>"] * mails


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_a_mail_goes_encrypted_and_signed_in(database: Database, tmp_path: Path, security: Any) -> None:
    """With a wrong passcode the lane waits: once it is right all mails go. In clear nothing goes."""
    hospital = Authority(tmp_path)
    context = server_side(hospital.issue("mail", dns=("mail.example",)))
    found = MailServer(user="broker", password="s3cret")
    table = TABLE.model_copy(update={"security": security})
    tls = NodeTls(ca=str(hospital.ca), server_name="mail.example")
    way = {security: context}

    async def scenario() -> None:
        async with mail_server(found, **way):
            node = to_mail(found, table, tls=tls, username="broker", passcode="wrong")
            desk = Desk(database, node)
            desk.put("r", "s")
            async with desk.running():
                await until(lambda: desk.queue.breaker(LANE)[2] == "smtp-535", "the breaker is open")
                desk.node = replace(node, passcode="s3cret")
                await desk.ends("done", "done")

    run(scenario())
    assert found.trusted == [True, True]


def test_a_server_without_tls_gets_nothing(database: Database) -> None:
    found = MailServer()

    async def scenario() -> None:
        async with mail_server(found):
            desk = Desk(database, to_mail(found, TABLE.model_copy(update={"security": "starttls"})))
            desk.put("r")
            async with desk.running():
                await until(lambda: desk.queue.breaker(LANE)[2] == "smtp-no-tls", "the breaker is open")

    run(scenario())
    assert found.raw == []


@pytest.mark.parametrize("kind", ["webhook", "mail"])
def test_what_is_not_there_or_says_nothing_is_tried_again(database: Database, kind: str) -> None:
    """A port where nobody listens, then one where somebody listens and never says a word."""

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silenced.append(writer)

    silenced: list[asyncio.StreamWriter] = []

    async def scenario() -> None:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            if kind == "webhook":
                node = to_webhook(Webhook(), url="http://127.0.0.1:1/hook", port=1)
                there = replace(node, url=f"http://127.0.0.1:{port}/hook", port=port, timeout=0.2)
            else:
                node = to_mail(MailServer(), port=1)
                there = replace(node, port=port, timeout=0.2)
            desk = Desk(database, node)
            desk.put("r")
            async with desk.running():
                await until(lambda: desk.queue.breaker(LANE)[2] == "unreachable", "nobody is there")
                desk.node = there
                await until(lambda: desk.queue.breaker(LANE)[2] == "no-answer", "somebody says nothing")
            assert desk.queue.states(LANE) == ["ready"]
            for writer in silenced:
                writer.close()

    run(scenario())


def test_a_notice_that_cannot_be_said_keeps_no_other(database: Database) -> None:
    """A row of another version of the broker, as after going back to an older one."""
    with webhook() as found:
        desk = Desk(database, to_webhook(found))
        desk.put("a", "b")
        table = tables.notice
        strange = changed(table).where(table.c.rule == "a").values(detail='{"destinations": [], "colour": "red"}')
        database.execute(lambda connection: connection.execute(strange))

        async def scenario() -> None:
            async with desk.running():
                await desk.ends("held", "done")

        run(scenario())
        assert found.keys == ["key-2"]
        assert desk.queue.errors(LANE)[0] == "not-sent"
