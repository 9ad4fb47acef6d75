"""Objects go to S3-compatible storage that refuses, is busy, breaks off, hangs, changes bytes or answers nonsense."""

from __future__ import annotations

import socket
import ssl
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.certificates import Authority
from support.delivery.hospital import Hospital
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.peers.s3_service import BUCKET, S3Request, S3Store, Script, s3_service
from support.queue.lanes import PACS, QUICK, dispatching

from broker.delivery.bucket import s3_sender
from broker.delivery.bucket.s3_sender import S3Carrier
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne, file_header
from broker.queue.retry_policy import RetryPolicy
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.store.images import instances

Before = Callable[[], Awaitable[object]]
NAME = "in/{PatientID}/{SOPInstanceUID}.dcm"
KEEP = S3Request.keep


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Lane:
    """A hospital whose destination is a bucket."""

    def __init__(self, database: Database, folder: Path, store: S3Store) -> None:
        self.hospital, self.folder, self.store = Hospital(database, folder), folder, store
        self.to()

    def to(self, *, patience: float = 10, tls: Any = None, url: str = "", **s3: Any) -> None:
        table = {"name": "pacs", "kind": "s3", "url": url or self.store.url, "roles": ["destination"]}
        table |= {"s3": self.store.table(self.folder, key=NAME) | s3} | ({"tls": tls} if tls else {})
        self.hospital.nodes = {"pacs": replace(parse_nodes([table])[0], answer_timeout=patience)}

    def settles(self, *states: str, policy: RetryPolicy = QUICK, before: Before | None = None) -> None:
        async def work() -> None:
            carrier, hospital = S3Carrier(NoticeTls(self.folder), self.folder), self.hospital
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

    def expected(self) -> dict[str, bytes]:
        """The files that all objects are, by their keys."""
        rows = self.hospital.database.read(instances.stored, [row["subject"] for row in self.hospital.queue.rows()])
        files = {}
        for item in rows.result(10).values():
            data = self.hospital.spool.read(item.path, item.data_offset, item.data_length)
            files[f"in/CANARY1/{item.sop_instance_uid}.dcm"] = file_header(item) + data
        return files


@pytest.fixture
def store() -> Iterator[S3Store]:
    with s3_service() as found:
        yield found


@pytest.fixture
def lane(database: Database, tmp_path: Path, store: S3Store) -> Lane:
    return Lane(database, tmp_path, store)


def fails(status: int, code: str, **headers: str) -> Script:
    return lambda request: request.fail(status, code, **headers)


def puts(*steps: Script | None) -> list[tuple[str, Script | None]]:
    return [("PUT", step) for step in steps]


def test_objects_are_stored_with_the_bytes_that_came(lane: Lane, store: S3Store) -> None:
    lane.hospital.slices(2)
    lane.hospital.take(ct_slice(3 << 20))
    lane.settles("done", "done", "done")
    assert store.files() == lane.expected()
    assert lane.errors == ["", "", ""]
    head = store.client.head_object(Bucket=BUCKET, Key=next(iter(store.files())))
    assert head["ContentType"] == "application/dicom"


def test_a_long_object_goes_in_parts_and_is_not_in_memory(lane: Lane, store: S3Store) -> None:
    lane.hospital.take(ct_slice(6 << 20))
    with patch.object(s3_sender, "PART", 1 << 20), patch.object(store, "script", [("POST", KEEP)]):
        lane.settles("done")
    assert store.files() == lane.expected()
    parts = [request for request in store.requests if "partNumber=" in request.path]
    assert [len(one.body) for one in parts] == [1 << 20] * 6 + [len(next(iter(lane.expected().values()))) - (6 << 20)]
    assert store.uploads() == 0


