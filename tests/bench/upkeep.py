"""Housekeeping beside traffic: purge, sweep, retention and outage copy while orders and images come.

    python tests/bench/upkeep.py                          500,000 objects and jobs
    python tests/bench/upkeep.py --count 5000 --seconds 5         the short variant of CI
    python tests/bench/upkeep.py --python /path/of/another/checkout/.venv/bin/python

Half of the objects were delivered 20 days ago and are to be purged, the others were purged long ago and their jobs are
to be thinned. There is one order for ten objects. A period of five seconds stands for an hour, so that every duty runs
all the time. Times of intake count from when an order or object was due, whatever is late.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import orders
from support import service
from support.bench import options, quiet_site
from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.dicom.raw import CT, EXPLICIT, RawScu
from support.service.site import Mllp, Site, destination
from support.store.filling import fill
from support.store.history import add_history

ORDERS, OBJECTS = 20.0, 20.0  # a second
GOAL, LONGEST = 100.0, 50.0  # ms


def site_of(folder: Path, python: str, count: int) -> Site:
    """A broker, not running, with such a past."""
    nowhere = '[default]\naction = "send"\nsend = ["archive"]\n' + destination("archive", 1)
    site = quiet_site(folder, {"delivery": {"retry_first": 600, "retry_last": 600}}, nowhere)
    site.interpreter = python
    with site:
        orders.run(site.hl7, orders.messages("f0", 1), 1, False)
    key = "f0000000"
    fill(site.data / "broker.db", max(2, count // 10), {k: f"'{k}.' || n.value" for k in (key, str(int(key, 36)))})
    began = time.monotonic()
    with sqlite3.connect(site.data / "broker.db") as connection:
        add_history(connection, count, site.data / "spool")
    connection.close()
    print(f"{count:,} objects and jobs were made in {time.monotonic() - began:.0f} s", flush=True)
    return site


def hurried(folder: Path, python: str) -> Path:
    """A command that stands for the interpreter and runs the broker with hurried duties."""
    script, module = folder / "python", Path(service.__file__).parent / "hurried.py"
    script.write_text(f'#!/bin/sh\nexec "{python}" "{module}" "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    return script


class Traffic:
    """Orders and objects at their due times."""

    def __init__(self, site: Site, seconds: float) -> None:
        self.times: dict[str, list[float]] = {"orders": [], "objects": []}
        self._ris, self._scu = Mllp(site.hl7, 120), RawScu(site.dicom, 120)
        assert self._scu.associate([(CT, EXPLICIT)])[0] == 2
        self._models = [ct_slice(size) for size in (8 * 1024, 100 * 1024)]
        began = time.monotonic()
        threads = [
            threading.Thread(target=self._run, args=(name, work, rate, began, seconds))
            for name, work, rate in (("orders", self._order, ORDERS), ("objects", self._object, OBJECTS))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._ris.close()
        self._scu.close()

    def _run(self, name: str, work: Callable[[int], None], rate: float, began: float, seconds: float) -> None:
        for number in range(int(seconds * rate)):
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            work(number)
            self.times[name].append(time.monotonic() - due)

    def _order(self, number: int) -> None:
        orders.exchange(self._ris.socket, orders.order(f"T{number:07d}"))

    def _object(self, number: int) -> None:
        model = self._models[number % 2]
        uid = fresh_uid(len(model.sop_instance))
        data = model.data.replace(model.sop_instance.encode(), uid.encode())
        assert self._scu.store(Encoded(model.sop_class, uid, model.transfer_syntax, data)) == 0


def left(site: Site) -> dict[str, int]:
    """What the duties still have to do."""
    (still,) = site.rows("select count(*) from instance where state = 'routed' and received_at < 2e9 and id in "
                         "(select subject from job where state = 'done')")  # fmt: skip
    (jobs,) = site.rows("select count(*) from job where state = 'done'")
    return {"objects to purge": still[0], "done jobs": jobs[0]}


def shown(name: str, seconds: Sequence[float]) -> float:
    """Print a line; p99 in ms."""
    cut = sorted(seconds)
    p99 = cut[min(len(cut) - 1, len(cut) * 99 // 100)] * 1000
    print(f"  {name:8} {len(cut):6}   p50 {statistics.median(cut) * 1000:7.1f} ms   p99 {p99:8.1f} ms   "
          f"max {cut[-1] * 1000:8.1f} ms")  # fmt: skip
    return p99


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=500_000, seconds=60.0, python=sys.executable).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        site = site_of(folder / "broker", chosen.python, chosen.count)
        site.interpreter = str(hurried(folder, chosen.python))
        notes = folder / "notes.json"
        site.environment = {"BROKER_HURRIED": str(notes), "PYTHONPATH": os.pathsep.join(sys.path[:1])}
        site.start()
        try:
            traffic = Traffic(site, chosen.seconds)
            wal = (site.data / "broker.db-wal").stat().st_size / 2**20
            print(f"\nupkeep of {chosen.count:,} objects and jobs beside {ORDERS:g} orders and {OBJECTS:g} objects a "
                  f"second, {chosen.seconds:g} s; left: {left(site)}; WAL {wal:.0f} MiB")  # fmt: skip
            time.sleep(2)  # the last notes are written
        finally:
            site.kill()  # a broker whose writer is held for long would not stop in time
        p99 = max(shown(*pair) for pair in traffic.times.items())
        told = json.loads(notes.read_text(encoding="utf-8"))
    print(f"  {told['count']} transactions, p99 {told['p99']:.1f} ms; the longest:")
    for spent, worked, held in told["longest"][:6]:
        print(f"    {spent:8.1f} ms, {worked:.1f} ms of the processor  {held}")
    longest = told["longest"][0][0]
    for text, seen, goal in (("p99 of intake", p99, GOAL), ("the longest transaction", longest, LONGEST)):
        print(f"  asked: {text} under {goal:g} ms; seen: {seen:.1f}  {'met' if seen < goal else 'MISSED'}")


if __name__ == "__main__":
    main()
