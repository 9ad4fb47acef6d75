"""Runs a small hospital around a broker: two RIS, several modalities and PACS, all at work at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pydicom.dataset import Dataset

from broker.errors import BrokerError
from broker.simulate import messages
from broker.simulate.modality import VirtualModality
from broker.simulate.orders import SimulatedOrder
from broker.simulate.pacs import VirtualPacs
from broker.simulate.report import Course, Expected, RunReport, differences, settle
from broker.simulate.ris import VirtualRis
from broker.telemetry import describe

STALL = 20.0  # seconds without an arrival after which what lacks counts as missing
QUIET = 0.5  # seconds to listen for objects that should not come

# a stage (messages, orders, worklist, images, delivered), and how many are done
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Doors:
    """Addresses at which the broker listens, and its AE title."""

    hl7: tuple[str, int]
    dicom: tuple[str, int]
    ae_title: str


class Hospital:
    """PACS that stay open between `open` and `close`, and runs of the loop."""

    def __init__(self, pacs: Iterable[str], expected: Expected, progress: Progress = lambda stage, done: None) -> None:
        """`pacs` are AE titles; `expected` says at which of them an object must arrive."""
        self.pacs = {name: VirtualPacs(name, self._arrived) for name in pacs}
        self._expected = expected
        self._progress = progress
        self._arrival = asyncio.Event()
        self._last_arrival = 0.0

    async def open(self) -> None:
        """Start the PACS. Raises OSError."""
        for pacs in self.pacs.values():
            await pacs.start()

    async def close(self) -> None:
        """Stop the PACS."""
        for pacs in self.pacs.values():
            await pacs.stop()

    async def stay(self) -> None:
        """Keep the PACS open until cancelled."""
        await asyncio.Event().wait()

    async def meanwhile(self, blocking: Callable[[], object]) -> None:
        """Run a blocking function with the PACS open: a broker that stops releases its associations with them."""
        await asyncio.to_thread(blocking)

    async def run(self, orders: Sequence[SimulatedOrder], day: date, doors: Doors) -> RunReport:
        """Run orders through the loop and account for everything. Never raises for what the broker does."""
        run = _Run(orders, day, doors, self._progress)
        await run.write_messages()
        await run.work()
        await self._deliveries(run.course)
        run.course.image_seconds = run.seconds_of_imaging(self._last_arrival)
        return settle(run.course, {name: pacs.kept for name, pacs in self.pacs.items()}, self._expected)

    def _arrived(self) -> None:
        self._last_arrival = time.monotonic()
        self._arrival.set()
        self._progress("delivered", sum(len(pacs.kept) for pacs in self.pacs.values()))

    async def _deliveries(self, course: Course) -> None:
        """Wait until everything is where it should be or nothing comes any more, then for what should not come."""
        missing = {(item.sop_instance, name) for item in course.sent for name in self._expected(item)}
        while any(uid not in self.pacs[name].kept for uid, name in missing):
            self._arrival.clear()
            try:
                async with asyncio.timeout(STALL):
                    await self._arrival.wait()
            except TimeoutError:
                break  # the report says what lacks
        await asyncio.sleep(QUIET)


class _Run:
    """One run of the loop up to the last C-STORE."""

    def __init__(self, orders: Sequence[SimulatedOrder], day: date, doors: Doors, progress: Progress) -> None:
        self.course = Course(orders)
        self._day = day
        self._doors = doors
        self._progress = progress
        self._messages: dict[str, bytes] = {}  # by accession number, which is the control id too
        self._sent_at: dict[str, float] = {}
        self._first_store = 0.0
        self._stations = {order.station.ae_title: order.station for order in orders}

    def seconds_of_imaging(self, until: float) -> float:
        """From the first C-STORE to `until` (monotonic)."""
        return max(until - self._first_store, 0.0) if self._first_store else 0.0

    async def write_messages(self) -> None:
        """Build all messages beforehand: building them is slower than sending them."""
        now = datetime.now(UTC).astimezone()
        for number, order in enumerate(self.course.orders, 1):
            self._messages[order.accession] = await asyncio.to_thread(messages.build, order, order.accession, now)
            self._progress("messages", number)

    async def work(self) -> None:
        """All at once: each RIS sends, each modality asks as soon as an order is accepted, and examines meanwhile."""
        accepted: dict[str, asyncio.Queue[SimulatedOrder | None]] = {name: asyncio.Queue() for name in self._stations}
        async with asyncio.TaskGroup() as group:
            for name, station in self._stations.items():
                device = VirtualModality(station, *self._doors.dicom, self._doors.ae_title)
                todo: asyncio.Queue[Dataset | None] = asyncio.Queue()
                group.create_task(self._ask(device, accepted[name], todo))
                group.create_task(self._examine(device, todo))
            await self._order(accepted)
            for inbox in accepted.values():
                inbox.put_nowait(None)

    async def _order(self, accepted: dict[str, asyncio.Queue[SimulatedOrder | None]]) -> None:
        started = time.monotonic()
        interfaces = sorted({station.interface for station in self._stations.values()})
        async with asyncio.TaskGroup() as group:
            for interface in interfaces:
                mine = [order for order in self.course.orders if order.station.interface == interface]
                group.create_task(self._send(mine, accepted))
        self.course.order_seconds = time.monotonic() - started

    async def _send(
        self, orders: Sequence[SimulatedOrder], accepted: dict[str, asyncio.Queue[SimulatedOrder | None]]
    ) -> None:
        ris = VirtualRis(*self._doors.hl7)
        for order in orders:
            self._sent_at[order.accession] = time.monotonic()
            sending = ris.send(self._messages[order.accession], order.accession)
            if await self._noted(sending, f"order {order.accession}: not accepted"):
                self.course.accepted.add(order.accession)
                accepted[order.station.ae_title].put_nowait(order)
                self._progress("orders", len(self.course.accepted))
        await ris.close()

    async def _noted(self, action: Awaitable[None], what: str) -> bool:
        """Do it; what fails, an answer that cannot be read included, becomes a finding and does not end the run."""
        try:
            await action
        except BrokerError as error:
            self.course.troubles.append(f"{what}: {error} ({error.code})")
            return False
        except Exception as error:
            self.course.troubles.append(f"{what}: {describe(error)}")
            return False
        return True

    async def _ask(
        self, device: VirtualModality, inbox: asyncio.Queue[SimulatedOrder | None], todo: asyncio.Queue[Dataset | None]
    ) -> None:
        """Query once for all orders accepted meanwhile: a query that begins after that must show them."""
        more = True
        while more:
            batch = [await inbox.get()]
            while not inbox.empty():
                batch.append(inbox.get_nowait())
            more = None not in batch
            orders = [order for order in batch if order is not None]
            if orders:
                await self._noted(self._query(device, orders, todo), f"worklist of {device.station.ae_title}")
        todo.put_nowait(None)

    async def _query(
        self, device: VirtualModality, orders: list[SimulatedOrder], todo: asyncio.Queue[Dataset | None]
    ) -> None:
        answers = {str(answer.get("AccessionNumber", "")): answer for answer in await device.worklist(self._day)}
        now = time.monotonic()
        name = device.station.ae_title
        strangers = answers.keys() - {order.accession for order in self.course.orders if order.station.ae_title == name}
        self.course.troubles += [f"order {accession}: on the worklist of {name} as well" for accession in strangers]
        for order in orders:
            answer = answers.get(order.accession)
            if answer is None:
                continue  # the report says so
            self.course.found[order.accession] = now - self._sent_at[order.accession]
            wrong = differences(order, answer)
            if wrong:
                self.course.troubles.append(
                    f"order {order.accession}: other values on the worklist: {', '.join(wrong)}"
                )
            todo.put_nowait(answer)
        self._progress("worklist", len(self.course.found))

    async def _examine(self, device: VirtualModality, todo: asyncio.Queue[Dataset | None]) -> None:
        while (answer := await todo.get()) is not None:
            await self._noted(self._store(device, answer), f"images of {device.station.ae_title}")

    async def _store(self, device: VirtualModality, answer: Dataset) -> None:
        self._first_store = self._first_store or time.monotonic()
        async for sent in device.examine(answer, datetime.now(UTC).astimezone()):
            self.course.sent.append(sent)
            self._progress("images", len(self.course.sent))