def test_a_long_object_is_held_in_memory_by_one_part_only(lane: Lane, tmp_path: Path) -> None:
    lane.hospital.take(ct_slice(24 << 20))

    async def grant(service: Any, method: str, key: str, seconds: float, body: bytes = b"", query: str = "",
                    source: Any = None, **headers: str) -> s3_sender.S3Answer:  # fmt: skip
        if method == "GET":
            return s3_sender.S3Answer(404, s3_sender.httpx.Headers(), b"<Error><Code>NoSuchKey</Code></Error>")
        said = {"uploads=": b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"}
        end = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        return s3_sender.S3Answer(200, s3_sender.httpx.Headers({"ETag": "x"}), said.get(query, end))

    with patch.object(s3_sender, "PART", 2 << 20), patch.object(s3_sender.S3Service, "send", grant):
        tracemalloc.start(1)
        try:
            lane.settles("done")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 13 << 20


@pytest.mark.parametrize(
    ("script", "state", "error"),
    [
        (puts(fails(500, "InternalError"), KEEP), "done", ""),
        (puts(S3Request.altered, KEEP), "done", ""),  # the storage refuses what was changed on its way
        (puts(fails(400, "EntityTooLarge")), "held", "s3-EntityTooLarge"),
        (puts(fails(400, "KeyTooLongError")), "held", "s3-KeyTooLongError"),
        (puts(fails(412, "PreconditionFailed")), "held", "s3-412"),
        (puts(lambda r: r.say(200), lambda r: r.say(200, b"x" * (1 << 20)), KEEP), "done", ""),
        (puts(lambda r: r.say(400, b"<html>"), KEEP), "done", ""),
        (puts(None, KEEP), "done", ""),  # it ends in the middle
    ],
    ids=["fault", "altered", "large", "name", "refused", "no confirmation", "junk", "cut"],
)
def test_what_is_answered_about_an_object(
    lane: Lane, store: S3Store, script: list[tuple[str, Script | None]], state: str, error: str
) -> None:
    lane.hospital.slices(1)
    store.script = script
    lane.settles(state)
    assert not store.script
    assert lane.errors == [error]
    assert store.files() == (lane.expected() if state == "done" else {})


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", ""), (403, "InvalidAccessKeyId", ""), (403, "SignatureDoesNotMatch", ""),
        (400, "AuthorizationHeaderMalformed", ""), (403, "RequestTimeTooSkewed", ""), (301, "PermanentRedirect", ""),
        (403, "QuotaExceeded", ""), (507, "XMinioStorageFull", ""), (503, "SlowDown", ""), (429, "Strange", "429"),
        (502, "", "502"),
    ],
)  # fmt: skip
def test_storage_that_takes_nothing_keeps_objects_waiting(
    lane: Lane, store: S3Store, status: int, code: str, told: str
) -> None:
    lane.hospital.slices(3)
    store.script = puts(*[fails(status, code)] * 4)
    lane.settles("done", "done", "done", before=partial(lane.broken, f"s3-{told or code}"))
    assert store.files() == lane.expected()


def test_storage_that_is_down_gets_all_when_it_is_back(lane: Lane, store: S3Store) -> None:
    lane.hospital.slices(2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        lane.to(url=f"http://127.0.0.1:{free.getsockname()[1]}")

    async def back() -> None:
        await lane.broken("unreachable")
        lane.to()

    lane.settles("done", "done", before=back)
    assert store.files() == lane.expected()


def test_a_bucket_that_is_not_there_keeps_objects_waiting(lane: Lane, store: S3Store) -> None:
    lane.hospital.slices(1)
    lane.to(bucket="other")

    async def made() -> None:
        await lane.broken("s3-NoSuchBucket")
        store.client.create_bucket(Bucket="other")

    lane.settles("done", before=made)


def test_storage_that_does_not_answer_in_time_gets_longer(lane: Lane, store: S3Store) -> None:
    lane.hospital.slices(1)
    store.script = puts(lambda request: store.over.wait(30), KEEP)
    lane.to(patience=0.3)
    lane.settles("done")
    assert store.files() == lane.expected()


def test_storage_that_never_reads_is_given_up(lane: Lane) -> None:
    lane.hospital.take(ct_slice(7 << 20))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lane.to(patience=0.3, url=f"http://127.0.0.1:{silent.getsockname()[1]}", existing="replace")

        async def mended() -> None:
            await until(lambda: lane.hospital.queue.rows()[0]["last_error"] == "no-answer", "not read", 10)
            lane.to()

        lane.settles("done", before=mended)


def test_a_poisonous_object_is_held_and_the_others_pass(lane: Lane, store: S3Store) -> None:
    bad, *_ = lane.hospital.slices(4)

    def choose(request: S3Request) -> None:
        request.fail(500, "InternalError") if bad.sop_instance in request.path else request.keep()

    store.script = puts(*[choose] * 50)
    lane.settles("held", "done", "done", "done")
    assert lane.errors == ["s3-InternalError", "", "", ""]
    assert len(store.files()) == 3


LIE = b"<Error><Code>InternalError</Code></Error>"


@pytest.mark.parametrize(
    "script",
    [
        [("PUT", KEEP), ("PUT", fails(500, "InternalError"))],
        [("PUT", KEEP), ("PUT", None)],
        [("PUT", KEEP), ("PUT", S3Request.altered)],
        [("PUT", KEEP), ("PUT", lambda request: request.say(200))],
        [("POST", KEEP), ("POST", lambda request: request.say(200, LIE))],
        [("POST", KEEP), ("POST", None)],
        [("POST", lambda request: request.say(200, b"<x/>"))],
        [("POST", fails(503, "SlowDown"))],
    ],
    ids=["part", "cut", "altered", "part unconfirmed", "a fault at the end with 200", "end cut", "begin", "busy"],
)
def test_an_upload_that_fails_leaves_nothing_and_goes_again(
    lane: Lane, store: S3Store, script: list[tuple[str, Script | None]]
) -> None:
    lane.hospital.take(ct_slice(3 << 20))
    store.script = list(script)
    with patch.object(s3_sender, "PART", 1 << 20):
        lane.settles("done")
    assert not store.script
    assert store.files() == lane.expected()
    assert store.uploads() == 0


@pytest.mark.parametrize("part", [1 << 20, 8 << 20])
def test_altered_bytes_are_never_a_whole_object(lane: Lane, store: S3Store, part: int) -> None:
    lane.hospital.take(ct_slice(3 << 20))
    path = max(lane.hospital.spool.root.rglob("*.dcm"), key=lambda one: one.stat().st_size)
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"altered")
    with patch.object(s3_sender, "PART", part):
        lane.settles("held")
    assert lane.errors == ["file-altered"]
    assert (store.files(), store.uploads()) == ({}, 0)


