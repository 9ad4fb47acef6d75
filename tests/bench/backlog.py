"""A backlog of a million deliveries: start, claims and memory of a broker whose destination was away for long.

    python tests/bench/backlog.py                                1,000,000 deliveries; 60 s of them are made
    python tests/bench/backlog.py --count 5000 --seconds 2       the short variant of CI

One object is received while its destination is away. The stopped broker's SQLite file gets copies of it, each with a
UID of its own and a delivery that waits. Then the time until all doors are open is taken, the destination comes back,
and the memory of the broker is looked at while it sends. The claims are timed by the function that the broker uses, on
the same file, before it starts: 64 jobs each time, which are put back as they were.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from support.bench import forwarder, options, storescu, write_files
from support.peers.peers import storescp
from support.peers.tools import wait_until
from support.service.site import Site

from broker.store import jobs
from broker.store.db.database import Database

LANE = "deliver:archive"
CLAIMS = 200
MOST = {"start": 5.0, "claim": 0.020}  # seconds
KEEP_UNDER = 32.0  # MiB that the memory may grow by while the backlog is sent


@contextmanager
def backlog(folder: Path, count: int) -> Iterator[tuple[Site, int]]:
    """A stopped broker with so many deliveries, and the port where their destination may come back."""
    with forwarder(folder / "broker") as (site, port):
        storescu(write_files(folder / "first", 1, 1024), site.dicom, "BROKER")
        assert site.rows("select count(*) from job where state <> 'done'")[0][0] == 1
        site.stop()
        began = time.monotonic()
        with closing(sqlite3.connect(site.data / "broker.db")) as database:
            database.execute("PRAGMA synchronous=OFF")
            for table, own in (("instance", "id"), ("content", "instance"), ("job", "id")):
                copy(database, table, own, count)
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        print(f"{count:,} deliveries were made in {time.monotonic() - began:.0f} s", flush=True)
        yield site, port


def copy(database: sqlite3.Connection, table: str, own: str, count: int) -> None:
    """Copies of the one row of a table, numbered."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    numbered = {own: f"{own} + n.value", "subject": "subject + n.value", "digest": "digest"}
    numbered["sop_instance_uid"] = "substr(sop_instance_uid, 1, 40) || '.' || n.value"
    values = ", ".join(numbered.get(name, name) for name in columns)
    database.execute(
        f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count - 1})"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, n"
        f" WHERE {own} = (SELECT min({own}) FROM {table})"
    )


def claims(site: Site) -> float:
    """Seconds of a claim, the median; prints the spread."""
    database = Database(f"sqlite:///{site.data / 'broker.db'}")
    times = []
    try:
        for _ in range(CLAIMS):
            began = time.perf_counter()
            found = database.submit(jobs.claim, LANE, "bench", time.time() + 3600, 60.0, 64).result(60)
            times.append(time.perf_counter() - began)
            assert found
            back = [lambda c, job=job: jobs.put_back(c, job, job.created_at, "", item_fault=False) for job in found]
            database.submit(jobs.report, back).result(60)
    finally:
        database.close()
    times.sort()
    median = statistics.median(times)
    print(f"  claim of 64: median {median * 1000:.1f} ms, p99 {times[-max(1, len(times) // 100)] * 1000:.1f} ms")
    return median


def drained(site: Site, port: int, folder: Path, seconds: float, count: int) -> float:
    """MiB that the broker's memory grew by while it sent for so long."""
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    target = folder / "archive"
    with storescp(target, "--fork", port=port):
        wait_until(lambda: len(os.listdir(target)) > min(500, count // 10), 60, "the backlog goes out")
        began, sent, seen = time.monotonic(), len(os.listdir(target)), [process.memory_info().rss / 2**20]
        while time.monotonic() < began + seconds and len(os.listdir(target)) < count:
            time.sleep(min(1.0, seconds / 5))
            seen.append(process.memory_info().rss / 2**20)
        rate = (len(os.listdir(target)) - sent) / (time.monotonic() - began)
    print(f"  sent {rate:.0f}/s; memory {seen[0]:.0f} MiB, at the end {seen[-1]:.0f} MiB, at most {max(seen):.0f} MiB")
    return max(seen) - seen[0]


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=1_000_000, seconds=60.0).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, backlog(Path(name), chosen.count) as (site, port):
        claim = claims(site)
        began = time.monotonic()
        site.start()
        start = time.monotonic() - began
        print(f"  start until all doors are open: {start:.1f} s")
        grown = drained(site, port, Path(name), chosen.seconds, chosen.count)
    for what, seen in (("start", start), ("claim", claim)):
        told(what, MOST[what] * 1000, seen * 1000, "ms")
    told("memory", KEEP_UNDER, grown, "MiB more")


def told(what: str, most: float, seen: float, unit: str) -> None:
    """What is asked beside what was seen."""
    print(f"  {what}: asked: at most {most:g} {unit}; seen: {seen:.1f}  {'met' if seen <= most else 'MISSED'}")


if __name__ == "__main__":
    main()
