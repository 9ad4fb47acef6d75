"""Finding exams and telling the story of one, with many exams stored: how long a page takes, and by which plans.

    python tests/bench/exams.py                                300,000 exams in SQLite, 1,000,000 in PostgreSQL
    python tests/bench/exams.py --sqlite 3000 --postgresql 3000 --rounds 3        the short variant of CI
    python tests/bench/exams.py --plans                        the plans of all statements too

The database is filled with copies of one order. Then each patient gets a name of 20,000 family names (some of them are
common) and 500 given names, and a birth date. Each exam gets a day of 336, and nine of ten exams are completed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import Connection, event, text
from support.bench import options
from support.orders.documents import order
from support.service.rest import application, asking
from support.store.filling import SPREAD, YEAR, fill, fill_postgresql
from support.store.postgresql import create, server

from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.exams.sightings import Sightings
from broker.exams.story import tell
from broker.settings import load
from broker.site.directory import Directory
from broker.store.db.database import Database

KEYS = ("A1", "PL1", "QZPAT1")
FAMILY = "'family' || CASE WHEN id % 4 = 0 THEN id % 25 ELSE id % 20000 END || 'x'"
APART = (
    "DELETE FROM patient_term",
    f"INSERT INTO patient_term (patient, term) SELECT id, {FAMILY} FROM patient",
    "INSERT INTO patient_term (patient, term) SELECT id, 'given' || (id % 500) || 'x' FROM patient",
    "INSERT INTO patient_term (patient, term) SELECT id, '=19' || (10 + id % 90) || '0' || (1 + id % 9) || '17'"
    " FROM patient",
    *SPREAD,
    "ANALYZE",
)
WISHES = {
    "the newest": ExamWish(),
    "a common family name": ExamWish(name="family3x"),
    "a rare family name": ExamWish(name="family12345x"),
    "a given name": ExamWish(name="given77x"),
    "the beginning of many names": ExamWish(name="f"),
    "both names, each common": ExamWish(name="given77x family2x"),
    "nobody": ExamWish(name="nobody"),
    "a birth date": ExamWish(born="19560217"),
    "an accession number": ExamWish(number="A1"),
    "the beginning of many numbers": ExamWish(number="A"),
    "a patient's number": ExamWish(patient_id="QZPAT1.777"),
    "a day": ExamWish(day=f"{YEAR}0513"),
    "a day on a station": ExamWish(day=f"{YEAR}0513", station="CT01"),
    "a station": ExamWish(station="CT03"),
    "not ended": ExamWish(state="open"),
    "arrived, which is rare": ExamWish(state="arrived"),
    "a modality nobody has": ExamWish(modality="MR"),
    "words of the procedure": ExamWish(procedure="thorax"),
}


@contextmanager
def explained(database: Database, *, wanted: bool) -> Iterator[Callable[[], list[str]]]:
    """Collect the plans of the statements that are executed meanwhile."""
    plans: list[str] = []

    def look(connection: Connection, cursor: object, statement: str, values: object, *_: object) -> None:
        if wanted and not statement.startswith("EXPLAIN"):
            how = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{how} {statement}", values).all()  # type: ignore[call-overload]
            plans.append("\n".join(f"      {row[-1]}" for row in rows))

    engine = database._read_engine
    event.listen(engine, "before_cursor_execute", look)
    try:
        yield lambda: plans
    finally:
        event.remove(engine, "before_cursor_execute", look)


def measure(url: str, exams: int, rounds: int, *, plans: bool) -> float:
    """Fill a database and print what each search takes; the largest median, in seconds."""
    database = Database(url)
    with asking(application(database, load())) as client:
        assert client.post("/orders", json=order(1)).status_code == 201
    database.close()
    changes = {key: f"'{key}.' || n.value" for key in KEYS} | {"2.25.": "'2.25.' || n.value"}
    if url.startswith("sqlite"):
        fill(Path(url.removeprefix("sqlite:///")), exams, changes)
    else:
        fill_postgresql(url, exams, changes)
    database = Database(url)
    for statement in APART:
        database.submit(lambda connection, one=statement: connection.execute(text(one)) and None).result(3600)
    looking = Sightings(directory=Directory(), settings=load(), secret=b"s" * 32)
    print(f"\n{exams:,} exams in {database.dialect}")
    slowest = 0.0
    questions = {name: (finding.find, wish, None, 50) for name, wish in WISHES.items()}
    for name, question in {**questions, "the story of one": (tell, exams // 2, looking)}.items():
        times = []
        with explained(database, wanted=plans) as told:
            database.read(*question).result(60)
            seen = told()
        for _ in range(rounds):
            began = time.perf_counter()
            found = database.read(*question).result(60)
            times.append(time.perf_counter() - began)
        median = statistics.median(times)
        slowest = max(slowest, median)
        count = f"{len(found.lines)} of {found.total}" if hasattr(found, "lines") else f"{len(found.entries)} entries"
        print(f"  {name:32} {median * 1000:7.1f} ms, {max(times) * 1000:7.1f} at most, {count}")
        for plan in dict.fromkeys(seen):
            print(plan)
    database.close()
    return slowest


def main() -> None:
    """Run and print."""
    parser = options(__doc__, sqlite=300_000, postgresql=1_000_000)
    parser.add_argument("--plans", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        slowest = measure(f"sqlite:///{name}/broker.db", chosen.sqlite, chosen.rounds, plans=chosen.plans)
        with server(None) as running:
            url = create(running, "bench")
            slowest = max(slowest, measure(url, chosen.postgresql, chosen.rounds, plans=chosen.plans))
    print(f"  asked: under 300 ms (median); {'met' if slowest < 0.3 else 'MISSED'}")


if __name__ == "__main__":
    main()
