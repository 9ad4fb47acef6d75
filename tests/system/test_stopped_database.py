"""PostgreSQL stops without a word (SIGSTOP) under load: every write is answered, nothing is lost, all recovers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import IMPLICIT, VERIFICATION, RawScu
from support.peers.peers import received, storescp
from support.peers.tools import run, wait_until
from support.scale import FULL, scaled
from support.service.site import Mllp, Site, destination, order
from support.store.outage import steps_of

RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["archive"]
"""
OUT_OF_RESOURCES = 0xA700
PROMISED = 10  # seconds until a write is answered


@contextmanager
def stopped(server: Any) -> Iterator[None]:
    """No process of PostgreSQL runs inside; its connections stay open."""
    first = psutil.Process(int((Path(server.pgdata) / "postmaster.pid").read_text().splitlines()[0]))
    first.suspend()  # it starts no more
    family = [first, *first.children(recursive=True)]
    for process in family[1:]:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(family):
            os.kill(process.pid, signal.SIGCONT)


class Sender(threading.Thread):
    """Sends one thing after the other, each until it is acknowledged."""

    def __init__(self, send: Callable[[], str]) -> None:
        """`send` sends the next thing and says `yes` or `no`."""
        super().__init__()
        self._send = send
        self.stopping = threading.Event()
        self.answers: Counter[str] = Counter()
        self.longest = 0.0  # seconds until an answer

    def run(self) -> None:
        """Until told to stop."""
        while not self.stopping.wait(0.02):
            began = time.monotonic()
            try:
                self.answers[self._send()] += 1
            except OSError:
                self.answers["broken"] += 1
            self.longest = max(self.longest, time.monotonic() - began)

    def heard(self, answer: str) -> int:
        """How often it has heard that."""
        return self.answers[answer]


class Modality:
    """Stores objects, each on an association of its own."""

    def __init__(self, port: int, size: int) -> None:
        self._port, self._size = port, size
        self._owed = ct_slice(size)
        self.acknowledged: dict[str, bytes] = {}

    def send(self) -> str:
        """Store the next object."""
        item = self._owed
        with RawScu(self._port, timeout=120) as modality:
            assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
            status = modality.store(item)
        assert status in {0, OUT_OF_RESOURCES}
        if status:
            return "no"
        self.acknowledged[item.sop_instance] = item.data
        self._owed = ct_slice(self._size)
        return "yes"


class Ris:
    """Sends orders, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count(1)
        self._owed = next(self._numbers)
        self.acknowledged: list[int] = []

    def send(self) -> str:
        """Send the next order."""
        with Mllp(self._port, timeout=120) as connection:
            answer = connection.exchange(order(self._owed))
        if not answer:
            return "no"
        assert answer["MSA"][0][1] == "AA"
        self.acknowledged.append(self._owed)
        self._owed = next(self._numbers)
        return "yes"


def readiness(site: Site) -> tuple[str, float]:
    """State, and seconds that the question took."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{site.web}/health/ready", timeout=60) as answer:
        return json.loads(answer.read())["status"], time.monotonic() - began


def worklist(site: Site) -> str:
    """What a modality sees."""
    return run(
        "findscu", "-W", "-aec", "BROKER", "-k", "0008,0050", "-k", "0040,0100[0].0040,0001=CT01", "127.0.0.1",
        str(site.dicom),
    ).stdout  # fmt: skip


def echo(site: Site) -> int | None:
    """Status of a C-ECHO."""
    with RawScu(site.dicom) as modality:
        assert modality.associate([(VERIFICATION, IMPLICIT)])[0] == 2
        return modality.echo()


@pytest.mark.timeout(scaled(180, 400))
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_write_is_answered_while_the_database_is_silent(
    tmp_path: Path, database_url: str, postgresql: Any
) -> None:
    archive = tmp_path / "archive"
    with (
        storescp(archive) as port,
        Site(
            tmp_path / "site", site=destination("archive", port) + RULE, database_url=database_url,
            config={"worklist": {"outage_copy_age": scaled(60, 120)}},
        ) as site,
    ):  # fmt: skip
        ris, modalities = Ris(site.hl7), [Modality(site.dicom, size) for size in (2048, 40_000)]
        senders = [Sender(sender.send) for sender in (ris, *modalities)]
        wait_until(lambda: ris.send() == "yes", 20, "an order is there")
        wait_until(lambda: steps_of(site.data / "worklist-copy.db"), 30, "the copy has it")
        try:
            for sender in senders:
                sender.start()
            wait_until(lambda: min(sender.heard("yes") for sender in senders) > 3, 60, "all are at work")
            during(site, postgresql, senders)
            yes = [sender.heard("yes") for sender in senders]
            resumed = time.monotonic()
            wait_until(
                lambda: all(sender.heard("yes") > before + 3 for sender, before in zip(senders, yes, strict=True)),
                60, "all are taken again",
            )  # fmt: skip
            wait_until(lambda: readiness(site)[0] == "ok", 60, "all is well again")
            print(f"as before after {time.monotonic() - resumed:.1f} s")
        finally:
            for sender in senders:
                sender.stopping.set()
            for sender in senders:
                sender.join()
        print("longest answers", [round(sender.longest, 1) for sender in senders])
        if FULL:
            assert max(sender.longest for sender in senders) < PROMISED
        account(site, database_url, ris, modalities, archive)


def during(site: Site, server: Any, senders: list[Sender]) -> None:
    """Stop the database until everybody has heard no, and look what else the broker does meanwhile."""
    with stopped(server):
        began, longest = time.monotonic(), 0.0
        wait_until(lambda: min(sender.heard("no") for sender in senders) > 0, 60, "all have heard no")
        assert echo(site)
        while True:
            state, seconds = readiness(site)
            longest = max(longest, seconds)
            assert state == "degraded"
            assert "[A1]" in worklist(site)
            if time.monotonic() - began > scaled(0, 60):
                break
        print(f"stopped for {time.monotonic() - began:.1f} s, readiness within {longest:.2f} s")
        if FULL:
            assert longest < 1
        assert all(sender.heard("broken") == 0 for sender in senders)


def account(site: Site, url: str, ris: Ris, modalities: list[Modality], archive: Path) -> None:
    """Everything acknowledged is there, once, and delivered."""

    def query(text: str) -> list[Any]:
        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql", 1)) as connection:
            return connection.execute(text).fetchall()

    wait_until(
        lambda: not query("SELECT 1 FROM job WHERE state <> 'done'"), 120, "all is delivered"
    )  # what was leased meanwhile comes back within 75 s
    images = {uid: data for modality in modalities for uid, data in modality.acknowledged.items()}
    stored = dict(query("SELECT sop_instance_uid, count(*) FROM instance GROUP BY 1"))
    assert {uid for uid in images if stored.get(uid) != 1} == set()
    kept = received(archive)
    assert {uid for uid, data in images.items() if kept.get(uid) != data} == set()
    orders = dict(query("SELECT filler_number, count(*) FROM service_request GROUP BY 1"))
    assert {number for number in ris.acknowledged if orders.get(f"FI{number}") != 1} == set()
    assert set(orders.values()) == {1}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_broker_ends_although_the_database_is_silent(tmp_path: Path, database_url: str, postgresql: Any) -> None:
    with Site(tmp_path / "site", database_url=database_url) as site, stopped(postgresql):
        assert site.stop() == 0  # within 40 s, or this fails
