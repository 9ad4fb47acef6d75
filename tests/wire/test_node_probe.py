"""Tests of nodes against real and hostile peers: every step says what it found, and none takes long."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.certificates import Authority, now
from support.dicom.provider import CT, MR, echo, serving, storage
from support.loops import run
from support.peers.mail_server import MailServer, mail_server
from support.peers.s3_service import S3Store, s3_service
from support.peers.stow_service import stow_service
from support.peers.tools import free_port
from support.peers.webhooks import webhook

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe import dicom_probe, hl7_probe, network_probe, node_probe, notice_probe
from broker.delivery.probe.dicom_probe import needed
from broker.delivery.probe.node_probe import NodeTester, ProbeUnderWay
from broker.delivery.probe.outcome import ProbeLog, shortened, step_of
from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse.request import Service
from broker.dicom.wire.admission import CALLED_AE_UNKNOWN, CALLING_AE_UNKNOWN
from broker.model.wording import in_english
from broker.site.nodes import Node, parse_nodes
from broker.site.remotes import Receivers, Remotes, Repositories
from broker.store import node_tests
from broker.store.db.database import Database
from broker.store.node_tests import KEEP, StoredTest
from broker.tls import TlsFiles

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def dicom(port: int, **more: Any) -> Node:
    table = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
    return parse_nodes([table | {"roles": ["destination"]} | more])[0]


def hl7(port: int, **more: Any) -> Node:
    return parse_nodes(
        [{"name": "ris", "kind": "hl7", "application": "RIS", "host": "127.0.0.1", "port": port} | more]
    )[0]


def syslog(port: int, **more: Any) -> Node:
    table = {"name": "arr", "kind": "syslog", "host": "127.0.0.1", "port": port, "roles": ["audit"]}
    return parse_nodes([table | more])[0]


def stow(url: str, **more: Any) -> Node:
    return parse_nodes([{"name": "archive", "kind": "stow", "url": url, "roles": ["destination"]} | more])[0]


def share(path: Path, **files: str) -> Node:
    table = {"name": "share", "kind": "folder", "path": str(path), "roles": ["destination"]}
    return parse_nodes([table | {"files": files}])[0]


def prober(database: Database, files: TlsFiles | None = None) -> NodeTester:
    return NodeTester(
        database,
        Remotes("BROKER", files, Path()),
        Receivers(files, Path()),
        NoticeTls(Path()),
        Repositories(files, Path()),
    )


async def probed(database: Database, node: Node, files: TlsFiles | None = None) -> dict[str, tuple[str, str, str]]:
    """By step: its outcome, its words, its advice."""
    done = await prober(database, files).begin(node, "cli:anna").ended
    steps = [step_of(document) for document in done.steps]
    assert done.good is all(step.outcome != "bad" for step in steps)
    return {
        step.name: (step.outcome.value, in_english(step.words), in_english(step.advice) if step.advice else "")
        for step in steps
    }


@asynccontextmanager
async def listening(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A peer that does what its script says; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\x02\x00\xff\xff\xff\xff" + b"x" * 65536)
        await writer.drain()


def test_a_pacs_that_works_takes_what_it_has_to_take(sqlite: Database) -> None:
    async def work() -> None:
        async with serving(storage(echo)) as provider:
            found = await probed(sqlite, dicom(provider.port, roles=["modality"]))
            assert {name: outcome for name, (outcome, _, _) in found.items()} == {
                "name": "skipped", "connection": "good", "association": "good", "echo": "good",
            }  # fmt: skip
            assert found["association"][1] == "PACS accepts an association of BROKER"
            usual = await probed(sqlite, dicom(provider.port))
            outcome, words, advice = usual["contexts"]
            assert (outcome, words) == ("bad", "It takes 4 of 12 kinds of objects and messages that are for it")
            assert "held" in advice

    run(work())


def test_a_good_test_is_a_sign_of_life_and_a_bad_one_is_none(sqlite: Database) -> None:
    alive: list[str] = []

    async def work() -> None:
        where = Remotes("BROKER", None, Path()), Receivers(None, Path()), NoticeTls(Path())
        tester = NodeTester(sqlite, *where, Repositories(None, Path()), alive=alive.append)
        async with serving(storage(echo)) as provider:
            node = dicom(provider.port, roles=["modality"])
            assert (await tester.begin(node, "cli:anna").ended).good
            assert alive == ["pacs"]
            assert (await tester.begin(replace(node, state="disabled"), "cli:anna").ended).good
        assert not (await tester.begin(node, "cli:anna").ended).good
        assert alive == ["pacs"]

    run(work())


def test_what_is_converted_for_a_destination_is_no_trouble_and_is_told(sqlite: Database) -> None:
    """By the node probe as by the lane (`Lease.way`): what is compressed is held, all else goes somehow."""

    async def work() -> None:
        service = Service(frozenset({CT, MR}), uids.first_of(uids.IMPLICIT_LE), {cmd.C_STORE_RQ: echo})
        async with serving(service) as provider:
            log = ProbeLog()
            remote = Remotes("BROKER", None, Path())(dicom(provider.port))
            plain = [(CT, uids.EXPLICIT_LE), (CT, uids.IMPLICIT_LE), (CT, uids.DEFLATED)]
            await dicom_probe.probe_dicom(log, dicom(provider.port), remote, plain)
            last = step_of(log.steps[-1].document())
            assert (last.outcome.value, in_english(last.words)) == (
                "good", "It takes all kinds of objects and messages that are for it, 2 converted",
            )  # fmt: skip
            implicit = "Implicit VR Little Endian"
            assert [(row.taken, row.instead) for row in last.rows] == [(False, implicit), (True, ""), (False, implicit)]
            await dicom_probe.probe_dicom(log, dicom(provider.port), remote, [*plain, (MR, "1.2.840.10008.1.2.4.50")])
            assert log.steps[-1].outcome.value == "bad"  # MR comes compressed only
            await dicom_probe.probe_dicom(log, dicom(provider.port), remote, [*plain, (CT, "1.2.840.10008.1.2.4.50")])
            last = log.steps[-1]
            assert (last.outcome.value, [row.taken or bool(row.instead) for row in last.rows]) == (
                "warning", [True, True, True, False],
            )  # fmt: skip
            many = [(f"1.2.{n}", uids.EXPLICIT_LE) for n in range(100)]
            await dicom_probe.probe_dicom(log, dicom(provider.port), remote, many)
            assert len(log.steps[-1].rows) == 42  # with three contexts each

    run(work())


def test_what_was_sent_is_what_has_to_be_taken() -> None:
    objects = [(CT, uids.EXPLICIT_LE), (CT, uids.IMPLICIT_LE)]
    assert needed(dicom(1), objects) == objects
    both = dicom(1, roles=["destination", "mpps"])
    assert needed(both, objects) == [
        (uids.PERFORMED_STEP, uids.EXPLICIT_LE), (uids.PERFORMED_STEP, uids.IMPLICIT_LE), *objects,
    ]  # fmt: skip
    many = [(f"1.2.{n}", uids.EXPLICIT_LE) for n in range(500)]
    assert len(needed(dicom(1), many)) == 127
    assert needed(dicom(1, roles=["modality"]), []) == []


@pytest.mark.parametrize(
    ("refusal", "words", "advice"),
    [
        (CALLING_AE_UNKNOWN, "calling AE title not recognized", "Register the AE title BROKER"),
        (CALLED_AE_UNKNOWN, "called AE title not recognized", "has another AE title than PACS"),
    ],
)
def test_a_refused_association_says_what_to_do(sqlite: Database, refusal: Any, words: str, advice: str) -> None:
    class Refusing:
        def admit(self, request: Any, origin: Any) -> Any:
            return refusal

    async def work() -> None:
        async with serving(admission=Refusing()) as provider:
            outcome, said, told = (await probed(sqlite, dicom(provider.port)))["association"]
            assert outcome == "bad"
            assert words in said
            assert advice in told

    run(work())


def test_nothing_listens_or_nobody_knows_the_name(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> None:
        raise OSError("no such name")

    async def work() -> None:
        port = free_port()
        outcome, words, advice = (await probed(sqlite, dicom(port)))["connection"]
        assert (outcome, words) == ("bad", f"127.0.0.1 refuses connections on port {port}")
        assert "nothing listens there" in advice
        assert (await probed(sqlite, dicom(port, host="localhost")))["name"][0] == "good"
        monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", unknown)
        found = await probed(sqlite, dicom(port, host="pacs.example"))
        assert {name: outcome for name, (outcome, _, _) in found.items()} == {"name": "bad"}

    run(work())


@pytest.mark.parametrize("script", [silent, closing, flood])
def test_a_hostile_peer_ends_the_test_and_takes_no_long_time(
    sqlite: Database, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_probe, "ANSWER", 0.5)
    monkeypatch.setattr(hl7_probe, "STAYS", 0.1)

    async def work() -> None:
        async with listening(script) as port:
            began = time.monotonic()
            found = await probed(sqlite, dicom(port))
            assert found["association"][0] == "bad"
            assert found["association"][2]
            assert time.monotonic() - began < 10
            mllp = (await probed(sqlite, hl7(port)))["mllp"]
            assert mllp[0] == ("bad" if script is closing else "good")

    run(work())


def test_a_very_slow_node_is_given_up(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_probe, "WHOLE", 0.3)

    async def work() -> None:
        async with listening(silent) as port:
            found = await probed(sqlite, dicom(port))
            assert found["time"][0] == "bad"

    run(work())


def server_context(authority: Authority, name: str = "pacs", **more: Any) -> ssl.SSLContext:
    files = authority.issue(name, **more)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_tls_says_whose_certificate_it_is_and_how_long_it_is_good(sqlite: Database, tmp_path: Path) -> None:
    hospital, other = Authority(tmp_path / "hospital"), Authority(tmp_path / "other", "Other CA")
    ours = hospital.issue("broker")
    files = TlsFiles(ours.certificate, ours.key, hospital.ca)

    async def look(context: ssl.SSLContext, **more: Any) -> tuple[str, str, str]:
        async with listening(closing, context) as port:
            return (await probed(sqlite, hl7(port, **({"tls": True} | more)), files))["tls"]

    async def work() -> None:
        good = await look(server_context(hospital))
        assert good[0] == "good"
        assert "the certificate of pacs by Hospital CA is trusted" in good[1]
        soon = await look(server_context(hospital, end=now() + timedelta(days=5)))
        assert soon[0] == "warning"
        assert soon[1].endswith("in 4 days")
        over = await look(server_context(hospital, end=now() - timedelta(hours=1)))
        assert over[0] == "bad"
        assert "certificate has expired" in over[1]
        assert "pacs; Hospital CA" in over[1]
        assert "clock" in over[2]
        untrusted = await look(server_context(other))
        assert untrusted[0] == "bad"
        assert "Other CA" in untrusted[1]
        assert "`ca`" in untrusted[2]
        named = await look(server_context(hospital), tls={"server_name": "other.example"})
        assert named[0] == "bad"
        assert "wrong name" in named[1]
        async with listening(silent) as port:
            plain = (await probed(sqlite, hl7(port, tls=True), files))["tls"]
            assert plain[0] == "bad"

    network_probe_timeout = network_probe.HANDSHAKE
    network_probe.HANDSHAKE = 1.0
    try:
        run(work())
    finally:
        network_probe.HANDSHAKE = network_probe_timeout


def test_a_node_that_only_calls_is_not_connected_to(sqlite: Database) -> None:
    node = parse_nodes([{"name": "ct", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}])[0]

    async def work() -> None:
        found = await probed(sqlite, node)
        assert {name: outcome for name, (outcome, _, _) in found.items()} == {"address": "skipped"}

    run(work())


def test_a_node_is_tested_once_at_a_time(sqlite: Database) -> None:
    async def work() -> None:
        async with listening(silent) as port:
            one = prober(sqlite)
            one.begin(hl7(port), "cli:anna")
            with pytest.raises(ProbeUnderWay):
                one.begin(hl7(port), "cli:berta")
            assert one.running("ris") is not None
            await one.close()
            assert one.running("ris") is None

    run(work())


def test_the_last_tests_of_a_node_are_kept(database: Database) -> None:
    for number in range(KEEP + 5):
        test = StoredTest(node="pacs", at=float(number), actor="a", good=True, duration=0.1, steps=[])
        database.submit(node_tests.add, test).result()
    database.submit(
        node_tests.add, StoredTest(node="x", at=1.0, actor="a", good=False, duration=0.1, steps=[])
    ).result()
    kept = database.read(node_tests.of, "pacs").result()
    assert [test.at for test in kept] == [float(number) for number in range(KEEP + 4, 4, -1)]
    assert [test.good for test in database.read(node_tests.of, "x").result()] == [False]
    assert database.read(node_tests.kinds_for, "deliver:pacs").result() == []


def test_texts_of_peers_are_bounded() -> None:
    assert shortened("a\x00\x1b[31m" + "b" * 5000).startswith("a??[31mb")
    assert len(shortened("b" * 5000)) == 300


def test_an_audit_repository_gets_a_connection_and_no_message(sqlite: Database) -> None:
    got: list[bytes] = []

    async def reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            got.append(data)

    async def work() -> None:
        async with listening(reading) as port:
            found = await probed(sqlite, syslog(port))
            assert {name: outcome for name, (outcome, _, _) in found.items()} == {
                "name": "skipped", "connection": "good", "syslog": "good",
            }  # fmt: skip
            by_udp = await probed(sqlite, syslog(port, repository={"transport": "udp"}))
            assert [outcome for outcome, _, _ in by_udp.values()] == ["skipped", "warning"]
            assert "cannot be known" in by_udp["syslog"][1]
        away = await probed(sqlite, syslog(port))
        assert away["connection"][0] == "bad"
        assert "syslog" not in away

    run(work())
    assert got == []


@pytest.fixture
def sqlite(sqlite_url: str) -> Any:
    database = Database(sqlite_url)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("status", "outcome", "word"),
    [
        (204, "good", "no notice was sent"),
        (405, "good", "no notice was sent"),
        (401, "bad", "user name and passcode"),
        (404, "warning", "path of its url"),
        (302, "warning", "Redirects are not followed"),
        (0, "bad", "compare the url"),
    ],
)
def test_a_webhook_is_asked_and_gets_no_notice(sqlite: Database, status: int, outcome: str, word: str) -> None:
    with webhook(status) as hook:
        node = {"name": "desk", "kind": "webhook", "url": hook.url, "roles": ["notify"]}

        async def work() -> None:
            found = await probed(sqlite, parse_nodes([node])[0])
            assert found["connection"][0] == "good"
            assert found["http"][0] == outcome
            assert word in " ".join(found["http"][1:])

        run(work())
        assert (hook.posts, hook.heads) == ([], 1)


def test_a_mail_server_is_tried_up_to_the_sign_in(sqlite: Database, tmp_path: Path) -> None:
    hospital = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    files = hospital.issue("mail")
    context.load_cert_chain(files.certificate, files.key)
    server = MailServer(user="broker", password="s3cret")

    def node(**more: Any) -> Node:
        mail = {"sender": "broker@hospital.example", "to": "it@hospital.example"}
        table = {"name": "mail", "kind": "mail", "host": "127.0.0.1", "port": server.port, "roles": ["notify"]}
        return parse_nodes([table | {"mail": mail, "tls": {"ca": str(hospital.ca)}} | more])[0]

    async def work() -> None:
        async with mail_server(server, starttls=context):
            good = await probed(sqlite, node(username="broker", passcode="s3cret"))
            assert good["smtp"][:2] == ("good", "mail.example takes mail from the broker, encrypted; no mail was sent")
            wrong = await probed(sqlite, node(username="broker", passcode="wrong"))
            assert wrong["smtp"][0] == "bad"
            assert "user name and passcode" in wrong["smtp"][2]
            stranger = await probed(sqlite, node(tls={}))
            assert "`ca`" in stranger["smtp"][2]
            missing = await probed(sqlite, node(tls={"ca": "nowhere.pem"}))
            assert missing["tls"][0] == "bad"
        async with mail_server(server):
            clear = await probed(sqlite, node())
            assert "STARTTLS" in clear["smtp"][2]
        async with listening(silent) as port:
            server.port = port
            with patch.object(notice_probe, "WITHIN", 0.2):
                assert (await probed(sqlite, node()))["smtp"][0] == "bad"

    run(work())
    assert server.raw == []


def test_a_folder_is_tested_by_a_file_that_goes_again(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "share"

    async def scenario() -> None:
        found = await probed(database, share(folder))
        assert found["folder"][0] == "bad"
        assert "folder-gone" in found["folder"][1]
        assert "Make the folder" in found["folder"][2]
        folder.mkdir()
        found = await probed(database, share(folder))
        assert found["folder"][0] == "good"
        assert [path.name for path in folder.rglob("*")] == [".broker"]
        assert (await probed(database, share(folder, marker="here")))["folder"][0] == "bad"

    run(scenario())


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "good"), (405, "good"), (401, "bad"), (404, "warning"), (503, "warning")]
)
def test_a_dicomweb_service_is_tested_by_options(database: Database, status: int, outcome: str) -> None:
    with stow_service() as service:
        service.options = status

        async def scenario() -> None:
            found = await probed(database, stow(service.url))
            assert found["http"][0] == outcome
            assert str(status) in found["http"][1]

        run(scenario())
        assert service.posts == []


def bucket(store: S3Store, folder: Path, **more: Any) -> Node:
    table = {"name": "vault", "kind": "s3", "url": store.url, "roles": ["destination"]}
    return parse_nodes([table | {"s3": store.table(folder, **more)}])[0]


def test_a_bucket_is_tested_by_an_object_that_goes_again(database: Database, tmp_path: Path) -> None:
    with s3_service() as store:

        async def scenario() -> None:
            assert (await probed(database, bucket(store, tmp_path)))["bucket"][0] == "good"
            assert store.files() == {}
            missing = (await probed(database, bucket(store, tmp_path, bucket="other")))["bucket"]
            assert missing[0] == "bad"
            assert "s3-NoSuchBucket" in missing[1]
            assert "Make the bucket" in missing[2]
            store.script = [("PUT", lambda request: request.fail(403, "SignatureDoesNotMatch"))]
            assert "Compare the access key" in (await probed(database, bucket(store, tmp_path)))["bucket"][2]
            store.script = [("DELETE", lambda request: request.fail(403, "AccessDenied"))]
            assert (await probed(database, bucket(store, tmp_path)))["bucket"][0] == "warning"
            store.script = [("GET", lambda request: request.fail(403, ""))]
            assert (await probed(database, bucket(store, tmp_path)))["look"][0] == "bad"
            store.script = [("PUT", lambda request: request.say(500))]
            assert (await probed(database, bucket(store, tmp_path, existing="replace")))["bucket"][0] == "bad"
            gone = bucket(store, tmp_path, secret_key_file=str(tmp_path / "none"))
            assert "secret_key_file" in (await probed(database, gone))["bucket"][2]

        run(scenario())


def test_a_dicomweb_service_whose_token_is_not_there(database: Database, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("localhost", dns=("localhost",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    with stow_service(tls=context) as service:
        tls = {"ca": str(authority.ca), "server_name": "localhost"}
        node = stow(service.url, tls=tls, stow={"token_file": str(tmp_path / "none")})

        async def scenario() -> None:
            found = await probed(database, node)
            assert found["tls"][0] in ("good", "warning")
            assert found["credentials"][0] == "bad"
            assert "token-file" in found["credentials"][1]

        run(scenario())
