"""A soak: a hospital works on one broker for a long time, and the memory of the broker is watched.

    python tests/bench/soak.py                              an hour at the usual load
    python tests/bench/soak.py --minutes 10 --times 3       ten minutes at three times the load
    python tests/bench/soak.py --minutes 0.2                a sign of life

The usual load, in each second: two orders, four objects (one of them of 600 KB), four queries of changing devices, and
every other second an MPPS from N-CREATE to N-SET. Objects are delivered and a RIS is told. An order is cancelled once
600 newer ones are there (after five minutes), so that the worklist does not grow without end. Every 10 s the resident
memory is read. At the end comes its slope by least squares over the second half, when the caches are full, and what the
broker says of the sizes of its caches (`broker_cache_bytes`, `broker_cache_entries`, `broker_memory_bytes`).
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from support.bench import dcmtk_scp, options, quiet_site
from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.dicom.raw import CT, EXPLICIT, IMPLICIT, RawScu
from support.hl7.receiver import Ris, ris_node
from support.mpps.performed import MPPS, bytes_of, create_rq, creation, final, item, set_rq
from support.service.site import Mllp, Site, destination, order
from support.worklist.polling import once, request
from support.worklist.worklist import DATE, SPS, STATION

EVERY = 10.0  # seconds between two looks at the memory
DEVICES = 40
FIRST = 1_000_000  # number of the first order
OPEN = 600  # orders, beyond which the oldest is cancelled
Work = Callable[[int], None]


class Load:
    """Threads that each do one kind of work so many times a second, until the end."""

    def __init__(self, site: Site, times: float) -> None:
        self.done: dict[str, int] = {}
        self.failed: list[str] = []
        self._site = site
        self._ending = threading.Event()
        self._ris = Mllp(site.hl7)
        self._scu = RawScu(site.dicom)
        assert self._scu.associate([(CT, EXPLICIT)])[0] == 2
        self._models = [ct_slice(size, StudyInstanceUID=f"2.999.7.{FIRST}") for size in (8 * 1024, 600 * 1024)]
        works: tuple[tuple[Work, float], ...] = (
            (self._order, 2), (self._object, 4), (self._query, 4), (self._performed, 0.5),
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._run, args=(work, rate * times)) for work, rate in works]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop all of it."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._ris.close()
        self._scu.close()

    def _run(self, work: Work, rate: float) -> None:
        name, number, due = work.__name__.strip("_"), 0, time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            number, due = number + 1, max(due + 1 / rate, time.monotonic() - 1)
            try:
                work(number)
            except Exception as error:
                self.failed.append(f"{name}: {error!r}")
                if len(self.failed) > 20:
                    return
            self.done[name] = number

    def _order(self, number: int) -> None:
        self._say(number, "NW")
        if number > OPEN:
            self._say(number - OPEN, "CA", status="CA")

    def _say(self, number: int, control: str, **more: str) -> None:
        words = {"station": f"DEV{number % DEVICES:03d}", "name": f"SOAK{number}^N", "patient": "SOAK", **more}
        answer = self._ris.exchange(order(FIRST + number, control=control, **words))
        assert answer["MSA"][0][1] == "AA", answer

    def _object(self, number: int) -> None:
        model = self._models[number % 4 == 0]
        uid, study = fresh_uid(len(model.sop_instance)), f"2.999.7.{FIRST + number // 20}"
        data = model.data.replace(model.sop_instance.encode(), uid.encode())
        data = data.replace(f"2.999.7.{FIRST}".encode(), study.encode())
        assert self._scu.store(Encoded(model.sop_class, uid, model.transfer_syntax, data)) == 0

    def _query(self, number: int) -> None:
        station = f"DEV{number % DEVICES:03d}"
        keys = {"PatientName": random.choice(("", "SOAK1*")), "PatientID": "", "AccessionNumber": "",
                SPS: [{STATION: station, DATE: "20300312-" if number % 3 else "20300312", "Modality": ""}]}  # fmt: skip
        once(self._site.dicom, "BROKER", request(keys), station)

    def _performed(self, number: int) -> None:
        uid = fresh_uid()
        with RawScu(self._site.dicom) as scu:
            assert scu.associate([(MPPS, IMPLICIT)], calling=b"CT01")[0] == 2
            for sent in (
                create_rq(uid, bytes_of(creation(item(FIRST + number), patient=f"SOAK{FIRST + number}"))),
                set_rq(uid, bytes_of(final())),
            ):
                scu.send(*sent)
                assert scu.status() in (0, 0x0107, 0xB000, 0x0116), "the MPPS was refused"
            scu.release()


def slope(points: list[tuple[float, float]]) -> float:
    """MiB a minute by least squares; points are seconds and MiB."""
    count = len(points)
    if count < 2:
        return 0.0
    middle, mean = sum(at for at, _ in points) / count, sum(size for _, size in points) / count
    spread = sum((at - middle) ** 2 for at, _ in points)
    return 60 * sum((at - middle) * (size - mean) for at, size in points) / spread


def caches(web: str) -> list[str]:
    """What the broker says of its caches, the largest first."""
    with urllib.request.urlopen(f"{web}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    wanted = [line for line in lines if line.startswith(("broker_cache_", "broker_memory_"))]
    return sorted(wanted, key=lambda line: -float(line.rpartition(" ")[2]))


def watch(site: Site, minutes: float) -> list[tuple[float, float]]:
    """Resident memory of the broker until the time is over; seconds and MiB."""
    assert site.process is not None
    process, points, began = psutil.Process(site.process.pid), [], time.monotonic()
    while (at := time.monotonic() - began) < minutes * 60:
        points.append((at, process.memory_info().rss / 2**20))
        if len(points) % 6 == 1:
            print(f"  {at / 60:5.1f} min   {points[-1][1]:7.1f} MiB", flush=True)
        time.sleep(min(EVERY, minutes * 6))
    return points


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, minutes=60.0, times=1.0, python=sys.executable).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Ris() as ris:
        folder = Path(name)
        with dcmtk_scp(folder, "archive", "--ignore") as archive:
            site_text = destination("archive", archive.port) + ris_node(ris.port, events=["started", "completed"])
            site = quiet_site(folder / "broker", {}, '[default]\naction = "send"\nsend = ["archive"]\n' + site_text)
            site.interpreter = chosen.python
            with site:
                load = Load(site, chosen.times)
                points = watch(site, chosen.minutes)
                load.end()
                print("\n".join(caches(site.web)))
    late = points[len(points) // 2 :]
    print(f"done: {load.done}; failed: {load.failed[:3]}")
    first, last, seen = points[0][1], points[-1][1], slope(late)
    print(f"soak of {chosen.minutes:g} min at {chosen.times:g} x: {first:.1f} MiB at first, {last:.1f} at last")
    met = "met" if seen < 0.05 else "MISSED"
    print(f"  slope over the second half: {seen:.3f} MiB a minute; asked: under 0.05  {met}")


if __name__ == "__main__":
    main()
