"""The pages Now and Nodes left open on many screens: what it costs the broker, and how long a page takes.

python tests/bench/now.py
python tests/bench/now.py --pages 5 --seconds 5 --exams 1000 --nodes 50        the short variant of CI
python tests/bench/now.py --alone                each question answered for itself, as if nobody else asked the same

Each page asks as `static/swap.js` and `static/live-plot.js` do. The database has as many exams as are asked for, and as
many objects with a finished delivery each; a hundredth of the objects waits for a PACS that is away.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
PAGES = {  # seconds between two questions of a page
    "/": {"verdict": 5.0, "parts": 10.0, "pulse": 15.0, "numbers": 15.0},
    "/nodes": {"nodes": 10.0, "pulse": 15.0},
}
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


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks for parts of a page, as a browser does; `alone`: without saying that the page is left open."""

    http: httpx.AsyncClient
    page: str
    alone: bool

    async def ask(self, what: str) -> float:
        """Ask for one part of the page, or for the whole; the seconds it took."""
        path = {"pulse": "/pulse", "numbers": f"/now/numbers?since={time.time() - 120:.0f}"}.get(what, self.page)
        region = {} if what in ("numbers", "page") else {"X-Region": what}
        polled = {"X-Polled": "1"} if region and not self.alone else {}
        began = time.perf_counter()
        answer = await self.http.get(path, headers=region | polled)
        assert answer.status_code == 200, answer.text[:200]
        return time.perf_counter() - began

    async def watch(self, number: int, pages: int, until: float) -> int:
        """One page that is left open; how often it asked."""
        polls = PAGES[self.page]
        due = {what: time.monotonic() + every * number / pages for what, every in polls.items()}
        asked = 0
        while (now := time.monotonic()) < until:
            for what, every in polls.items():
                if now >= due[what]:
                    due[what] += every
                    await self.ask(what)
                    asked += 1
            await asyncio.sleep(0.05)
        return asked


async def measure(site: Site, page: str, chosen: Any) -> tuple[float, float, float, int]:
    """Median and slowest time of a whole page (s), cost of the open pages (% of a core), and how many requests."""
    assert site.process is not None
    process, pages, seconds = psutil.Process(site.process.pid), chosen.pages, chosen.seconds
    limits = httpx.Limits(max_connections=pages, max_keepalive_connections=pages)
    async with httpx.AsyncClient(base_url=site.web, headers=KNOWN, limits=limits, timeout=30) as http:
        asker = Asker(http, page, chosen.alone)
        await asker.ask("page")
        times = []
        for _ in range(20):
            times.append(await asker.ask("page"))
            await asyncio.sleep(0.3)
        await asyncio.sleep(seconds)  # after the start a large database is read as a whole once
        spent, began = sum(process.cpu_times()[:2]), time.monotonic()
        asked = await asyncio.gather(*(asker.watch(number, pages, began + seconds) for number in range(pages)))
        busy = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
        spent, began = sum(process.cpu_times()[:2]), time.monotonic()
        await asyncio.sleep(seconds)
        idle = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
    return statistics.median(times), max(times), (busy - idle) * 100, sum(asked)


def many(nodes: int) -> str:
    """Modalities of a site file."""
    text = '[[node]]\nname = "ct{0}"\nkind = "dicom"\nae_title = "CT{0}"\nhost = "10.0.{1}.{2}"\nroles = ["modality"]\n'
    return "".join(text.format(number, number // 250, number % 250 + 1) for number in range(nodes))


def main() -> None:
    """Run and print."""
    parser = options(__doc__, pages=50, seconds=60.0, exams=300_000, nodes=500)
    parser.add_argument("--alone", action="store_true", help="each question is answered for itself")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        config = {"web": {"admin_token": TOKEN}, "limits": {"web_connections_per_address": 500}}
        site = quiet_site(Path(name) / "broker", config, destination("pacs", 1) + RULE + many(chosen.nodes))
        filled(site, chosen.exams)
        with site:
            seen = {page: asyncio.run(measure(site, page, chosen)) for page in PAGES}
    print(f"\nnow: {chosen.exams} exams, {chosen.nodes} nodes" + (", each question for itself" if chosen.alone else ""))
    for page, (median, most, percent, asked) in seen.items():
        print(f"  {page}: {median * 1000:.0f} ms (median), {most * 1000:.0f} ms at most;", end=" ")
        print(f"{chosen.pages} open pages: {percent:.1f} % of a core, {asked} requests in {chosen.seconds:.0f} s")
    met = all(percent < 10 and median < 0.3 for median, _, percent, _ in seen.values())
    print(f"  asked: under 10 % for 50 pages, and under 300 ms; {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
