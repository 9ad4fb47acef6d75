"""Compares this version of the broker with another one, both running, in one run.

    python tests/bench/beside.py /path/of/another/checkout/.venv/bin/python
    python tests/bench/beside.py … --rounds 11 --items 10000
    python tests/bench/beside.py … --only orders

Receiving, orders, worklist queries and delivery, each in turn by both. "other" is the version of the interpreter given.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import orders
import worklist
from support.bench import closed_port, quiet_site, rotated, storescu, table, write_files
from support.peers.peers import storescp
from support.peers.tools import wait_until
from support.service.site import Site, destination

RECEIVE = ((512 * 1024, 200, 1), (512 * 1024, 200, 8), (1024, 1000, 1), (1024, 1000, 8))
SEND = ((512 * 1024, 200), (1024, 1000))
PARTS = ["receive", "orders", "query", "deliver"]
Interpreters = Mapping[str, str]  # by the name of the version


def started(stack: ExitStack, site: Site, interpreter: str) -> Site:
    """A running broker of the version of an interpreter."""
    site.interpreter = interpreter
    return stack.enter_context(site)


def in_turn(rounds: int, title: str, count: int, one: Callable[[str, int], float]) -> None:
    """Measure `one(name, round)` of both so many times, after a round that does not count; print the table."""
    times: dict[str, list[float]] = {"this": [], "other": []}
    for number in range(-1, rounds):
        for name in rotated(list(times), number):
            seconds = one(name, number)
            if number >= 0:
                times[name].append(seconds)
    table(title, times, "other", count)


def receiving(folder: Path, pythons: Interpreters, rounds: int) -> None:
    """Objects from storescu."""
    folder.mkdir()
    with ExitStack() as stack:
        sites = {name: started(stack, quiet_site(folder / name), python) for name, python in pythons.items()}
        for size, count, associations in RECEIVE:

            def one(
                name: str, number: int, size: int = size, count: int = count, associations: int = associations
            ) -> float:
                files = write_files(folder / f"{name}-{size}-{associations}-{number}", count, size)
                return storescu(files, sites[name].dicom, "BROKER", associations)

            in_turn(rounds, f"receive: {count} objects of {size} bytes, {associations} association(s)", count, one)


def taking_orders(folder: Path, pythons: Interpreters, rounds: int, count: int = 1000) -> None:
    """New orders over MLLP."""
    with ExitStack() as stack:
        sites = {name: started(stack, quiet_site(folder / name), python) for name, python in pythons.items()}
        for connections in (1, 16):

            def one(name: str, number: int, connections: int = connections) -> float:
                messages = orders.messages(f"{connections:02d}{chr(66 + number)}", count)
                return orders.run(sites[name].hl7, messages, connections, False)[0]

            in_turn(rounds, f"{count} new orders on {connections} connection(s)", count, one)


def querying(folder: Path, pythons: Interpreters, rounds: int, items: int, count: int = 100) -> None:
    """Worklist queries, on a held association and on one each."""
    sites = {name: worklist.filled(folder / name, items, python) for name, python in pythons.items()}
    with ExitStack() as stack:
        servers = {name: worklist.Server(stack.enter_context(site).dicom, "BROKER") for name, site in sites.items()}
        for title, (asked, expected) in worklist.QUERIES.items():
            for way in (worklist.held, worklist.alone):

                def one(
                    name: str, number: int, way: Callable[..., float] = way, asked: bytes = asked, n: int = expected
                ) -> float:
                    return way(servers[name], asked, n, count) * count

                in_turn(rounds, f"query of {items} items: {title}, {way.__name__}", count, one)


def delivering(folder: Path, pythons: Interpreters, rounds: int) -> None:
    """What waits in the queue, to storescp: from the first object to the last."""
    with ExitStack() as stack:
        sites, ports = {}, {}
        for name, python in pythons.items():
            ports[name] = stack.enter_context(closed_port())
            rule = '[default]\naction = "send"\nsend = ["archive"]\n' + destination("archive", ports[name])
            delivery = {"delivery": {"retry_first": 0.1, "retry_last": 0.2}}
            sites[name] = started(stack, quiet_site(folder / name, delivery, rule), python)
        for size, count in SEND:

            def one(name: str, number: int, size: int = size, count: int = count) -> float:
                place = folder / f"{name}-{size}-{number}"
                place.mkdir()
                storescu(write_files(place / "files", count, size), sites[name].dicom, "BROKER")
                os.sync()  # nobody pays for what another left unwritten
                with storescp(place / "archive", port=ports[name]):
                    left = "select count(*) from job where state <> 'done'"
                    wait_until(lambda: sites[name].rows(left)[0][0] == 0, 120, "all is delivered")
                written = sorted(path.stat().st_mtime for path in (place / "archive").iterdir())
                return written[-1] - written[0]

            in_turn(rounds, f"deliver: {count} objects of {size} bytes, first to last", count - 1, one)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python interpreter of the other checkout's environment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="the parts to run")
    chosen = parser.parse_args()
    pythons = {"this": sys.executable, "other": chosen.other}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if "receive" in chosen.only:
            receiving(folder / "receive", pythons, chosen.rounds)
        if "orders" in chosen.only:
            taking_orders(folder / "orders", pythons, chosen.rounds)
        if "query" in chosen.only:
            querying(folder / "query", pythons, chosen.rounds, chosen.items)
        if "deliver" in chosen.only:
            delivering(folder / "deliver", pythons, chosen.rounds)


if __name__ == "__main__":
    main()