def test_what_is_there_already_is_told_or_holds_or_is_replaced(lane: Lane, store: S3Store) -> None:
    (item,) = lane.hospital.slices(1)
    name = f"in/CANARY1/{item.sop_instance}.dcm"

    def kept_unanswered(request: S3Request) -> None:
        with patch.object(request, "say"):
            request.keep()
        request.say(500)

    store.script = puts(kept_unanswered)
    lane.settles("done")
    assert (lane.errors, store.files()) == (["s3-there"], lane.expected())

    def sends_again() -> None:
        lane.hospital.database.execute(lambda c: c.exec_driver_sql("UPDATE job SET state='ready'"))

    store.client.put_object(Bucket=BUCKET, Key=name, Body=b"another's")
    sends_again()
    lane.settles("held")
    assert (lane.errors, store.files()) == (["s3-other-bytes"], {name: b"another's"})
    lane.to(existing="replace")
    sends_again()
    before = len(store.requests)
    lane.settles("done")
    assert store.files() == lane.expected()
    assert [request.method for request in store.requests[before:]] == ["PUT"]


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "s3-no-look"),
        (403, "SignatureDoesNotMatch", "s3-SignatureDoesNotMatch"),
        (404, "NoSuchBucket", "s3-NoSuchBucket"),
        (404, "", "s3-404"),
    ],
)
def test_storage_that_does_not_say_what_is_there_gets_nothing(
    lane: Lane, store: S3Store, status: int, code: str, told: str
) -> None:
    lane.hospital.slices(1)
    store.script = [("GET", fails(status, code))]
    lane.settles("done", before=partial(lane.broken, told))


def test_secrets_stand_in_a_file_or_in_the_environment_and_in_no_log(
    lane: Lane, store: S3Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.hospital.slices(1)
    (tmp_path / "s3.secret").unlink()
    node = lane.hospital.nodes["pacs"]

    async def written() -> None:
        await lane.broken("s3-secret-file")
        lane.hospital.nodes = {"pacs": replace(node, s3=node.s3.model_copy(update={"access_key": None}))}  # type: ignore[union-attr]
        await lane.broken("s3-no-keys")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")

    lane.settles("done", before=written)
    assert "Credential=AKIAOTHER/" in store.requests[-1].headers["authorization"]
    assert store.requests[-1].headers["x-amz-security-token"] == "a-token"
    assert "another-secret" not in caplog.text + repr(lane.hospital.nodes) + str(store.requests[-1].headers)


def test_tls_checks_the_storage(lane: Lane, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    files = authority.issue("127.0.0.1", dns=("storage.example",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    lane.hospital.slices(1)
    with s3_service(tls=context) as store:
        lane.store = store
        lane.to(tls={"ca": str(Authority(tmp_path / "other").ca), "server_name": "storage.example"})

        async def corrected() -> None:
            await lane.broken("tls-certificate-signature-failure")
            lane.to(tls={"ca": str(authority.ca), "server_name": "storage.example"})

        lane.settles("done", before=corrected)
        assert store.files() == lane.expected()
