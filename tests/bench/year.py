"""Years of a hospital of 500 beds in time-lapse: rows, size and speed by month, and what the retention leaves.

python tests/bench/year.py                      20 exams a day (scale 0.05), 450 days
python tests/bench/year.py --days 360           the first year alone: it only grows
python tests/bench/year.py --scale 1 --shrink 40        400 exams a day, all days of retention divided by 40: also the
                                                ten years of the audit trail come to their end
python tests/bench/year.py --short              a minute
python tests/bench/year.py --postgresql         on PostgreSQL

The hospital (scale 1): 400 exams a day (100,000 to 150,000 a year are usual for a house of this size), each with 2 HL7
messages of its order, 5 of its patient (2,000 ADT a day), N-CREATE and N-SET, 50 objects with a delivery each, feedback
that it began and ended, and 5 views by people. 20 devices ask for their worklist each 2 to 5 minutes. The audit trail
counts the same query of a device for 15 minutes: 500 rows a day are for 6 hours in which they ask. Each exam has a
patient of its own, which is the worst case. Objects are small and stand in the database.

A few exams of each day, and all that is not usual (refused, cancelled, held, given up, without order, nobody came), are
made by the product's own doors. The other exams of the day are copies of their rows. What deletes are the duties of the
broker, once each night. They do not rest between steps, as nothing else is done. The clock of the process is set.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[1]))

import logging

import structlog
from sqlalchemy import Connection, text
from support.bench import options
from support.lapse.copies import Copies
from support.lapse.day import Day, Load, token
from support.lapse.kept import Ledger, sizes
from support.lapse.ward import Ward, ward
from support.service.site import order
from support.store import postgresql
from support.store.spool import spool_files

from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.settings import Settings
from broker.store import overview

BEGIN = datetime(2021, 1, 1, tzinfo=ZoneInfo("Europe/Zurich"))  # before today: nothing is in the future
EXAMS, ONCE, MONTH, YEAR = 400, 2, 30, 360
AFTER = 60  # days behind the end of the longest rule that is reached
SHOWN = (
    "service_request",
    "patient",
    "mpps",
    "instance",
    "content",
    "study",
    "job",
    "message",
    "sent_message",
    "audit",
)
GROUPS = {
    "orders, steps, patients, visits": (
        *("service_request", "requested_procedure", "scheduled_step", "step_station", "step_name", "step_event"),
        *("order_link", "tombstone", "patient", "patient_term", "patient_alias", "visit", "heard", "appointment"),
    ),
    "performed steps": ("mpps", "mpps_message", "mpps_link"),
    "HL7 messages": ("message", "sent_message"),
    "audit trail": ("audit", "audit_place", "former_patient"),
    "what is known of objects": ("instance", "gathering", "study", "study_key"),
    "bytes of small objects": ("content",),
    "jobs": ("job", "notice", "committed", "commitment", "commitment_object", "commitment_ask", "commitment_uid"),
}
ROUNDS = 15


def shrunk(by: int) -> dict[str, dict[str, Any]]:
    """The default retention with all days divided, one day at least."""
    if by == 1:
        return {}
    usual = Settings()
    known = {
        "retention": dict.fromkeys(type(usual.retention).model_fields),
        "delivery": dict.fromkeys(("keep_days", "keep_discarded_days")),
        "orders": dict.fromkeys(("keep_cancels_days",)),
    }
    return {
        section: {key: math.ceil(getattr(getattr(usual, section), key) / by) for key in keys}
        for section, keys in known.items()
    }


@dataclass(frozen=True, slots=True)
class Month:
    """What was there at the end of a month, and how fast it was: medians in ms, the longest transaction too."""

    day: int
    rows: dict[str, int]
    database: int  # bytes that are in use
    file: int  # bytes on the disk
    wal: int
    files: int
    times: dict[str, float]


class Lapse:
    """Lets days pass and looks at the end of each month."""

    def __init__(self, here: Ward, url: str, scale: float, objects: int) -> None:
        self.here, self._url = here, url
        exams = max(1, round(EXAMS * scale))
        once = min(ONCE, exams)
        self._copies, self.count = Copies(here.database), exams // once - 1
        self.exams = once * (self.count + 1)
        self._days = Day(here, Load(exams=once, objects=objects))
        self.ledger = Ledger(BEGIN, here.settings)
        self._nights: list[float] = []

    def pass_one(self, number: int) -> dict[str, float]:
        """A day and its night; at the end of a month how fast it was."""
        begin = BEGIN + timedelta(days=number)
        self._copies.begin()
        self._days.finished(number, begin)
        self._copies.make(number, self.count)
        self._days.unfinished(number, begin)
        times = self._measured(number, begin) if (number + 1) % MONTH == 0 else {}
        began = time.perf_counter()
        self._days.night(number, begin)
        self._nights.append(time.perf_counter() - began)
        if times:
            times |= {"longest": self.here.duties.longest() * 1000, "night": statistics.median(self._nights) * 1000}
            self._nights.clear()
        self.here.database.read(self.ledger.note, number).result(600)
        return times

    def _measured(self, number: int, begin: datetime) -> dict[str, float]:
        """Medians in ms. The orders are for the next day, and nobody comes."""
        here = self.here
        here.clock.set(begin, 19)
        tomorrow, numbers = begin + timedelta(days=1), iter(range(ROUNDS + 1))

        def intake() -> None:
            exam = int(f"{token(number, 9000 + next(numbers))}51")
            self._days.send(order(exam, start=f"{tomorrow:%Y%m%d}103000"))

        def read(query: Callable[..., object], *values: object) -> Callable[[], object]:
            return lambda: here.database.read(query, *values).result(60)

        times = {
            "order": median(intake),
            "C-FIND": median(lambda: self._days.find(0, tomorrow)),
            "common name": median(read(finding.find, ExamWish(name="muller"), None, 50)),
            "no such name": median(read(finding.find, ExamWish(name="nobody"), None, 50)),
            "Now": median(read(overview.counts, here.now - 68_400, f"{begin:%Y%m%d}")),
        }
        here.duties.run("patient-words")  # before the day is counted
        self._days.write_behind()
        return times

    def look(self, number: int, times: dict[str, float]) -> Month:
        """The end of a month, after its last night."""
        here = self.here
        rows = here.database.read(sizes).result(600)
        used, file, wal = here.database.read(room, here.settings.service.data_dir).result(60)
        return Month(number + 1, rows, used, file, wal, len(spool_files(here.foundation.spool.root)), times)


def median(work: Callable[[], object]) -> float:
    """Milliseconds of something, after once that does not count."""
    work()
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def room(connection: Connection, folder: Path) -> tuple[int, int, int]:
    """Bytes of the database that are in use, of its file, and of its log."""
    if connection.dialect.name == "postgresql":
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        return size, size, 0
    pages, free, size = (
        connection.execute(text(f"PRAGMA {name}")).scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    wal = folder / "broker.db-wal"
    return (pages - free) * size, pages * size, wal.stat().st_size if wal.exists() else 0


def weights(connection: Connection) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    query = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace"
        if connection.dialect.name == "postgresql"
        else "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name"
        " WHERE d.aggregate = 1 GROUP BY 1"
    )
    return {row[0]: row[1] for row in connection.execute(text(query))}


def groups(found: dict[str, int], rows: dict[str, int], exams: int, days: int) -> None:
    """What a year takes, by groups of tables. `exams`: of a day."""
    named = {name for names in GROUPS.values() for name in names}
    known = GROUPS | {"all else": tuple(name for name in rows if name not in named)}
    print(f"\n| after {days} days | rows | MiB | rows an exam | KiB an exam |\n|---|---|---|---|---|")
    for group, names in known.items():
        count, size = (sum(of.get(name, 0) for name in names) for of in (rows, found))
        per = exams * days
        print(f"| {group} | {count:,} | {size / 2**20:,.1f} | {count / per:.1f} | {size / 1024 / per:.1f} |")
    print(flush=True)


def table(months: list[Month]) -> None:
    """The months as a table."""
    names = list(months[0].times)
    print("| day | " + " | ".join(SHOWN) + " | MiB in use | file | WAL | files | " + " ms | ".join(names) + " ms |")
    for one in months:
        counts = " | ".join(f"{one.rows[name]:,}" for name in SHOWN)
        bytes_ = " | ".join(f"{size / 2**20:.0f}" for size in (one.database, one.file, one.wal))
        print(f"| {one.day} | {counts} | {bytes_} | {one.files} | "
              + " | ".join(f"{one.times[name]:.1f}" for name in names) + " |")  # fmt: skip


def verdict(months: list[Month], settings: Settings) -> None:
    """Compare the first month behind the end of the longest rule that was reached with the last one."""
    last = months[-1]
    ends = [
        days for days in (settings.retention.exams_days + 2, settings.retention.audit_days) if days < last.day - MONTH
    ]
    if not ends:
        print("\nno rule of exams has come to its end: nothing is flat yet")
        return
    first = next(month for month in months if month.day > max(ends))
    print(f"\nday {first.day} and day {last.day}, behind the end of {max(ends):g} days:")
    for name, count in last.rows.items():
        if count != first.rows[name]:
            a_year = (count - first.rows[name]) / (last.day - first.day) * 365
            print(f"  {name:22} {first.rows[name]:>11,} {count:>11,}   {a_year:+,.0f} rows a year")
    print(f"  {'bytes in use':22} {first.database:>11,} {last.database:>11,}   {last.database / first.database:.3f} x")
    for name, value in last.times.items():
        print(f"  {name:22} {first.times[name]:>11.1f} {value:>11.1f}   {value / first.times[name]:.2f} x")


def run(folder: Path, url: str, chosen: Any) -> None:
    """Let the days pass and print."""
    with ward(folder, url, BEGIN, **shrunk(chosen.shrink)) as here:
        lapse, months = Lapse(here, url, chosen.scale, chosen.objects), list[Month]()
        kept = here.settings.retention
        reached = kept.audit_days if chosen.shrink > 1 else kept.exams_days
        days = (chosen.days or int(reached) + AFTER) // MONTH * MONTH
        print(f"{days} days of {lapse.exams} exams of {chosen.objects} objects on {here.database.dialect}")
        print(
            f"retention / {chosen.shrink}: exams {kept.exams_days:g} days, audit trail {kept.audit_days:g}", flush=True
        )
        began = time.perf_counter()
        for number in range(days):
            if times := lapse.pass_one(number):
                months.append(lapse.look(number, times))
                used = months[-1].database / 2**20
                print(f"  day {number + 1}: {time.perf_counter() - began:.0f} s, {used:.0f} MiB", flush=True)
            if number + 1 in (YEAR, days):
                groups(here.database.read(weights).result(600), months[-1].rows, lapse.exams, number + 1)
        table(months)
        verdict(months, here.settings)
        wrong = here.database.read(lapse.ledger.differences, days - 1).result(600)
        print("\nwhat is deleted is what the retention says: " + ("yes, to the row" if not wrong else "NO"))
        for line in wrong:
            print(f"  {line}")


@contextmanager
def database(chosen: Any) -> Iterator[str]:
    """The URL of an empty PostgreSQL, or an empty one for SQLite in the folder."""
    if not chosen.postgresql:
        yield ""
        return
    with postgresql.server() as running:
        yield postgresql.create(running, "year")


def main() -> None:
    """Run and print."""
    parser = options(__doc__, days=0, scale=0.05, shrink=1, objects=50)
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--short", action="store_true", help="4 exams of 5 objects, days divided by 100")
    chosen = parser.parse_args()
    if chosen.short:
        chosen.scale, chosen.shrink, chosen.objects = 0.01, 100, 5
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="bench-") as name, database(chosen) as url:
        run(Path(name), url, chosen)


if __name__ == "__main__":
    main()
