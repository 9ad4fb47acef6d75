"""What a dead, a slow and a poisonous destination cost a healthy one, and a poisonous object those behind it.

    python tests/bench/lanes.py                              10,000 objects, 100 a second, three times
    python tests/bench/lanes.py --count 100 --poison abort   the short variant of CI

Each object goes to all destinations of a broker. The wait of a delivery is the time from its reception to the answer of
the destination, by the broker's own records. Three brokers, one after the other:
- `alone`: the healthy destination and no other;
- `beside`: with one that is dead (nobody listens), one that is slow (half a second for each answer) and one to which
  one object in 200 is poison: it aborts the association on it, or answers A700 (`--poison A700`);
- `sound`: as `beside`, but nothing is poison.
At the end somebody listens where the dead one was, and all of its objects must arrive.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import closed_port, options, quiet_site
from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.dicom.raw import CT, EXPLICIT, RawScu
from support.peers.peers import storescp
from support.peers.tools import background, free_port, listens, wait_until
from support.service.site import Site, destination

RATE = 100.0  # objects a second
EVERY = 200  # one object of so many is poison
SLOW = 0.5  # seconds
DELIVERY = {"retry_first": 1, "retry_last": 5}


def objects(count: int) -> list[Encoded]:
    """CT slices of 4 KiB that differ in their SOP Instance UID."""
    model = ct_slice(4096)
    made = []
    for _ in range(count):
        uid = fresh_uid(len(model.sop_instance))
        data = model.data.replace(model.sop_instance.encode(), uid.encode())
        made.append(Encoded(model.sop_class, uid, model.transfer_syntax, data))
    return made


@contextmanager
def sink(folder: Path, name: str, *options_: str) -> Iterator[int]:
    """A simulated destination; its port."""
    place, port = folder / name, free_port()
    place.mkdir()
    arguments = ["-m", "broker", "simulate", "pacs", "--port", str(port), "--ae-title", name.upper(), *options_]
    with background(sys.executable, *arguments, ready=lambda: listens(port), cwd=place):
        yield port


def send(site: Site, items: Sequence[Encoded]) -> None:
    """Send at the rate, over one association."""
    scu = RawScu(site.dicom, 120)
    assert scu.associate([(CT, EXPLICIT)])[0] == 2
    began = time.monotonic()
    for number, one in enumerate(items):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        assert scu.store(one) == 0


def waits(site: Site, lane: str, poison: Sequence[str]) -> list[float]:
    """Seconds that deliveries of a lane waited, without those of poison."""
    rows = site.rows(
        "select i.sop_instance_uid, j.done_at - i.received_at from job j join instance i on i.id = j.subject"
        f" where j.lane = 'deliver:{lane}' and j.state = 'done'"
    )
    return sorted(seconds for uid, seconds in rows if uid not in set(poison))


def missing(site: Site, lane: str) -> int:
    """Deliveries of a lane that are not done."""
    unfinished = f"lane = 'deliver:{lane}' and state not in ('done', 'held')"
    return int(site.rows(f"select count(*) from job where {unfinished}")[0][0])


def run(folder: Path, count: int, *, others: bool, poison: str) -> dict[str, list[float]]:
    """Send to a broker; the waits by lane."""
    items = objects(count)
    bad = [one.sop_instance for one in items[EVERY // 2 :: EVERY]] if poison else []
    folder.mkdir()
    with ExitStack() as stack:
        dead = stack.enter_context(closed_port())  # before anybody has used ports
        ports = {"healthy": stack.enter_context(sink(folder, "healthy"))}
        if others:
            faults = [f"--abort-on={uid}" if poison == "abort" else f"--status-for={uid}={poison}" for uid in bad]
            ports["slow"] = stack.enter_context(sink(folder, "slow", "--delay", str(SLOW)))
            ports["poisonous"] = stack.enter_context(sink(folder, "poisonous", *faults))
            ports["dead"] = dead
        names = ", ".join(f'"{name}"' for name in ports)
        nodes = "".join(destination(name, port) for name, port in ports.items())
        text = f'[default]\naction = "send"\nsend = [{names}]\n{nodes}'
        site = stack.enter_context(quiet_site(folder / "broker", {"delivery": DELIVERY}, text))
        send(site, items)
        lanes = ["healthy", "poisonous"] if others else ["healthy"]
        for lane in lanes:
            left = len(bad) if lane == "poisonous" else 0
            wait_until(lambda lane=lane, left=left: missing(site, lane) <= left, 300, f"the lane {lane} is through")
        found = {lane: waits(site, lane, bad) for lane in lanes}
        for lane in lanes:
            assert len(found[lane]) >= count - len(bad), (lane, len(found[lane]))
        if others and poison:
            with storescp(folder / "returned", "--fork", port=ports["dead"]):
                began = time.monotonic()
                wait_until(lambda: missing(site, "dead") == 0, 600, "the one that was dead has all")
                assert len(os.listdir(folder / "returned")) == count
                print(f"  the one that was dead has all {count} after {time.monotonic() - began:.1f} s")
    return found


def shown(name: str, seconds: Sequence[float]) -> float:
    """Print the spread; the median in seconds."""
    p99 = seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)]
    median = statistics.median(seconds)
    told = [f"{what} {value * 1000:9.1f} ms" for what, value in (("median", median), ("p99", p99))]
    print(f"  {name:22} {'   '.join(told)}   mean {statistics.mean(seconds) * 1000:9.1f} ms")
    return median


def asked(what: str, ratio: float, most: float) -> None:
    """What is asked beside what was seen."""
    print(f"  {what}: asked: at most {most} x; seen: {ratio:.2f} x  {'met' if ratio <= most else 'MISSED'}")


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=10_000, poison="abort").parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        root = Path(name)
        print(f"\nlanes: {chosen.count} objects, {RATE:g} a second, poison: {chosen.poison}")
        alone = run(root / "alone", chosen.count, others=False, poison="")["healthy"]
        sound = run(root / "sound", chosen.count, others=True, poison="")
        beside = run(root / "beside", chosen.count, others=True, poison=chosen.poison)
    base = shown("healthy, alone", alone)
    healthy = shown("healthy, beside others", beside["healthy"])
    without = shown("the lane without poison", sound["poisonous"])
    poisonous = shown("the lane with poison", beside["poisonous"])
    asked("healthy beside others", healthy / base, 1.2)
    asked("the lane with poison", poisonous / without, 1.5)
    asked("the same, by its mean", statistics.mean(beside["poisonous"]) / statistics.mean(sound["poisonous"]), 1.5)


if __name__ == "__main__":
    main()
