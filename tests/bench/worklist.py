"""Worklist queries: the broker beside DCMTK's wlmscpfs and Orthanc's worklist plugin, and the broker at any size.

    python tests/bench/worklist.py                     peers up to 10,000 items, the broker up to 1,000,000
    python tests/bench/worklist.py --rounds 1 --peers 100 --items 2000 --count 5 --seconds 3     the short variant of CI

All serve the same items: 30 for each station and day, 100 stations, then the next day; all open. One client for all, a
blocking socket that sends prepared bytes and counts the answers (`support.worklist.polling`); its own time is printed.
Each query is asked over an association that is held, and with an association of its own, as devices do.
The last part: 100 modalities, each asking every 5 s over an association of its own, while 20 orders a second come in.
"""

from __future__ import annotations

import heapq
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Target, options, quiet_site, report, rotated
from support.peers.dcmtk import worklist_files
from support.peers.peers import orthanc
from support.peers.tools import background, free_port, waits
from support.service.site import Mllp, Site, order
from support.store.filling import fill
from support.worklist.polling import Poller, once, request
from support.worklist.worklist import DATE, SPS, STATION, TIME, dataset

ORTHANC = {"Plugins": ["/usr/share/orthanc/plugins/libModalityWorklists.so"], "DicomAlwaysAllowFindWorklist": True}
LIMITS = {"limits": {"associations_per_second": 100_000}}  # the door's own brake is not what is measured
FIRST, DAY, PLACE = 10_000_000, "20260312", "ST000"
PER_DAY, STATIONS = 30, 100  # items of a station on a day
EMPTY: dict[Any, Any] = {
    "PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "PatientWeight": "",
    "AccessionNumber": "", "RequestedProcedureID": "", "StudyInstanceUID": "", "ReferringPhysicianName": "",
    "RequestedProcedureDescription": "", "RequestedProcedureCodeSequence": [], "MedicalAlerts": "",
    "RequestingPhysician": "", "AdmissionID": "", "CurrentPatientLocation": "",
}  # fmt: skip
STEP: dict[Any, Any] = {
    STATION: "", DATE: "", TIME: "", "Modality": "", "ScheduledProcedureStepID": "",
    "ScheduledProcedureStepDescription": "", "ScheduledProtocolCodeSequence": [],
    "ScheduledPerformingPhysicianName": "", "ScheduledStationName": "",
}  # fmt: skip


def station_day(station: int) -> bytes:
    """What a device asks in the morning."""
    return request({**EMPTY, SPS: [{**STEP, STATION: f"ST{station:03d}", DATE: DAY, "Modality": "CT"}]})


QUERIES = {
    "a day of one station": (station_day(0), PER_DAY),
    "an accession number": (request({**EMPTY, "AccessionNumber": f"A{FIRST + 7}", SPS: [STEP]}), 1),
    "a beginning of names": (request({**EMPTY, "PatientName": f"BENCH^N{FIRST // 10 + 1}*", SPS: [STEP]}), 10),
}
EVERYTHING = request({**EMPTY, SPS: [STEP]})


@dataclass(frozen=True, slots=True)
class Server:
    """A running worklist."""

    port: int
    called: str


def first_order(number: int = FIRST, station: str = PLACE) -> str:
    """A new order of a new patient."""
    return order(number, station=station, start=f"{DAY}103000", name=f"BENCH^N{number}")


def filled(folder: Path, count: int, interpreter: str = sys.executable) -> Site:
    """A broker, not running, that holds so many items."""
    site = quiet_site(folder, LIMITS)
    site.interpreter = interpreter
    with site, Mllp(site.hl7) as ris:
        answer = ris.exchange(first_order())
        assert answer["MSA"][0][1] == "AA", answer
    place = f"'ST' || printf('%03d', n.value / {PER_DAY} % {STATIONS})"
    day = f"strftime('%Y%m%d', '2026-03-12', '+' || (n.value / {PER_DAY * STATIONS}) || ' days')"
    changes = {str(FIRST): f"{FIRST} + n.value", PLACE: place, DAY: day}
    fill(site.data / "broker.db", count, changes)
    return site


