"""Known peers that go on working while a stranger attacks: how long each waits, and what the broker spends on it."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from support.dicom.raw import IMPLICIT, VERIFICATION, RawScu
from support.orders import documents
from support.service.site import Mllp, Site, order
from support.worklist.polling import Poller, request
from support.worklist.worklist import DATE, SPS, STATION

TOKEN = "a-token-of-the-tests-0123456789"  # what `[web] admin_token` must be
MODALITY, RIS, MONITOR = "127.0.0.11", "127.0.0.12", "127.0.0.13"
NODES = f"""
[[node]]
name = "ct"
kind = "dicom"
ae_title = "CT01"
host = "{MODALITY}"
roles = ["modality"]
[[node]]
name = "ris"
kind = "hl7"
application = "RIS"
host = "{RIS}"
roles = ["ris"]
"""
PEERS = ("worklist.query", "hl7.message ", "order.placed")  # events
KEYS = {"PatientName": "", "PatientID": "", "AccessionNumber": "", "RequestedProcedureID": "",
        SPS: [{STATION: "CT01", DATE: "20300312", "Modality": "", "ScheduledProcedureStepStartTime": ""}]}  # fmt: skip


class Bystanders:
    """A modality, a RIS, a web client and a monitor at work in threads of their own, as long as the context lasts."""

    def __init__(
        self,
        site: Site,
        *,
        context: ssl.SSLContext | None = None,
        web: ssl.SSLContext | None = None,
        every: float = 0.1,
        first: int = 1,
    ) -> None:
        """`context`: DICOM and HL7 by TLS; `web`: HTTPS; `every`: seconds between two works; `first` order's number."""
        self.times: dict[str, list[float]] = {}
        self.failed: list[str] = []
        self._site, self._context, self._web, self._every = site, context, web, every
        self._numbers = itertools.count(first)
        self._suffix = "-tls" if context else ""
        self._kept: Mllp | None = None
        self._asked = request(KEYS)
        self._ending = threading.Event()
        works = (self.echo, self.query, self.order, self.order_kept, self.rest, self.live)
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def __enter__(self) -> Bystanders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        if self._kept is not None:
            self._kept.close()

    def worst(self) -> float:
        """The longest wait of all, in seconds."""
        return max(itertools.chain(*self.times.values()), default=0.0)

    def summary(self) -> Iterator[tuple[str, float, float]]:
        """Work, median and 99th percentile in ms."""
        for name, times in self.times.items():
            if len(times) > 1:
                yield name, 1000 * statistics.median(times), 1000 * statistics.quantiles(times, n=100)[98]

    def _run(self, work: Callable[[], None]) -> None:
        name, due = work.__name__, time.monotonic()
        times = self.times.setdefault(name, [])
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due, began = max(due + self._every, time.monotonic() - 1), time.monotonic()
            try:
                work()
            except Exception as error:
                self.failed.append(f"{name}: {error!r}"[:200])
            times.append(time.monotonic() - began)

    def _connected(self, door: str, source: str) -> socket.socket:
        port = int(self._site.listeners[door + self._suffix][0][1])
        plain = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(plain, server_hostname="127.0.0.1") if self._context else plain

    def echo(self) -> None:
        """A C-ECHO on an association of its own."""
        with RawScu.over(self._connected("dicom", MODALITY)) as scu:
            assert scu.associate([(VERIFICATION, IMPLICIT)], calling=b"CT01")[0] == 2
            assert scu.echo() == 0
            assert scu.release() == 6

    def query(self) -> None:
        """A worklist query for a day on an association of its own."""
        poller = Poller.across(self._connected("dicom", MODALITY), "BROKER", "CT01")
        try:
            assert poller.find(self._asked) > 0
            poller.end()
        finally:
            poller.close()

    def order(self) -> None:
        """An order on a connection of its own."""
        with Mllp.over(self._connected("hl7", RIS)) as ris:
            self._send(ris)

    def order_kept(self) -> None:
        """An order on a connection that stays."""
        kept, self._kept = self._kept or Mllp.over(self._connected("hl7", RIS)), None
        self._send(kept)
        self._kept = kept  # unless it failed

    def _send(self, ris: Mllp) -> None:
        number = next(self._numbers)
        answer = ris.exchange(order(number, start=f"2030032{number % 7}103000"))
        assert answer["MSA"][0][1] == "AA", answer

    def rest(self) -> None:
        """An order over REST, on a connection of its own."""
        step = {"ScheduledProcedureStepStartDate": "20300401"}
        document = json.dumps(documents.order(next(self._numbers), step=step))
        self._asked_web(201, "POST", "/api/v1/orders", document, {"Authorization": f"Bearer {TOKEN}"})

    def live(self) -> None:
        """`/health/live`, on a connection of its own."""
        self._asked_web(200, "GET", "/health/live", None, {})

    def _asked_web(self, status: int, method: str, path: str, body: str | None, headers: dict[str, str]) -> None:
        port, source = int(self._site.listeners["web"][0][1]), (MONITOR, 0)
        web = (
            http.client.HTTPConnection("127.0.0.1", port, 30, source)
            if self._web is None
            else http.client.HTTPSConnection("127.0.0.1", port, timeout=30, source_address=source, context=self._web)
        )
        try:
            web.request(method, path, body, {"Content-Type": "application/json", **headers})
            assert web.getresponse().status == status
        finally:
            web.close()


