"""SIGKILL at named points, under load: what was acknowledged is there, once, and delivered (CR-01 … CR-09, CR-16)."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.site import Mllp, Site, destination, order

POINTS = (
    "spool.write", "spool.sync", "spool.synced", "store.commit", "store.committed", "dicom.answer", "dicom.answered",
    "hl7.answer", "delivery.send", "delivery.sent",
)  # fmt: skip

RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["archive"]
"""


class Modality(threading.Thread):
    """Sends the objects it still owes until the broker dies; what is acknowledged is owed no more."""

    def __init__(self, port: int, owed: list[Encoded], acknowledged: dict[str, bytes]) -> None:
        super().__init__()
        self._port, self._owed, self._acknowledged = port, owed, acknowledged

    def run(self) -> None:
        """One association."""
        try:
            with RawScu(self._port) as modality:
                first = self._owed[0]
                if modality.associate([(first.sop_class, first.transfer_syntax)])[0] != 2:
                    return
                while self._owed and modality.store(self._owed[0]) == 0x0000:
                    done = self._owed.pop(0)
                    self._acknowledged[done.sop_instance] = done.data
        except OSError:
            return


class Ris(threading.Thread):
    """Sends orders one by one; the first unanswered one comes again in the next round, byte by byte the same."""

    def __init__(self, port: int, owed: list[int], acknowledged: set[int]) -> None:
        super().__init__()
        self._port, self._owed, self._acknowledged = port, owed, acknowledged

    def run(self) -> None:
        """One connection."""
        try:
            with Mllp(self._port) as connection:
                while self._owed:
                    number = self._owed[0]
                    answer = connection.exchange(order(number))
                    if not answer:
                        return
                    assert answer["MSA"][0][1] == "AA", answer
                    self._acknowledged.add(number)
                    self._owed.pop(0)
        except OSError:
            return


def one_round(site: Site, point: str, passage: int, senders: Callable[[Site], list[threading.Thread]]) -> bool:
    """Start, load until the named point kills the broker; whether it did."""
    site.faults.write_text("", encoding="ascii")
    site.start()
    site.faults.write_text(f"{point} kill:{passage}\n", encoding="ascii")
    threads = senders(site)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert site.process is not None
    try:
        assert site.process.wait(5) == -9, site.logged()[-2000:]
    except subprocess.TimeoutExpired:  # the load was over before the point was passed so often
        site.kill()
        return False
    return True


def soak(site: Site, rounds: int, archive: Path, query: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Kill `rounds` times, then let it finish and compare every acknowledgement with rows and deliveries."""
    images: dict[str, bytes] = {}
    orders: set[int] = set()
    numbers = itertools.count(1)
    sizes = itertools.cycle((2048, 40_000))  # in the database, in a file
    owed = [[ct_slice(next(sizes)) for _ in range(6)] for _ in range(2)]
    owed_orders = [next(numbers) for _ in range(6)]

    def senders(running: Site) -> list[threading.Thread]:
        for debts in owed:
            debts.extend(ct_slice(next(sizes)) for _ in range(8 - len(debts)))
        owed_orders.extend(next(numbers) for _ in range(8 - len(owed_orders)))
        found: list[threading.Thread] = [Modality(running.dicom, debts, images) for debts in owed]
        return [*found, Ris(running.hl7, owed_orders, orders)]

    deaths = dict.fromkeys(POINTS, 0)
    for number in range(rounds):
        point = POINTS[number % len(POINTS)]
        deaths[point] += one_round(site, point, 1 + number // len(POINTS), senders)
    assert min(deaths.values()) > 0, deaths
    assert sum(deaths.values()) >= rounds * 0.9, deaths
    assert images
    assert orders

    site.faults.write_text("", encoding="ascii")
    with site:
        wait_until(lambda: not query("select id from job where state <> 'done'"), 60, "everything is delivered")
    rows = query("select sop_instance_uid, count(*), min(state) from instance group by sop_instance_uid")
    assert {uid for uid, count, state in rows if count != 1 or state != "routed"} == set()
    assert images.keys() <= {row[0] for row in rows}
    assert query("select count(*) from job") == [(len(rows),)]
    assert query("select count(*) from (select distinct subject, lane from job) as d") == [(len(rows),)]
    kept = received(archive)
    assert {uid for uid, data in images.items() if kept.get(uid) != data} == set()
    stored = query("select filler_number, count(*) from service_request group by filler_number")
    assert {row for row in stored if row[1] != 1} == set()
    assert {f"FI{number}" for number in orders} <= {row[0] for row in stored}
    steps = dict(query("select accession, count(*) from scheduled_step group by accession"))
    assert {number for number in orders if steps.get(f"A{number}") != 1} == set()


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_sqlite(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with storescp(archive) as port:
        site = Site(tmp_path / "site", site=destination("archive", port) + RULE)
        soak(site, scaled(16, 50), archive, site.rows)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nothing_acknowledged_is_lost_postgresql(tmp_path: Path, database_url: str) -> None:
    archive = tmp_path / "archive"

    def query(text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
            return connection.execute(text).fetchall()

    with storescp(archive) as port:
        site = Site(tmp_path / "site", site=destination("archive", port) + RULE, database_url=database_url)
        soak(site, 20, archive, query)