def write_items(folder: Path, document: Mapping[str, Any], count: int) -> None:
    """The same items as files."""
    worklist_files(folder, dataset(dict(document)))
    model = (folder / "0.wl").read_bytes()
    days = [time.strftime("%Y%m%d", time.gmtime(1773273600 + 86400 * n)).encode() for n in range(count // 3000 + 1)]
    assert days[0] == DAY.encode()
    for number in range(count):
        slot = number // PER_DAY
        data = model.replace(str(FIRST).encode(), str(FIRST + number).encode())
        data = data.replace(PLACE.encode(), f"ST{slot % STATIONS:03d}".encode())
        (folder / f"{number}.wl").write_bytes(data.replace(DAY.encode(), days[slot // STATIONS]))


@contextmanager
def servers(folder: Path, count: int) -> Iterator[dict[str, Server]]:
    """The broker and its peers by name, all running with `count` items."""
    folder.mkdir()
    site = filled(folder / "broker", count)
    document = json.loads(site.rows("select answer from scheduled_step where id = 1")[0][0])
    write_items(folder / "WORKLIST", document, count)
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(site)
        words = ("--quiet", "-dfp", folder, str(port))
        stack.enter_context(background("wlmscpfs", *words, ready=lambda: waits(port), cwd=folder))
        worklists = {"Enable": True, "Database": str(folder / "WORKLIST")}
        peer = stack.enter_context(orthanc(folder / "orthanc", Worklists=worklists, **ORTHANC))
        yield {
            "broker": Server(site.dicom, "BROKER"),
            "dcmtk": Server(port, "WORKLIST"),
            "orthanc": Server(peer.dicom, "ORTHANC"),
        }


def held(server: Server, asked: bytes, expected: int, count: int) -> float:
    """Seconds for each of `count` queries over one association."""
    poller = Poller.open(server.port, server.called)
    began = time.perf_counter()
    for _ in range(count):
        assert poller.find(asked) == expected
    seconds = time.perf_counter() - began
    poller.end()
    return seconds / count


def alone(server: Server, asked: bytes, expected: int, count: int) -> float:
    """Seconds for each of `count` queries with an association of its own."""
    whole = 0.0
    for _ in range(count):
        found, seconds = once(server.port, server.called, asked)
        assert found == expected, found
        whole += seconds
    return whole / count


WAYS: dict[str, Callable[[Server, bytes, int, int], float]] = {"held association": held, "own association": alone}


def measured(
    peers: Mapping[str, Server], asked: bytes, expected: int, way: str, rounds: int, count: Callable[[str], int]
) -> dict[str, list[float]]:
    """Seconds for a query of each peer in each round."""
    times: dict[str, list[float]] = {}
    for server in peers.values():
        WAYS[way](server, asked, expected, 1)
    for number in range(rounds):
        for name in rotated(list(peers), number):
            times.setdefault(name, []).append(WAYS[way](peers[name], asked, expected, count(name)))
    return times


def beside_others(folder: Path, count: int, rounds: int, ours: int) -> None:
    """The tables of one size. The peers, which read all their files each time, are asked once in a round."""
    with servers(folder / f"peers{count}", count) as peers:
        for title, (asked, expected) in QUERIES.items():
            for way in WAYS:
                times = measured(peers, asked, expected, way, rounds, lambda name: ours if name == "broker" else 1)
                wanted = [Target("dcmtk", least=10)] if count >= 10_000 and expected == PER_DAY else []
                report(f"{count:,} items: {title}, {expected} answers, {way}", times, "broker", wanted, 1)


def full_answer(folder: Path, count: int, rounds: int, ours: int) -> None:
    """Everything of a worklist that has no more."""
    with servers(folder / "full", count) as peers:
        for way in WAYS:
            times = measured(peers, EVERYTHING, count, way, rounds, lambda name: ours if name == "broker" else 3)
            report(f"all of {count} items, {way}", times, "broker", [Target("dcmtk", most=1)], 1)


def grown(folder: Path, count: int, rounds: int, ours: int) -> None:
    """The broker with 1,000 items and with `count`."""
    few, many = filled(folder / "few", 1000), filled(folder / "many", count)
    with few, many:
        names = {"1,000 items": Server(few.dicom, "BROKER"), f"{count:,} items": Server(many.dicom, "BROKER")}
        wanted = [Target("1,000 items", most=1.5)]
        for title, (asked, expected) in QUERIES.items():
            for way in WAYS:
                times = measured(names, asked, expected, way, rounds, lambda _: ours)
                report(f"broker: {title}, {expected} answers, {way}", times, f"{count:,} items", wanted, 1)


class Hospital:
    """Modalities that ask every 5 s, and a RIS that sends orders all the time. Due times are kept, whatever is late."""

    def __init__(self, site: Site, seconds: float, modalities: int = STATIONS, orders: int = 20) -> None:
        self.answers: list[float] = []  # seconds from when it was due to the end of release
        self.accepted: list[float] = []
        self._site = site
        self._lock = threading.Lock()
        began = time.perf_counter()
        self._due = [(began + 0.5 + 5 * n / modalities, n) for n in range(modalities)]
        self._until = began + 0.5 + seconds
        self._orders = [began + 0.5 + n / orders for n in range(int(seconds * orders))]
        workers = [threading.Thread(target=self._ask) for _ in range(12)] + [threading.Thread(target=self._order)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(self.accepted) == len(self._orders), "the RIS failed"

    def _ask(self) -> None:
        while True:
            with self._lock:
                due, number = self._due[0]
                if due > self._until:
                    return
                heapq.heapreplace(self._due, (due + 5, number))
            time.sleep(max(0.0, due - time.perf_counter()))
            count, _ = once(self._site.dicom, "BROKER", station_day(number), f"ST{number:03d}")
            assert count >= PER_DAY, count
            self.answers.append(time.perf_counter() - due)

    def _order(self) -> None:
        with Mllp(self._site.hl7) as ris:
            for number, due in enumerate(self._orders):
                time.sleep(max(0.0, due - time.perf_counter()))
                text = first_order(2 * FIRST + number, f"ST{number % STATIONS:03d}")
                assert ris.exchange(text)["MSA"][0][1] == "AA"
                self.accepted.append(time.perf_counter() - due)


def polled(folder: Path, count: int, seconds: float) -> None:
    """Many modalities at once while orders flow in."""
    with filled(folder / "polled", count) as site:
        Hospital(site, 2)  # caches of the first moments
        with Mllp(site.hl7):
            hospital = Hospital(site, seconds)
    print(f"\n{count:,} items, {STATIONS} modalities asking every 5 s, 20 orders a second, {seconds:g} s")
    for name, times in (("queries", hospital.answers), ("orders", hospital.accepted)):
        cut = sorted(times)
        p99 = cut[min(len(cut) - 1, len(cut) * 99 // 100)]
        print(
            f"  {name:10} {len(cut):6}   p50 {statistics.median(cut) * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms   "
            f"max {cut[-1] * 1000:7.1f} ms"
        )
        if name == "queries":
            print(f"  asked: p99 below 100 ms; seen: {p99 * 1000:.1f} ms  {'met' if p99 < 0.1 else 'MISSED'}")


def main() -> None:
    """Run and print."""
    parser = options(__doc__, peers=10_000, items=1_000_000, count=100, full=500, seconds=60.0, part="")
    chosen = parser.parse_args()
    sizes = [size for size in (100, 1000, 10_000) if size <= chosen.peers]
    parts: dict[str, Callable[[Path], None]] = {
        **{
            f"peers{size}": lambda at, size=size: beside_others(at, size, chosen.rounds, chosen.count) for size in sizes
        },
        "full": lambda at: full_answer(at, chosen.full, chosen.rounds, max(1, chosen.count // 5)),
        "grown": lambda at: grown(at, chosen.items, chosen.rounds, chosen.count),
        "polled": lambda at: polled(at, max(chosen.peers, PER_DAY * STATIONS), chosen.seconds),
    }
    spent = time.process_time()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for part, run in parts.items():
            if part.startswith(chosen.part):
                run(Path(name))
    print(f"\nthe client's own processor time in all: {time.process_time() - spent:.1f} s")


if __name__ == "__main__":
    main()