class Spent:
    """What a broker holds and writes from now on; its memory is looked at until `end`."""

    def __init__(self, site: Site) -> None:
        assert site.process is not None
        self.site, self.process = site, psutil.Process(site.process.pid)
        self.idle, self.files, self.log = self._rss(), self.process.num_fds(), len(site.logged())
        self._waited = self._run_delay()
        self.most, self._cpu, self._began = self.idle, sum(self.process.cpu_times()[:2]), time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _rss(self) -> int:
        return int(self.process.memory_info().rss)

    def _run_delay(self) -> float:
        """Seconds that the thread of the event loop has waited for a processor (proc(5), schedstat)."""
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
        except OSError:
            return 0.0

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, self._rss())

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()
        self._thread.join()
        seconds = time.monotonic() - self._began
        self.cpu = (sum(self.process.cpu_times()[:2]) - self._cpu) / seconds
        self.waited = (self._run_delay() - self._waited) / seconds

    @property
    def growth(self) -> float:
        """MiB above idle at most."""
        return (self.most - self.idle) / 2**20

    def logged(self) -> list[str]:
        """Lines of the log since then, but those of what known peers do."""
        lines = self.site.logged()[self.log :].splitlines()
        return [line for line in lines if not any(event in line for event in PEERS)]

    def stalls(self) -> list[str]:
        """Lines of the log about a loop that stood still."""
        return [line for line in self.logged() if "loop.stalled" in line]

    def back(self, seconds: float, files: int = 16, memory: float = 64) -> str:
        """What is not as before after so many seconds, empty if all is; `memory` in MiB may stay."""
        deadline, left = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            more, grown = self.process.num_fds() - self.files, (self._rss() - self.idle) / 2**20
            left = f"{more} descriptors" * (more > files) + f" {grown:.0f} MiB" * (grown > memory)
            if not left:
                return ""
            self._ended.wait(0.0)
            threading.Event().wait(0.1)
        return left


def fill(site: Site, count: int = 50) -> None:
    """Give the worklist of the day some exams."""
    with Mllp(site.hl7, source=RIS) as ris:
        for number in range(1, count + 1):
            assert ris.exchange(order(number))["MSA"][0][1] == "AA"


def few_descriptors(site: Site, number: int) -> None:
    """Let a running broker have only so many descriptors."""
    assert site.process is not None
    psutil.Process(site.process.pid).rlimit(psutil.RLIMIT_NOFILE, (number, number))
