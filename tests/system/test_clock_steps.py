"""The clock of the machine is set under a running broker: nothing is lost, given up or late. TM-01."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import psycopg
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.faketime import FakeTime
from support.service.site import Mllp, Site, destination, order

RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "exists" }
send = ["archive"]
"""
STEPS = ("+1h", "-1h", "+365d", "-365d", "+8d", "+0")
LATE = {"retry_first": 300, "retry_last": 600}  # who waits for the next try by itself waits longer than the test


class Work:
    """What a broker has acknowledged."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.images: dict[str, bytes] = {}
        self.orders: set[str] = set()

    def more(self) -> None:
        """An object and an order; both are taken."""
        item: Encoded = ct_slice(2048 if len(self.images) % 2 else 40_000)
        with RawScu(self.site.dicom) as modality:
            assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
            assert modality.store(item) == 0
        self.images[item.sop_instance] = item.data
        number = len(self.orders) + 1
        with Mllp(self.site.hl7) as ris:
            assert ris.exchange(order(number))["MSA"][0][1] == "AA"
        self.orders.add(f"FI{number}")


def steps(site: Site) -> int:
    """How often the broker has noticed that the clock was set."""
    return site.logged().count("clock.stepped")


def readiness(site: Site) -> str:
    with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
        return str(answer.read().decode())


def test_tm_01_steps_of_an_hour_and_a_year(tmp_path: Path, database_url: str) -> None:
    url = database_url if database_url.startswith("postgresql") else ""
    port, archive = free_port(), tmp_path / "archive"
    # the clock of PostgreSQL, by which the lanes go there, is not set: they wait as long as they should
    config = {} if url else {"delivery": LATE}
    site = Site(tmp_path / "site", site=destination("archive", port) + RULE, config=config, database_url=url)
    fake, work = FakeTime(site), Work(site)

    def query(text: str) -> list[tuple[Any, ...]]:
        if not url:
            return site.rows(text)
        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql", 1)) as connection:
            return connection.execute(text).fetchall()

    def arrived() -> bool:
        return received(archive) == work.images

    with site:
        work.more()
        wait_until(lambda: "lane.broken" in site.logged(), 20, "the destination is found to be away")
        for offset in STEPS[2:4] if url else STEPS:
            before = steps(site)
            fake.set(offset)
            wait_until(lambda seen=before: steps(site) > seen, 30, f"{offset} is noticed")
            work.more()
        assert "the clock was set back" in readiness(site)
        assert "broker_clock_steps_total" in metrics(site)
        wait_until(lambda: "spool.clock_off" in site.logged(), 20, "the disk is found to have another clock")
        with storescp(archive, port=port):
            fake.set("+1h")
            wait_until(arrived, 60, "all arrive")
        fake.set("+365d")  # what is written now says a year ahead
        before = site.logged().count("lane.broken")
        work.more()
        wait_until(lambda: site.logged().count("lane.broken") > before, 60, "the destination is away again")
    fake.set("+0")
    with storescp(archive, port=port), site:  # it is there at the first try after the start
        wait_until(arrived, 60, "the last one arrives")
        wait_until(lambda: not query("SELECT 1 FROM job WHERE state <> 'done'"), 20, "all is done")
    assert query("SELECT count(*) FROM job WHERE kind = 'deliver'") == [(len(work.images),)]
    assert {row[0] for row in query("SELECT filler_number FROM service_request")} == work.orders
    assert query("SELECT count(*) FROM scheduled_step WHERE status <> 'SCHEDULED'") == [(0,)]


def metrics(site: Site) -> str:
    with urllib.request.urlopen(f"{site.web}/metrics", timeout=20) as answer:
        return str(answer.read().decode())
