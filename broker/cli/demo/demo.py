"""`broker demo`: a real broker in a temporary directory, with a virtual hospital around it that checks every image.

The demonstration has its own statement of what the rules must do (`destinations`), so that it judges the broker
and does not repeat it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from broker import telemetry
from broker.cli.demo.demo_broker import BrokerProcess, ChildFailed, write_configuration
from broker.cli.demo.demo_view import ProgressView, show_doors, show_report
from broker.cli.output import console as terminal
from broker.simulate.hospital import Hospital
from broker.simulate.modality import Sent
from broker.simulate.orders import SimulatedOrder, make_orders
from broker.simulate.report import RunReport
from broker.simulate.stations import STATIONS

ARCHIVE, CAD = "ARCHIVE", "CAD"  # AE titles; the nodes have the same names in small letters
INTERRUPTED = 130


def run(orders: int, keep: bool) -> int:
    """Run `orders` orders through the loop; the exit code: 0 if nothing is missing. `keep` leaves it running after."""
    console = terminal()
    try:
        with _terminable():
            return _run(console, orders, keep)
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    except ChildFailed as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


def destinations(sent: Sent) -> frozenset[str]:
    """Where an object must arrive: all at the archive, mammographies at CAD as well."""
    return frozenset({ARCHIVE, CAD} if sent.modality == "MG" else {ARCHIVE})


def exit_code(report: RunReport) -> int:
    """0 if everything was found and arrived."""
    return 0 if report.good else 1


def _run(console: Console, count: int, keep: bool) -> int:
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(keep))
        log = stack.enter_context((directory / "simulators.log").open("w", encoding="utf-8"))
        telemetry.configure("warning", "console", False, stream=log)
        runner = stack.enter_context(asyncio.Runner())
        day = datetime.now(UTC).astimezone().date()
        todo = make_orders(count, day, STATIONS)
        view = ProgressView(console, _totals(todo))
        hospital = Hospital((ARCHIVE, CAD), destinations, view.update)
        runner.run(hospital.open())
        stack.callback(lambda: runner.run(hospital.close()))
        pacs = {name.lower(): (name, virtual.port) for name, virtual in hospital.pacs.items()}
        broker = BrokerProcess(write_configuration(directory, STATIONS, pacs))
        stack.callback(lambda: runner.run(hospital.meanwhile(broker.stop)))
        doors = broker.doors()
        console.print(f"broker running: {broker.web}", highlight=False)
        with view:
            report = runner.run(hospital.run(todo, day, doors))
        show_report(console, report)
        if not report.good:
            console.print(f"log of the broker:\n{broker.tail()}", markup=False, highlight=False)
        if keep:
            show_doors(console, doors, broker.sign_in_link(), str(broker.data_dir), STATIONS[0].ae_title)
            try:
                runner.run(hospital.stay())
            except KeyboardInterrupt:
                console.print(f"stopping; data stays in {directory}", highlight=False)
        return exit_code(report)


def _totals(orders: Sequence[SimulatedOrder]) -> dict[str, int]:
    """How many of each stage there will be, if all goes well."""
    images = sum(order.station.objects for order in orders)
    again = sum(order.station.objects for order in orders if order.station.modality == "MG")
    count = len(orders)
    return {"messages": count, "orders": count, "worklist": count, "images": images, "delivered": images + again}


@contextmanager
def _directory(keep: bool) -> Iterator[Path]:
    """A directory of our own (mode 0700), removed at the end unless it is to be kept."""
    directory = Path(tempfile.mkdtemp(prefix="broker-demo-"))
    try:
        yield directory
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demonstration like Ctrl-C, so that the broker is never left behind."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {
        number: signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
        for number in (getattr(signal, name) for name in names)
    }
    # a shell starts background jobs with SIGINT ignored
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
