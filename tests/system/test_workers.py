"""`[service] workers = 2` on PostgreSQL: two processes on one DICOM port that live and end as one broker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.certificates import Authority, client
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import ENVIRONMENT, run, wait_until
from support.service.secure import AC, associates, door, node, tls_port
from support.service.site import Mllp, Site, destination, order

from broker.dicom import uids
from broker.errors import BrokerError
from broker.service.workers.channel import Task
from broker.service.workers.workers import Workers
from broker.settings import DatabaseSection, Settings

VERIFICATION = [(uids.VERIFICATION, uids.IMPLICIT_LE)]
SIZES = (8192, 65536)  # kept in the database, and in a file
RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["archive"]
"""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux"),
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]


def make(folder: Path, database_url: str, **more: Any) -> Site:
    """A broker of two processes, not started."""
    config = {"service": {"workers": 2}} | more.pop("config", {})
    return Site(folder, config=config, database_url=database_url, **more)


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """The broker, and afterwards none of its processes."""
    family: list[psutil.Process] = []
    try:
        with site:
            family = workers(site)
            yield site
            family += workers(site) if site.alive() else []
    finally:
        _, left = psutil.wait_procs(family, 5)
        for process in left:
            process.kill()
    assert left == []


def workers(site: Site) -> list[psutil.Process]:
    """The processes beside the first."""
    assert site.process is not None
    return psutil.Process(site.process.pid).children(recursive=True)


def metrics(site: Site, name: str) -> dict[str, float]:
    """Sums of a metric by worker."""
    with urllib.request.urlopen(f"{site.web}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert len(families) == len({family.name for family in families})  # each is described once, for all workers
    found: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples if sample.name == name):
        found[sample.labels["worker"]] = found.get(sample.labels["worker"], 0) + sample.value
    return found


def health(site: Site) -> str:
    """The answer of `/health/ready`."""
    with urllib.request.urlopen(f"{site.web}/health/ready", timeout=30) as answer:
        return str(answer.read().decode())


def serves(process: psutil.Process, peer: RawScu) -> bool:
    """This process holds the other end of a connection."""
    port = peer.socket.getsockname()[1]
    return any(c.raddr and c.raddr.port == port for c in process.net_connections("tcp"))


def connect(stack: ExitStack, site: Site, process: psutil.Process, contexts: list[tuple[str, str]]) -> RawScu:
    """An association that a certain process serves."""
    for _ in range(60):
        peer = stack.enter_context(RawScu(site.dicom))
        assert peer.associate(contexts)[0] == 2
        if serves(process, peer):
            return peer
    pytest.fail("60 connections in a row went to the other process")


def query(database_url: str, text: str) -> list[tuple[Any, ...]]:
    """Read the database beside the broker."""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        return connection.execute(text).fetchall()


