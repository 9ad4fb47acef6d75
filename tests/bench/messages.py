"""Measures the pages of messages on a long journal: the list, its filters, the messages of an exam, one message.

python tests/bench/messages.py                                  1,000,000 messages in SQLite
python tests/bench/messages.py --postgresql --messages 10000000
python tests/bench/messages.py --messages 20000 --rounds 3      the short variant of CI

Each page is drawn whole, as for a browser, by the application without a socket. The journal is a year and more of
messages, a tenth as many sent ones, and an audit row for each message that was taken.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import create_engine, text
from support.bench import options
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor
from support.store.journals import journal
from support.store.postgresql import create, server

from broker.settings import load
from broker.store.db.database import Database

CHUNK = 250_000  # messages that are added in one transaction
TARGET = 0.3  # seconds


@contextmanager
def database_of(postgresql: bool, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if not postgresql:
        yield f"sqlite:///{folder / 'broker.db'}"
        return
    with server() as running:
        yield create(running, "messages")


def fill(url: str, count: int) -> None:
    """Add messages 1 to `count`."""
    engine = create_engine(url)
    postgresql = url.startswith("postgresql")
    for first in range(1, count + 1, CHUNK):
        last = min(count, first + CHUNK - 1)
        with engine.begin() as connection:
            if postgresql:
                connection.execute(text("SET LOCAL synchronous_commit = off"))
            for statement in journal(first, last, postgresql=postgresql, of=count):
                connection.execute(text(statement.replace(":", "\\:")))
        print(f"  {last} messages", flush=True)
    if postgresql:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def pages(count: int) -> dict[str, str]:
    """What is asked, by its name."""
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 86_400))
    middle = f"{time.time() - count * 1.5:.1f}:{count}"
    return {
        "the newest": "/messages",
        "in the middle": f"/messages?after={middle}",
        "refused since yesterday": f"/messages?state=open&since={day}",
        "all that wait for a person": "/messages?state=open",
        "dealt with (none)": "/messages?state=dealt",
        "sent": "/messages?direction=out",
        "one sender": "/messages?sender=RIS1|H",
        "a rare sender": "/messages?sender=RARE|H",
        "a type that never came": "/messages?type=ADT",
        "a finding": "/messages?finding=103",
        "a finding that never was": "/messages?finding=999",
        "an answer": "/messages?answer=AE",
        "an exam": f"/messages?exam={count // 20}",
        "a patient": f"/messages?patient={count // 20}",
        "one message": f"/messages/{count // 2 + 1}",
        "one message tried again": f"/messages/{count // 2 + 1}/try",
        "one that was sent": f"/messages/sent/{count // 20}",
    }


def main() -> None:
    """Run and print."""
    parser = options(__doc__, messages=1_000_000)
    parser.add_argument("--postgresql", action="store_true")
    chosen = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, database_of(chosen.postgresql, Path(name)) as url:
        Database(url).close()  # the schema
        fill(url, chosen.messages)
        database = Database(url)
        visitor = Visitor(application(database, load(None)), token=TOKEN)
        print(f"\nmessages: {chosen.messages} in {database.dialect}, a page in ms: median, most")
        for title, path in pages(chosen.messages).items():
            times = []
            for _ in range(chosen.rounds):
                began = time.perf_counter()
                answer = visitor.get(path)
                times.append(time.perf_counter() - began)
                assert answer.status_code == 200, (path, answer.text[:300])
            median = statistics.median(times)
            slow += [title] if median > TARGET else []
            print(f"  {title:30} {median * 1000:7.0f} {max(times) * 1000:7.0f}")
        began = time.perf_counter()
        found = visitor.post("/messages/find", {"number": "QZnowhere"})
        print(f"  {'a number that is not known':30} {(time.perf_counter() - began) * 1000:7.0f}")
        assert found.status_code == 303
        database.close()
    print(f"  asked: each within {TARGET * 1000:.0f} ms (median); {'missed: ' + ', '.join(slow) if slow else 'met'}")


if __name__ == "__main__":
    main()
