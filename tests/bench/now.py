"""The page Now left open on many screens: what it costs the broker, and how long a page takes with a large database.

python tests/bench/now.py
python tests/bench/now.py --pages 5 --seconds 5 --exams 1000        the short variant of CI

Each page asks as `static/swap.js` and `static/live-plot.js` do. The database has as many exams as are asked for, and as
many objects with a finished delivery each; a hundredth of the objects waits for a PACS that is away.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import psutil
from sqlalchemy import create_engine, text, update
from support.bench import options, quiet_site
from support.service.site import Mllp, Site, destination, order
from support.store.filling import fill
from support.store.history import history

from broker.store.schema import tables

TOKEN = "a-token-of-the-benchmark-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
POLLS = {"verdict": 5.0, "parts": 10.0, "pulse": 15.0, "numbers": 15.0}  # seconds between two questions of a page
RULE = '[[rule]]\nname = "r"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'


def filled(site: Site, exams: int) -> None:
    """Start the broker once for the schema and one order, then fill its database while it is off."""
    with site, Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    names = ("SPS1", "RP1", "PL1", "FI1", "A1", "2.999.7.1", "QZPAT1")
    fill(site.data / "broker.db", exams, {name: f"'{name}' || n.value" for name in names})
    engine = create_engine(f"sqlite:///{site.data / 'broker.db'}")
    with engine.begin() as connection:
        for statement in history(exams, "randomblob(32)"):
            connection.execute(text(statement.replace(":", "\\:")))
        job = tables.job
        ready = {"state": "ready", "lane": "deliver:pacs", "done_at": None, "created_at": time.time()}
        connection.execute(update(job).where(job.c.id % 100 == 0).values(ready))
    engine.dispose()


async def ask(http: httpx.AsyncClient, what: str) -> float:
    """Ask for one part of the page; the seconds it took."""
    path = {"pulse": "/pulse", "numbers": f"/now/numbers?since={time.time() - 120:.0f}"}.get(what, "/")
    region = {} if what in ("numbers", "page") else {"X-Region": what}
    began = time.perf_counter()
    answer = await http.get(path, headers=region)
    assert answer.status_code == 200, answer.text[:200]
    return time.perf_counter() - began


async def watch(http: httpx.AsyncClient, number: int, pages: int, until: float) -> int:
    """One page that is left open; how often it asked."""
    due = {what: time.monotonic() + every * number / pages for what, every in POLLS.items()}
    asked = 0
    while (now := time.monotonic()) < until:
        for what, every in POLLS.items():
            if now >= due[what]:
                due[what] += every
                await ask(http, what)
                asked += 1
        await asyncio.sleep(0.05)
    return asked


async def measure(site: Site, pages: int, seconds: float) -> tuple[float, float, float, int]:
    """Median and slowest time of a whole page (s), cost of the open pages (% of a core), and how many requests."""
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    limits = httpx.Limits(max_connections=pages, max_keepalive_connections=pages)
    async with httpx.AsyncClient(base_url=site.web, headers=KNOWN, limits=limits, timeout=30) as http:
        await ask(http, "page")
        times = []
        for _ in range(20):
            times.append(await ask(http, "page"))
            await asyncio.sleep(0.3)
        await asyncio.sleep(seconds)  # after the start a large database is read as a whole once
        spent, began = sum(process.cpu_times()[:2]), time.monotonic()
        asked = await asyncio.gather(*(watch(http, number, pages, began + seconds) for number in range(pages)))
        busy = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
        spent, began = sum(process.cpu_times()[:2]), time.monotonic()
        await asyncio.sleep(seconds)
        idle = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
    return statistics.median(times), max(times), (busy - idle) * 100, sum(asked)


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, pages=50, seconds=60.0, exams=300_000).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        config = {"web": {"admin_token": TOKEN}, "limits": {"web_connections_per_address": 500}}
        site = quiet_site(Path(name) / "broker", config, destination("pacs", 1) + RULE)
        filled(site, chosen.exams)
        with site:
            median, most, percent, asked = asyncio.run(measure(site, chosen.pages, chosen.seconds))
    print(f"\nnow: {chosen.exams} exams: a page in {median * 1000:.0f} ms (median), {most * 1000:.0f} ms at most")
    print(f"  {chosen.pages} open pages: {percent:.1f} % of a core, {asked} requests in {chosen.seconds:.0f} s")
    met = "met" if percent < 10 and median < 0.3 else "MISSED"
    print(f"  asked: under 10 % for 50 pages, and under 300 ms; {met}")


if __name__ == "__main__":
    main()
