"""The peers of a broker that dies: each sends what it owes, one by one, and again until it is acknowledged."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.dicom.raw import CT, EXPLICIT, IMPLICIT, RawScu, us_of
from support.kills.ledger import STATIONS, Fate, Ledger, fate, mpps_uid, station
from support.mpps.performed import MPPS, bytes_of, create_rq, creation, final, item, set_rq
from support.service.site import Mllp, order
from support.worklist.polling import Poller, request
from support.worklist.worklist import DATE, SPS, STATION

PAUSE = 0.03  # seconds between two requests of a peer
AGAIN = 0.1  # seconds after a request without success
SIZES = (2048, 2048, 40_000, 120_000)  # of objects, bytes: in the database, in a file
LATER, LATER_NAME = "20300313111500", "Weiß^Anna"
REFUSED = 0xA700, 0x0110  # passing trouble: of C-STORE and C-FIND, of MPPS


@dataclass(frozen=True)
class Ports:
    """Where the broker listens."""

    hl7: int
    dicom: int


class Gone(Exception):
    """The connection has ended."""


class Peer(ABC):
    """Works in one thread as long as a round lasts, over as many connections as that takes."""

    def __init__(self, ledger: Ledger, ports: Ports) -> None:
        self.ledger, self._ports = ledger, ports
        self._open: Any = None
        self._sent_before: object = None

    def run(self, ending: threading.Event) -> None:
        """Work until `ending`; at the close only while something is owed, which others may bring about."""
        while not ending.is_set():
            if self.ledger.closing and not self.owes():
                ending.wait(PAUSE)
                continue
            try:
                with self.connection(self._ports):
                    while not ending.is_set() and not (self.ledger.closing and not self.owes()):
                        self.step()
                        ending.wait(0 if self.ledger.closing else PAUSE)
            except (OSError, Gone):
                ending.wait(AGAIN)

    def sending(self, what: object) -> None:
        """Count what is sent again."""
        self.ledger.repeated += what == self._sent_before
        self._sent_before = what

    def refused(self) -> None:
        """Passing trouble: raises Gone, and it is sent again."""
        self.ledger.refused += 1
        raise Gone

    @abstractmethod
    def owes(self) -> bool:
        """Something was begun that is not acknowledged."""

    @abstractmethod
    def connection(self, ports: Ports) -> contextlib.AbstractContextManager[None]:
        """Connect. Raises OSError and Gone."""

    @abstractmethod
    def step(self) -> None:
        """Send one request and take its answer. Raises OSError and Gone."""


class Ris(Peer):
    """Sends orders, changes some and cancels some. What was not answered comes again, byte by byte the same."""

    def __init__(self, ledger: Ledger, ports: Ports, numbers: Iterator[int]) -> None:
        super().__init__(ledger, ports)
        self._numbers = numbers
        self._debts: deque[tuple[str, int]] = deque()

    def owes(self) -> bool:
        return bool(self._debts)

    @contextmanager
    def connection(self, ports: Ports) -> Iterator[None]:
        with Mllp(ports.hl7) as self._open:
            yield

    def step(self) -> None:
        if not self._debts:
            number = next(self._numbers)
            self.ledger.sent.add(number)
            self._debts.append(("NW", number))
        control, number = self._debts[0]
        self.sending((control, number))
        try:
            answer = self._open.exchange(message(control, number))
        except BrokenPipeError:
            raise Gone from None
        if not answer:
            self.refused()
        if answer["MSA"][0][1] != "AA":
            self.ledger.note(f"{control} of order {number}: {answer['MSA'][0]} {answer.get('ERR')}")
        self._debts.popleft()
        self._acknowledged(control, number)

    def _acknowledged(self, control: str, number: int) -> None:
        ledger = self.ledger
        {"NW": ledger.placed, "XO": ledger.changed, "CA": ledger.canceled}[control].add(number)
        follows = {Fate.CHANGED: "XO", Fate.CANCELED: "CA"}.get(fate(number))
        if control == "NW" and follows:
            self._debts.append((follows, number))


def message(control: str, number: int) -> str:
    """The message about an order, the same each time."""
    where = station(number)
    if control == "XO":
        return order(number, control="XO", station=where, start=LATER, name=LATER_NAME)
    return order(number, control=control, station=where, status="CA" if control == "CA" else "SC")


class Scanner(Peer):
    """Sends objects."""

    def __init__(self, ledger: Ledger, ports: Ports) -> None:
        super().__init__(ledger, ports)
        self._models = itertools.cycle([ct_slice(size) for size in SIZES])
        self._owed: Encoded | None = None

    def owes(self) -> bool:
        return self._owed is not None

    @contextmanager
    def connection(self, ports: Ports) -> Iterator[None]:
        with associated(ports, CT, EXPLICIT) as self._open:
            yield

    def step(self) -> None:
        if self._owed is None:
            self._owed = fresh(next(self._models))
        thing = self._owed
        self.sending(thing.sop_instance)
        status = self._open.store(thing)
        if status in (None, *REFUSED):
            self.refused()
        if status:
            self.ledger.note(f"C-STORE: {status:04x}")
        self.ledger.images[thing.sop_instance] = sha256(thing.data).digest()
        self._owed = None


def fresh(model: Encoded) -> Encoded:
    """The same object under another UID."""
    uid = fresh_uid(len(model.sop_instance))
    return Encoded(
        model.sop_class, uid, model.transfer_syntax, model.data.replace(model.sop_instance.encode(), uid.encode())
    )


class Performer(Peer):
    """Begins and ends the examinations of orders that were placed."""

    def owes(self) -> bool:
        return bool(self._due())

    def _due(self) -> set[int]:
        return {number for number in self.ledger.placed.copy() if fate(number) is Fate.PERFORMED} - self.ledger.ended

    @contextmanager
    def connection(self, ports: Ports) -> Iterator[None]:
        with associated(ports, MPPS, IMPLICIT) as self._open:
            yield

    def step(self) -> None:
        if not (due := self._due()):
            return
        number = min(due)
        create = number not in self.ledger.begun
        self.sending((create, number))
        self._open.send(*(create_rq(mpps_uid(number), begin(number)) if create else set_rq(mpps_uid(number), end())))
        kind, body = self._open.pdu()
        if kind != 4:
            self.refused()
        status, error_id = us_of(body[6:], 0x0900), error_of(body[6:])
        if status in REFUSED and not error_id:
            self.refused()
        if status:
            self.ledger.note(f"{'N-CREATE' if create else 'N-SET'} of {number}: {status:04x} {error_id:04x}")
        (self.ledger.begun if create else self.ledger.ended).add(number)


def begin(number: int) -> bytes:
    """The N-CREATE for an order, the same each time."""
    return bytes_of(creation(item(number), patient=f"QZPAT{number}", PerformedStationAETitle=station(number)))


def end() -> bytes:
    """The N-SET for an order, the same each time."""
    return bytes_of(final())


def error_of(command: bytes) -> int:
    """Error ID of a response, 0 for none."""
    try:
        return us_of(command, 0x0903)
    except LookupError:
        return 0


class Asker(Peer):
    """Asks for the worklist: what was acknowledged before the query is in its answer, what was canceled is not."""

    def __init__(self, ledger: Ledger, ports: Ports, seed: int) -> None:
        super().__init__(ledger, ports)
        self._random = random.Random(seed)

    def owes(self) -> bool:
        return False

    @contextmanager
    def connection(self, ports: Ports) -> Iterator[None]:
        try:
            self._open = Poller.open(ports.dicom, "BROKER", "ASKER")
        except AssertionError:
            raise Gone from None
        with self._open:
            yield

    def step(self) -> None:
        keys, least, most = self._question()
        try:
            count = self._open.find(request({"PatientName": "", **keys}))
        except AssertionError as error:
            if "closed" not in str(error):
                self.ledger.note(f"C-FIND: {error}")
            raise Gone from None
        self.ledger.queries += 1
        if not least <= count <= most:
            self.ledger.note(f"C-FIND {keys}: {count} answers, not {least} to {most}")

    def _question(self) -> tuple[dict[Any, Any], int, int]:
        """Keys, and how many answers there are at least and at most, by what is acknowledged now."""
        canceled = sorted(self.ledger.canceled)
        stay = [one for one in self.ledger.placed.copy() if fate(one) in (Fate.PLAIN, Fate.CHANGED)]
        kind = self._random.randrange(3)
        if kind == 0 and stay:
            return {"AccessionNumber": f"A{self._random.choice(stay)}", SPS: [{}]}, 1, 1
        if kind == 1 and canceled:
            return {"AccessionNumber": f"A{self._random.choice(canceled)}", SPS: [{}]}, 0, 0
        number = self._random.randrange(STATIONS)
        least = sum(one % STATIONS == number for one in stay)
        return {SPS: [{STATION: station(number), DATE: ""}]}, least, len(self.ledger.sent)


@contextmanager
def associated(ports: Ports, sop_class: str, syntax: str) -> Iterator[RawScu]:
    """An association for one SOP class. Raises OSError, and Gone if it is refused."""
    with RawScu(ports.dicom) as scu:
        if scu.associate([(sop_class, syntax)], calling=b"CT01")[0] != 2:
            raise Gone
        yield scu
