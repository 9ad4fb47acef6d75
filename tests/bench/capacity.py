"""The capacity table of the runbook: what one broker does on this machine, on SQLite and on PostgreSQL.

    python tests/bench/capacity.py                     the best of three rounds, about two minutes
    python tests/bench/capacity.py --rounds 1 --seconds 1          a sign of life

Client and broker share the machine, and the database stands on its disk. Each number is the median of the seconds of a
round. Orders come over 16 connections, queries and objects over one association each; every answer comes after the
commit. Memory is that of the broker's first process at the end (resident). Disk is what the database grows by 1,000
orders of one step each; images come on top with their bytes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from support.bench import options
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.service.site import Mllp, Site, order
from support.store import postgresql
from support.worklist.polling import Poller, request

CONNECTIONS = 16
TITLES = (
    "database", "orders/s", "C-FIND/s", "1 KiB objects/s", "512 KiB objects/s", "memory, MiB", "MiB for 1,000 orders",
)  # fmt: skip
SMALL, LARGE = 1024, 512 * 1024  # bytes
HOLD = '[default]\naction = "hold"\n'


def per_second(work: Callable[[], object], seconds: float) -> float:
    """How often something is done in a second: the median of all seconds."""
    counts: list[float] = []
    for _ in range(max(1, round(seconds))):
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < 1:
            work()
            count += 1
        counts.append(count / passed)
    return statistics.median(counts)


class Orders:
    """A RIS with several connections; each order is new."""

    def __init__(self, site: Site) -> None:
        self._site, self._next, self._lock = site, 0, threading.Lock()
        self.sent = 0

    def rate(self, seconds: float) -> float:
        """Orders in a second over all connections."""
        rates: list[float] = []
        threads = [threading.Thread(target=self._send, args=(seconds, rates)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rates)

    def _send(self, seconds: float, rates: list[float]) -> None:
        with Mllp(self._site.hl7) as ris:
            rates.append(per_second(lambda: self._one(ris), seconds))

    def _one(self, ris: Mllp) -> None:
        with self._lock:
            self._next += 1
            number = self._next
        assert ris.exchange(order(number))["MSA"][0][1] == "AA"
        with self._lock:
            self.sent += 1


def objects(site: Site, size: int, seconds: float) -> tuple[float, int]:
    """Objects of a size in a second, and how many there were."""
    count = 0
    with RawScu(site.dicom) as modality:
        first = ct_slice(size)
        modality.associate([(first.sop_class, first.transfer_syntax)])

        def one() -> None:
            nonlocal count
            count += 1
            assert modality.store(ct_slice(size)) == 0

        return per_second(one, seconds), count


def measured(site: Site, url: str, seconds: float) -> list[float]:
    """One round: orders, queries, small and large objects in a second; memory and disk in MiB."""
    ris, before = Orders(site), kept(site, url)
    orders = ris.rate(seconds)
    disk = 1000 * (kept(site, url) - before) / ris.sent / 2**20
    poller = Poller.open(site.dicom, "BROKER")
    day = request({"ScheduledProcedureStepSequence": [], "PatientID": "QZPAT1", "PatientName": ""})
    queries = per_second(lambda: poller.find(day), seconds)
    poller.end()
    small, _ = objects(site, SMALL, seconds)
    large, _ = objects(site, LARGE, seconds)
    pid = json.loads((site.data / "listeners.json").read_text(encoding="utf-8"))["pid"]
    return [orders, queries, small, large, psutil.Process(pid).memory_info().rss / 2**20, disk]


def kept(site: Site, url: str) -> int:
    """Bytes of the database."""
    if url:
        return int(postgresql.rows(url, "SELECT pg_database_size(current_database())")[0][0])
    return int(site.rows("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")[0][0])


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, seconds=5)
    parser.set_defaults(rounds=3)
    chosen = parser.parse_args()
    rows = []
    for kind in ("sqlite", "postgresql"):
        rounds = []
        for _ in range(chosen.rounds):
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capacity-")))
                url = ""
                if kind == "postgresql":
                    url = postgresql.create(stack.enter_context(postgresql.server()), "capacity")
                with Site(folder / "site", site=HOLD, database_url=url, config={"log": {"level": "warning"}}) as site:
                    rounds.append(measured(site, url, chosen.seconds))
        best = [max(column) for column in list(zip(*rounds, strict=True))[:4]]
        memory, disk = (statistics.median(one[column] for one in rounds) for column in (4, 5))
        rows.append([kind, *(f"{value:.0f}" for value in best), f"{memory:.0f}", f"{disk:.1f}"])
    for row in (TITLES, *rows):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
