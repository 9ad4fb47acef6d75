"""Kills a broker under mixed load again and again, lets it finish, and makes the account.

Each round starts the broker, lets all peers work, and kills it: at a random moment, at a named point of the code, or
while it starts. The plan of the rounds follows from the seed. Moments of threads do not, so that a seed makes a failure
likely again and not certain.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.hl7.receiver import Ris as ListeningRis
from support.hl7.receiver import ris_node
from support.kills.account import Account, Pacs, Rows
from support.kills.ledger import Ledger
from support.kills.peers import Asker, Peer, Performer, Ports, Ris, Scanner
from support.kills.trouble import Clock, Filler
from support.mpps.mpps import Manager, mpps_scp
from support.peers.tools import free_port, wait_until
from support.service.faketime import FakeTime
from support.service.site import Site, destination

POINTS = (
    "spool.write", "spool.sync", "spool.synced", "store.commit", "store.committed", "dicom.answer", "dicom.answered",
    "hl7.answer", "delivery.send", "delivery.sent", "mpps.send", "mpps.sent", "feedback.send", "feedback.sent",
)  # fmt: skip
RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["archive"]
"""
MANAGER = """
[[node]]
name = "manager"
kind = "dicom"
ae_title = "RIS"
host = "127.0.0.1"
port = %d
roles = ["mpps"]
"""
STARTING = "while it starts"
AT_RANDOM = "at random"


class Hospital:
    """A broker and all its peers."""

    def __init__(self, folder: Path, rows: Rows | None, database_url: str, data: Path, *, fake: bool) -> None:
        """`rows` reads the database, None: SQLite in the folder. `fake`: its clock can be set."""
        self.ledger, self.pacs, self.manager = Ledger(), Pacs(), Manager()
        self._stack = ExitStack()
        self._ports = Ports(free_port(), free_port())
        self._web = free_port()
        ris = self._stack.enter_context(ListeningRis())
        archive = self._stack.enter_context(self.pacs.listen())
        manager = self._stack.enter_context(mpps_scp(self.manager))
        nodes = destination("archive", archive.port) + ris_node(ris.port) + MANAGER % manager.port
        config = {
            "service": {"data_dir": str(data)}, "dicom": {"port": self._ports.dicom}, "hl7": {"port": self._ports.hl7},
            "web": {"port": self._web}, "worklist": {"max_answers": 1_000_000}, "log": {"level": "info"},
        }  # fmt: skip
        self.site = Site(folder, site=nodes + RULE, config=config, database_url=database_url)
        self.fake = FakeTime(self.site) if fake else None
        self.account = Account(self.ledger, rows or self.site.rows, self.pacs, ris, self.manager)
        numbers = itertools.count(1)
        self.peers: Sequence[Peer] = (
            *(Ris(self.ledger, self._ports, numbers) for _ in range(2)),
            *(Scanner(self.ledger, self._ports) for _ in range(2)),
            Performer(self.ledger, self._ports), Asker(self.ledger, self._ports, 1),
        )  # fmt: skip

    def __enter__(self) -> Hospital:
        return self

    def __exit__(self, *_: object) -> None:
        if self.site.alive():
            self.site.kill()
        self._stack.close()

    def ready(self) -> bool:
        """The web answers, which is the last of the doors to open."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._web}/health/live", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start the broker and wait until its doors are open."""
        self.site.launch()
        wait_until(lambda: self.ready() or not self.site.alive(), 60, "the broker is ready")
        assert self.site.alive(), self.site.logged()[-2000:]

    @contextmanager
    def working(self) -> Iterator[threading.Event]:
        """All peers work as long as the block lasts, or until the event."""
        ending = threading.Event()
        threads = [threading.Thread(target=self._run, args=(peer, ending)) for peer in self.peers]
        for thread in threads:
            thread.start()
        try:
            yield ending
        finally:
            ending.set()
            for thread in threads:
                thread.join(60)
            assert not any(thread.is_alive() for thread in threads)

    def _run(self, peer: Peer, ending: threading.Event) -> None:
        try:
            peer.run(ending)
        except Exception as error:
            self.ledger.note(f"{type(peer).__name__}: {error!r}")

    def die(self, how: str, passage: int, moment: float, clock: Clock | None) -> str:
        """One round, as planned; how it died: at a named point if it passes that within `moment` seconds."""
        self.site.faults.write_text("", encoding="ascii")
        if how == STARTING:
            self.site.launch()
            threading.Event().wait(moment)
            self._kill()
            return how
        self.start()
        with self.working() as ending:
            if clock is not None:
                ending.wait(moment / 2)
                clock.step()
            if how == AT_RANDOM:
                ending.wait(moment)
            else:
                self.site.faults.write_text(f"{how} kill:{passage}\n", encoding="ascii")
                if self._died(moment):
                    return how
            self._kill()
        return AT_RANDOM

    def _died(self, seconds: float) -> bool:
        """It killed itself within these seconds."""
        assert self.site.process is not None
        try:
            return self.site.process.wait(seconds) == -9
        except subprocess.TimeoutExpired:
            return False

    def _kill(self) -> None:
        if not self.site.alive():
            if self.site.process is not None and self.site.process.wait(1) == -9:
                return  # it came to the named point just now
            self.ledger.note(f"it ended by itself: {self.site.logged()[-1000:]}")
            return
        self.site.kill()

    def finish(self) -> None:
        """Start it for the last time, bring to an end what is owed, make the account, and stop it."""
        self.site.faults.write_text("", encoding="ascii")
        self.start()
        self.account.before_the_rest()
        self.ledger.closing = True
        with self.working():
            wait_until(lambda: not any(peer.owes() for peer in self.peers), 120, "all is acknowledged")
        wait_until(lambda: not self.account.under_way(), 120, "no job is under way")
        self.account.at_the_end(self._ports.dicom)
        assert self.site.stop() == 0
        self.site.assert_private()


def plan(seed: int, kills: int, points: Sequence[str] = POINTS) -> Iterator[tuple[str, int, float]]:
    """How, at which passage, after how many seconds, for each kill."""
    chosen = random.Random(seed)
    named = itertools.cycle(points)
    for _ in range(kills):
        kind = chosen.random()
        how = STARTING if kind < 0.1 else AT_RANDOM if kind < 0.8 else next(named)
        moment = {STARTING: chosen.uniform(0.05, 1.0), AT_RANDOM: min(4, chosen.expovariate(0.8) + 0.02)}.get(how, 3)
        yield how, 1 + int(chosen.expovariate(0.3)), moment


def run(
    hospital: Hospital, rounds: Sequence[tuple[str, int, float]], *, disk: Path | None = None, seed: int = 0,
    tell: bool = False,
) -> Counter[str]:  # fmt: skip
    """Kill as planned, with `disk` filling meanwhile, then finish; how it died. Differences stand in the account."""
    deaths: Counter[str] = Counter()
    clock = None if hospital.fake is None else Clock(hospital.fake, seed)
    hospital.start()  # the first start makes the database, which needs room
    with ExitStack() as stack:
        hospital.site.kill()
        if disk is not None:
            stack.enter_context(Filler(disk, seed))
        for number, (how, passage, moment) in enumerate(rounds, 1):
            deaths[hospital.die(how, passage, moment, clock)] += 1
            if tell and number % 10 == 0:
                print(f"  {number:4} kills: {hospital.ledger.counts()}", flush=True)
    if clock is not None:
        clock.right()
    hospital.finish()
    return deaths