class Load:
    """Modalities that send a few objects on each association, one after the other, until they are told to stop."""

    def __init__(self, port: int, number: int = 4, *, each: int = 8, again: bool = True) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self._port, self._each, self._again = port, each, again
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(SIZES[n % 2],)) for n in range(number)]
        for thread in self._threads:
            thread.start()

    def _send(self, size: int) -> None:
        item = ct_slice(size)
        while not self._stop.is_set():
            try:
                with RawScu(self._port) as modality:
                    if modality.associate([(item.sop_class, item.transfer_syntax)])[0] != 2:
                        continue
                    for _ in range(self._each):
                        if self._stop.is_set() or modality.store(item) != 0:
                            break
                        self.acknowledged[item.sop_instance] = item.data
                        item = ct_slice(size)
            except OSError:
                pass  # refused or reset: it comes again with the object it owes
            if not self._again:
                return

    def end(self) -> None:
        """No more; all threads are over."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_both_processes_serve_one_port_and_count_as_one(tmp_path: Path, database_url: str) -> None:
    archive = tmp_path / "archive"
    sent = [ct_slice(2048) for _ in range(40)]
    with (
        storescp(archive) as port,
        running(make(tmp_path / "site", database_url, site=destination("archive", port) + RULE)) as site,
    ):
        assert len(workers(site)) == 1
        assert health(site) == '{"status":"ok","problems":[]}'
        for item in sent:
            with RawScu(site.dicom) as modality:
                assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
                assert modality.store(item) == 0
        assert run("echoscu", "-aec", "BROKER", "127.0.0.1", str(site.dicom)).returncode == 0
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        wait_until(lambda: sum(metrics(site, "broker_instances_received_total").values()) == 40, 10, "reports")
        by_worker = metrics(site, "broker_instances_received_total")
        assert by_worker.keys() == {"1", "2"}
        assert min(by_worker.values()) >= 3, by_worker  # 40 throws of a coin
        assert metrics(site, "process_resident_memory_bytes").keys() == {"1", "2"}
        wait_until(lambda: len(received(archive)) == 40, 30, "everything is delivered")
        assert received(archive) == {item.sop_instance: item.data for item in sent}
        assert metrics(site, "broker_deliveries_total").keys() == {"1"}  # lanes are in the first process only
        assert "worker=2" in site.logged()
        assert "worker=1" in site.logged()
    assert "worker.died" not in site.logged()


def test_the_tls_listener_is_shared_as_well(tmp_path: Path, database_url: str) -> None:
    hospital = Authority(tmp_path / "ca", kind="ec")
    context = client(hospital.issue("ct01"), hospital.ca)
    config = {"dicom": {"port": 0, "plain": False}, "dicom.tls": door(hospital, hospital.issue("broker"))}
    with running(make(tmp_path / "site", database_url, site=node("ct01"), config=config)) as site:
        for _ in range(20):
            assert associates(tls_port(site), context, "CT01")[0] == AC
        wait_until(lambda: sum(metrics(site, "broker_dimse_answers_total").values()) == 20, 10, "reports")
        assert metrics(site, "broker_dimse_answers_total").keys() == {"1", "2"}


def test_work_from_a_worker_is_delivered_at_once(tmp_path: Path, database_url: str) -> None:
    archive = tmp_path / "archive"
    item = ct_slice(2048)
    with (
        storescp(archive) as port,
        running(make(tmp_path / "site", database_url, site=destination("archive", port) + RULE)) as site,
        ExitStack() as stack,
    ):
        modality = connect(stack, site, workers(site)[0], [(item.sop_class, item.transfer_syntax)])
        assert modality.store(item) == 0
        wait_until(lambda: len(received(archive)) == 1, 20, "the association to the archive stands")
        began = time.monotonic()
        for number in range(2, 12):
            assert modality.store(ct_slice(2048)) == 0
            wait_until(lambda number=number: len(received(archive)) == number, 10, "delivered")
        assert time.monotonic() - began < 5  # by the look once a second it would be about 10


@pytest.mark.timeout(300)
def test_a_killed_worker_loses_nothing_and_comes_again(tmp_path: Path, database_url: str) -> None:
    archive = tmp_path / "archive"
    with (
        storescp(archive) as port,
        running(make(tmp_path / "site", database_url, site=destination("archive", port) + RULE)) as site,
    ):
        load = Load(site.dicom)
        try:
            for round_ in range(1, 4):
                victim = workers(site)[0]
                enough = len(load.acknowledged) + 20
                wait_until(lambda enough=enough: len(load.acknowledged) > enough, 60, "load")
                wait_until(lambda v=victim: len(v.net_connections("tcp")) > 2, 30, "it serves a sender")
                victim.kill()
                still = len(load.acknowledged) + 5
                wait_until(lambda still=still: len(load.acknowledged) > still, 30, "the other serves on")
                wait_until(lambda v=victim: [p for p in workers(site) if p != v], 30, "a new worker")
                wait_until(lambda r=round_: site.logged().count("worker.ready") == r + 1, 30, "it is ready")
        finally:
            load.end()
        assert site.logged().count("worker.died") == 3
        wait_until(lambda: '"ok"' in health(site), 10, "healthy again")
        wait_until(lambda: not query(database_url, "select id from job where state <> 'done'"), 90, "delivered")
        rows = dict(query(database_url, "select sop_instance_uid, count(*) from instance group by sop_instance_uid"))
        assert load.acknowledged.keys() <= rows.keys()
        assert set(rows.values()) == {1}
        kept = received(archive)
        assert {uid for uid, data in load.acknowledged.items() if kept.get(uid) != data} == set()


def test_a_worker_that_is_away_shows_in_health_and_a_stuck_one_is_replaced(tmp_path: Path, database_url: str) -> None:
    with running(make(tmp_path / "site", database_url)) as site, ExitStack() as stack:
        victim = workers(site)[0]
        first = psutil.Process(site.process.pid)  # type: ignore[union-attr]
        peer = connect(stack, site, victim, VERIFICATION)
        other = connect(stack, site, first, VERIFICATION)
        victim.send_signal(signal.SIGSTOP)
        wait_until(lambda: "worker 2 is not running" in health(site), 40, "it is taken for stuck")
        assert '"degraded"' in health(site)
        assert "worker.stuck" in site.logged()
        assert peer.pdu()[0] == 0
        wait_until(lambda: '"ok"' in health(site), 30, "a new one is up")
        other.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):  # its association stands
            other.pdu()


def test_no_worker_outlives_the_first_process(tmp_path: Path, database_url: str) -> None:
    site = make(tmp_path / "site", database_url).start()
    family = workers(site)
    load = Load(site.dicom)
    wait_until(lambda: len(load.acknowledged) > 20, 30, "load")
    site.kill()
    _, left = psutil.wait_procs(family, 5)
    assert left == []
    load.end()
    with running(site):  # nothing holds the data directory or the port
        assert "worker" not in health(site)
    stored = {row[0] for row in query(database_url, "select sop_instance_uid from instance")}
    assert load.acknowledged.keys() <= stored


@pytest.mark.parametrize("to_all", [False, True], ids=["sigterm-to-first", "sigint-to-all"])
def test_stops_in_time_under_load(tmp_path: Path, database_url: str, to_all: bool) -> None:
    site = make(tmp_path / "site", database_url).start()
    family = workers(site)
    with RawScu(site.dicom) as idle:
        assert idle.associate(VERIFICATION)[0] == 2
        load = Load(site.dicom, each=100_000, again=False)
        wait_until(lambda: len(load.acknowledged) > 20, 30, "load")
        began = time.monotonic()
        if to_all:  # as the terminal does on Ctrl-C
            for process in [*family, psutil.Process(site.process.pid)]:  # type: ignore[union-attr]
                process.send_signal(signal.SIGINT)
            assert site.process.wait(40) == 0  # type: ignore[union-attr]
        else:
            assert site.stop() == 0
        assert time.monotonic() - began < 10
        assert idle.pdu()[0] == 7  # told, not just dropped
    assert not any(process.is_running() for process in family)
    load.end()
    stored = {row[0] for row in query(database_url, "select sop_instance_uid from instance")}
    assert load.acknowledged.keys() <= stored
    site.assert_private()


@pytest.mark.timeout(120)
def test_a_worker_that_dies_again_and_again_ends_the_broker(tmp_path: Path, database_url: str) -> None:
    site = make(tmp_path / "site", database_url).start()
    seen: set[int] = set()

    def kill_new() -> bool:
        with suppress(psutil.NoSuchProcess):  # it may end between two looks
            for process in workers(site) if site.alive() else []:
                if process.pid not in seen:
                    process.kill()
                    seen.add(process.pid)
        return not site.alive()

    wait_until(kill_new, 60, "the broker gives up")
    assert site.process is not None
    assert site.process.returncode == 1
    assert "worker.given_up" in site.logged()
    assert len(seen) >= 5  # on a busy machine one may have lived too long to count
    site.assert_private()


def test_a_port_that_others_share_is_in_use(tmp_path: Path, database_url: str) -> None:
    with running(make(tmp_path / "one", database_url)) as site:
        other = make(tmp_path / "two", database_url, config={"dicom": {"port": site.dicom}})
        done = serve(other)
        assert done.returncode == 2
        assert "dicom.port: cannot listen" in done.stderr


def test_needs_postgresql(tmp_path: Path, database_url: str) -> None:
    done = serve(make(tmp_path / "site", ""))
    assert done.returncode == 2
    assert done.stderr.strip().endswith("service.workers: more than 1 needs PostgreSQL (database.url)")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_worker_that_cannot_start_is_an_error_at_start(tmp_path: Path, database_url: str) -> None:
    settings = Settings(database=DatabaseSection(url="postgresql+psycopg://nobody@127.0.0.1:1/nothing"))
    task = Task(2, settings, {"dicom": 0}, b"key")
    failed: list[bool] = []

    async def start() -> None:
        with (tmp_path / "lock").open("w") as lock:
            found = Workers(lock.fileno(), _nothing, lambda: failed.append(True))
            try:
                await found.start([task])
            finally:
                await found.stop(1)

    with pytest.raises(BrokerError, match="does not start"):
        asyncio.run(start())
    assert failed == []


def _nothing() -> None:
    """No work here."""


def serve(site: Site) -> subprocess.CompletedProcess[str]:
    """A broker that is expected to end by itself."""
    command = [sys.executable, "-m", "broker", "serve", "--config", str(site.folder / "broker.toml")]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
