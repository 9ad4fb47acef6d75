"""Objects go to DICOMweb services that refuse, are busy, break off, hang, or answer nonsense."""

from __future__ import annotations

import json
import socket
import ssl
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority, Files
from support.delivery.hospital import Hospital
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.peers.stow_service import StowPost, StowService, stow_service
from support.queue.lanes import PACS, QUICK, dispatching

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne
from broker.delivery.web.stow_sender import StowCarrier
from broker.queue.retry_policy import RetryPolicy
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.telemetry import OBJECTS_SPOILED

Before = Callable[[], Awaitable[object]]


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Lane:
    """A hospital whose destination is a DICOMweb service."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.hospital, self.folder = Hospital(database, folder), folder

    def to(self, service: StowService, *, patience: float = 10, **more: Any) -> None:
        table = {"name": "pacs", "kind": "stow", "url": service.url, "roles": ["destination"]}
        self.hospital.nodes = {"pacs": replace(parse_nodes([table | more])[0], answer_timeout=patience)}

    def settles(self, *states: str, policy: RetryPolicy = QUICK, before: Before | None = None) -> None:
        async def work() -> None:
            carrier = StowCarrier(NoticeTls(self.folder), self.folder)
            hospital = self.hospital
            sender = OneByOne(hospital.database, hospital.spool, lambda name: hospital.nodes.get(name), carrier)
            async with dispatching(self.hospital.database, sender, policy=policy):
                if before is not None:
                    await before()
                await until(lambda: self.hospital.states() == [*states], f"{states}", 20)
            await carrier.close()

        run(work())

    async def broken(self, code: str) -> None:
        await until(lambda: self.hospital.queue.breaker(PACS)[2] == code, f"{code}", 10)

    @property
    def errors(self) -> list[str]:
        return self.hospital.queue.errors()


@pytest.fixture
def lane(database: Database, tmp_path: Path) -> Lane:
    return Lane(database, tmp_path)


def fails(reason: int, status: int = 409) -> Callable[[StowPost], object]:
    return lambda post: post.fail(reason, status)


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[StowPost], object]:
    return lambda post: post.say(status, body, **headers)


def test_objects_are_stored_with_the_bytes_that_came(lane: Lane) -> None:
    items = [*lane.hospital.slices(2), lane.hospital.take(ct_slice(3 << 20))]
    with stow_service() as service:
        lane.to(service)
        lane.settles("done", "done", "done")
    assert {post.path for post in service.posts} == {"/dicom-web/studies"}
    for item in items:
        file = service.stored[item.sop_instance]
        assert file[128:132] == b"DICM"
        assert file.endswith(item.data)
        assert len(file) == 144 + int.from_bytes(file[140:144], "little") + len(item.data)
    assert lane.errors == ["", "", ""]


@pytest.mark.parametrize(
    ("script", "state", "error"),
    [
        ([lambda post: post.store(0xB000)], "done", "status-B000"),
        ([fails(0xA700, 202), StowPost.store], "done", ""),
        ([fails(0x0122)], "held", "status-0122"),
        ([fails(0xA900)], "held", "status-A900"),
        ([fails(0x0110), fails(0x0111)], "done", "status-0111"),  # the first try has brought it
        ([says(413)], "held", "stow-413"),
        ([says(415)], "held", "stow-415"),
        ([says(500), says(200, b"<html>"), says(200, b"x" * (2 << 20)), StowPost.store], "done", ""),
        ([None, StowPost.store], "done", ""),  # it ends in the middle
    ],
    ids=["warned", "no resources", "class", "mismatch", "there", "large", "kind", "junk", "cut"],
)
def test_what_is_answered_about_an_object(lane: Lane, script: list[Any], state: str, error: str) -> None:
    lane.hospital.slices(1)
    with stow_service(*script) as service:
        lane.to(service)
        lane.settles(state)
        assert not service.script
    assert lane.errors == [error]


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 503, 507])
def test_a_service_that_takes_nothing_keeps_objects_waiting(lane: Lane, status: int) -> None:
    lane.hospital.slices(3)
    away: list[Any] = [says(status)] * 4
    with stow_service(*away) as service:
        lane.to(service)
        lane.settles("done", "done", "done", before=partial(lane.broken, f"stow-{status}"))
        assert len(service.stored) == 3


def test_a_busy_service_is_left_alone_for_as_long_as_it_says(lane: Lane) -> None:
    lane.hospital.slices(2)
    with stow_service(says(503, Retry_After="30")) as service:
        lane.to(service)

        async def waits() -> None:
            await lane.broken("stow-503")
            assert lane.hospital.queue.breaker(PACS)[1] > time.time() + 4

        lane.settles("ready", "ready", policy=RetryPolicy(first=0.02, last=5, give_up=1000), before=waits)
        assert len(service.posts) == 1


def test_a_poisonous_object_is_held_and_the_others_pass(lane: Lane) -> None:
    bad, *_ = lane.hospital.slices(4)
    with stow_service() as service:

        def choose(post: StowPost) -> None:
            if post.instance == bad.sop_instance:
                post.say(500)
            else:
                post.store()

        service.script = [choose] * 50
        lane.to(service)
        lane.settles("held", "done", "done", "done")
    assert lane.errors == ["stow-500", "", "", ""]


def test_a_service_that_does_not_answer_in_time_gets_longer(lane: Lane) -> None:
    lane.hospital.slices(1)
    with stow_service(lambda post: service.over.wait(30), StowPost.store) as service:
        lane.to(service, patience=0.3)
        lane.settles("done")
        assert len(service.posts) == 2


def test_a_service_that_never_reads_is_given_up(lane: Lane) -> None:
    lane.hospital.take(ct_slice(20 << 20))
    with socket.create_server(("127.0.0.1", 0)) as silent, stow_service() as service:
        port, service.port = service.port, silent.getsockname()[1]
        lane.to(service, patience=0.3)

        async def mended() -> None:
            await until(lambda: lane.hospital.queue.rows()[0]["last_error"] == "no-answer", "not read", 10)
            service.port = port
            lane.to(service)

        lane.settles("done", before=mended)


def test_altered_bytes_are_never_a_whole_object(lane: Lane) -> None:
    lane.hospital.take(ct_slice(3 << 20))
    lane.hospital.slices(1)
    path = max(lane.hospital.spool.root.rglob("*.dcm"), key=lambda one: one.stat().st_size)
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"altered")
    before = OBJECTS_SPOILED.labels("file-altered")._value.get()
    with stow_service() as service:
        lane.to(service)
        lane.settles("held", "done")
        assert len(service.stored) == 1
    assert lane.errors == ["file-altered", ""]
    assert OBJECTS_SPOILED.labels("file-altered")._value.get() == before + 1


def test_a_long_object_is_not_in_memory(lane: Lane) -> None:
    lane.hospital.take(ct_slice(24 << 20))
    with stow_service() as service:
        service.forgets = True
        lane.to(service)
        tracemalloc.start(1)
        try:
            lane.settles("done")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 12 << 20


def secure(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_tls_with_a_client_certificate_and_basic_authentication(lane: Lane, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, ours = authority.issue("127.0.0.1", dns=("pacs.example",)), authority.issue("broker")
    context = secure(server)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    lane.hospital.slices(1)
    tls: dict[str, Any] = {"ca": str(authority.ca), "server_name": "pacs.example"}
    with stow_service(tls=context) as service:
        lane.to(service, tls=tls, username="broker", passcode="secret")

        async def corrected() -> None:
            await until(lambda: lane.hospital.queue.breaker(PACS)[0] > 0 or bool(lane.errors[0]), "no certificate", 10)
            full = tls | {"certificate": str(ours.certificate), "key": str(ours.key)}
            lane.to(service, tls=full, username="broker", passcode="secret")

        lane.settles("done", before=corrected)
        assert service.posts[-1].headers["authorization"] == "Basic YnJva2VyOnNlY3JldA=="
        strange = {"ca": str(Authority(tmp_path / "other").ca), "server_name": "pacs.example"}
        lane.to(service, tls=strange)
        lane.hospital.slices(1)
        lane.settles("done", "ready", before=partial(lane.broken, "tls-certificate-signature-failure"))


def test_a_token_is_read_from_its_file_and_one_that_is_not_taken_is_read_again(
    lane: Lane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path / "ca")
    token = tmp_path / "token"
    lane.hospital.slices(1)

    def expired(post: StowPost) -> None:
        token.write_text("second-token\n")
        post.say(401)

    with stow_service(expired, tls=secure(authority.issue("localhost", dns=("localhost",)))) as service:
        tls = {"ca": str(authority.ca), "server_name": "localhost"}
        lane.to(service, tls=tls, stow={"token_file": "token"})

        async def written() -> None:
            await lane.broken("token-file")
            token.write_text("first-token\n")

        lane.settles("done", before=written)
        said = [post.headers["authorization"] for post in service.posts]
    assert said == ["Bearer first-token", "Bearer second-token"]
    assert "token\n" not in caplog.text
    assert "first-token" not in caplog.text


def test_a_token_by_client_credentials_is_kept_and_renewed(lane: Lane, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    context = secure(authority.issue("localhost", dns=("localhost",)))
    (tmp_path / "secret").write_text("s:3cret")
    given: list[str] = []

    def token(post: StowPost) -> None:
        assert post.headers["authorization"] == "Basic YnJva2VyOnMlM0EzY3JldA=="  # RFC 6749 2.3.1
        assert post.body == b"grant_type=client_credentials&scope=dicom.write"
        given.append(f"token-{len(given)}")
        post.say(200, json.dumps({"access_token": given[-1], "token_type": "Bearer", "expires_in": 3600}).encode())

    lane.hospital.slices(3)
    script: list[Any] = [says(503), says(401), says(200, b"{}"), says(200, b"x" * 100_000), token, token]
    with (
        stow_service(*script, tls=context) as issuer,
        stow_service(StowPost.store, says(401), tls=context) as service,
    ):
        oauth = {"token_url": issuer.url.replace("127.0.0.1", "localhost"), "client_id": "broker", "ca": "ca/ca.pem"}
        more = {"client_secret_file": "secret", "scope": "dicom.write"}
        tls = {"ca": "ca/ca.pem", "server_name": "localhost"}
        lane.to(service, tls=tls, stow={"oauth": oauth | more})
        lane.settles("done", "done", "done", before=partial(lane.broken, "oauth-failing"))
        assert not issuer.script
        said = [post.headers["authorization"] for post in service.posts]
    assert said == ["Bearer token-0", "Bearer token-0", "Bearer token-1", "Bearer token-1"]
