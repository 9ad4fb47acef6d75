"""Every page, every list of REST and every search on a large database: how long each takes.

python tests/bench/pages.py                                      300,000 exams in SQLite
python tests/bench/pages.py --postgresql --exams 1000000
python tests/bench/pages.py --exams 1000 --rounds 2              the short variant of CI

The routes of the application say what there is (`support/web/looks.py`): each list with each filter, and its last page.
Every request is asked for again of a broker with one exam. An export counts until its first bytes are there.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from sqlalchemy import create_engine, text
from support.bench import options, quiet_site
from support.service.rest import routers
from support.service.site import Mllp, Site, destination, order
from support.store import postgresql
from support.store.filling import SPREAD, fill, fill_postgresql
from support.store.history import around, history
from support.web.looks import Filled, Look, looks

from broker.settings import load
from broker.store.db.database import Database

TOKEN = "a-token-of-the-benchmark-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
RULE = '[[rule]]\nname = "r"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'
TEXTS = ("SPS1", "RP1", "PL1", "FI1", "A1", "2.999.7.1", "QZPAT1")  # of the first order; a number follows in a copy
BESIDE = ("mpps", "mpps_link", "audit", "import_item", "message")  # tables beside orders, half as large
MOST = 0.3  # seconds
SHOWN = 25  # of the slowest
GOOD = {200, 404}  # 404: a thing that only one of the two databases has


def filled(site: Site, url: str, exams: int) -> None:
    """Fill the database of a broker that has one order and is off."""
    changes = {name: f"'{name}' || n.value" for name in TEXTS}
    some_bytes = "decode('00', 'hex')" if url else "randomblob(32)"
    if url:
        fill_postgresql(url, exams, changes)
    else:
        fill(site.data / "broker.db", exams, changes)
    engine = create_engine(url or f"sqlite:///{site.data / 'broker.db'}")
    beside = [one for one in around(exams // 2, some_bytes) if any(f"INSERT INTO {name} " in one for name in BESIDE)]
    work = (
        "UPDATE job SET state = 'ready', lane = 'deliver:pacs', done_at = NULL WHERE id % 100 = 0",
        "UPDATE job SET state = 'held', lane = 'deliver:pacs', last_error = 'status-A900' WHERE id % 100 = 1",
    )
    with engine.begin() as connection:
        for statement in (*history(exams, some_bytes), *beside, *work, *SPREAD):
            connection.execute(text(statement.replace(":", "\\:")))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if url else "PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()


@contextmanager
def broker(folder: Path, url: str, exams: int) -> Iterator[Site]:
    """A broker with so many exams."""
    site = quiet_site(folder, {"web": {"admin_token": TOKEN}, "database": {"url": url}}, destination("pacs", 1) + RULE)
    site._database_url = url
    with site, Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    if exams > 1:
        began = time.perf_counter()
        filled(site, url, exams)
        print(f"filled with {exams} exams in {time.perf_counter() - began:.0f} s", flush=True)
    with site:
        yield site


def all_looks(folder: Path, exams: int) -> list[Look]:
    """Everything to look at."""
    database = Database(f"sqlite:///{folder / 'routes.db'}")
    try:
        return looks(routers(database, load()), Filled(count=exams))
    finally:
        database.close()


def ask(http: httpx.Client, look: Look) -> float:
    """The seconds until the answer is there; of an export until it begins."""
    headers = {} if look.path.startswith("/api/") else {"Accept": "text/html"}
    began = time.perf_counter()
    with http.stream(look.method, look.path, json=look.body, data=look.form, headers=headers) as answer:
        first = next(answer.iter_raw(), b"") if "export" in look.path else answer.read()
        took = time.perf_counter() - began
    if answer.status_code not in GOOD:
        raise SystemExit(f"{look}: {answer.status_code} {first[:300]!r}")
    return took


def measured(site: Site, every: Sequence[Look], rounds: int) -> list[list[float]]:
    """The seconds of each look in each round, after one that does not count if there are several."""
    took: list[list[float]] = [[] for _ in every]
    with httpx.Client(base_url=site.web, headers=KNOWN, timeout=120, follow_redirects=True) as http:
        for number in range(1 if rounds == 1 else 0, rounds + 1):
            for times, look in zip(took, every, strict=True):
                seconds = ask(http, look)
                if number:
                    times.append(seconds)
    return took


def late(times: Sequence[float]) -> float:
    """The 95th percentile."""
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def report(every: Sequence[Look], large: list[list[float]], small: list[list[float]], name: str, exams: int) -> None:
    """Each look with its median, its 95th percentile, and how many times the median of one exam that is."""
    medians = [statistics.median(times) for times in large]
    print(f"\npages: {name}, {exams} exams: {len(every)} pages, lists and searches, the slowest first")
    for place in sorted(range(len(every)), key=lambda place: -medians[place])[:SHOWN]:
        ratio = medians[place] / statistics.median(small[place])
        told = f"{medians[place] * 1000:7.0f} ms  p95 {late(large[place]) * 1000:7.0f} ms  {ratio:6.1f} x"
        print(f"  {told} of one exam   {every[place]}")
    over = sum(median > MOST for median in medians)
    whole = statistics.median(medians) * 1000, max(medians) * 1000
    print(f"  median of all {whole[0]:.0f} ms, slowest {whole[1]:.0f} ms; asked: each under 300 ms;", end=" ")
    print("met" if not over else f"MISSED by {over}")


def main() -> None:
    """Run and print."""
    parser = options(__doc__, exams=300_000)
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL instead of SQLite")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if chosen.postgresql:
            with postgresql.server() as server:
                urls = [postgresql.create(server, database) for database in ("small", "large")]
                compare(folder, urls, chosen)
        else:
            compare(folder, ["", ""], chosen)


def compare(folder: Path, urls: Sequence[str], chosen: Any) -> None:
    """Measure a broker with one exam, then one with many."""
    with broker(folder / "small", urls[0], 1) as site:
        small = measured(site, all_looks(folder, 1), chosen.rounds)
    every = all_looks(folder, chosen.exams)
    with broker(folder / "large", urls[1], chosen.exams) as site:
        large = measured(site, every, chosen.rounds)
    report(every, large, small, "PostgreSQL" if chosen.postgresql else "SQLite", chosen.exams)


if __name__ == "__main__":
    main()
