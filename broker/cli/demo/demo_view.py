"""Prints the demonstration: progress while it runs, the report of every image at the end."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from broker.simulate.hospital import Doors
from broker.simulate.report import Line, RunReport
from broker.simulate.stations import transfer_syntax_name

MIB = 1024**2
SHOWN = 20  # findings listed
_LABELS = {
    "messages": "order messages written",
    "orders": "orders accepted by the broker",
    "worklist": "found on the worklist",
    "images": "images stored",
    "delivered": "arrived at PACS",
}


class ProgressView:
    """Live bars on a terminal, else one line for each stage that is complete. Use as a context manager."""

    def __init__(self, console: Console, totals: Mapping[str, int]) -> None:
        self._console = console
        self._totals = totals
        self._done: set[str] = set()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<32}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            self._tasks = {stage: self._bars.add_task(_LABELS[stage], total=total) for stage, total in totals.items()}

    def __enter__(self) -> ProgressView:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(self, stage: str, done: int) -> None:
        """So many of a stage are done."""
        if self._bars is not None:
            self._bars.update(self._tasks[stage], completed=done)
        elif done >= self._totals[stage] and stage not in self._done:
            self._done.add(stage)
            self._console.print(f"{_LABELS[stage]}: {done}", highlight=False)


def show_report(console: Console, report: RunReport) -> None:
    """The table by modality, the totals and what is wrong."""
    table = Table(
        title="Images from order to archive",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("modality", no_wrap=True)
    table.add_column("on the worklist", justify="right", no_wrap=True)
    table.add_column("MiB", justify="right", no_wrap=True)
    table.add_column("transfer syntax", no_wrap=True)
    table.add_column("identical", justify="right", no_wrap=True)
    table.add_column("at", no_wrap=True)
    for line in report.lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print(
        f"{report.orders_per_second:.0f} orders/s; {report.to_worklist * 1000:.0f} ms from order to worklist answer "
        f"(median); {report.images_per_second:.0f} images/s and {report.bytes_per_second / MIB:.1f} MiB/s from "
        "modality to PACS, simulators included",
        highlight=False,
        soft_wrap=True,
    )
    if report.repeats:
        console.print(f"{report.repeats} objects arrived more than once, with the same bytes", highlight=False)
    for finding in report.findings[:SHOWN]:
        console.print(f"  ✗ {finding}", style="red", markup=False, highlight=False, soft_wrap=True)
    if len(report.findings) > SHOWN:
        console.print(f"  … and {len(report.findings) - SHOWN} more", highlight=False)
    console.print(verdict(report), style="bold green" if report.good else "bold red", highlight=False, soft_wrap=True)


def _cells(line: Line) -> tuple[str, ...]:
    first = (line.station.modality, f"{line.found} of {line.orders}") if line.orders else ("", "")
    return (
        *first,
        f"{line.bytes / MIB:.2f}",
        transfer_syntax_name(line.transfer_syntax),
        f"{line.identical} of {line.sent}",
        ", ".join(line.destinations).lower(),
    )


def verdict(report: RunReport) -> str:
    """One line: good or not."""
    if report.good:
        return (
            f"All {report.orders} orders were on the worklist of their modality; all {report.sent} images "
            f"({report.bytes / MIB:.1f} MiB) arrived bit for bit identical exactly where the rules say "
            f"({report.deliveries} deliveries)."
        )
    return (
        f"Not everything arrived: {report.found} of {report.orders} orders on the worklist, {report.identical} of "
        f"{report.sent} images right everywhere, {len(report.findings)} findings."
    )


def show_doors(console: Console, doors: Doors, link: str, data_dir: str, calling_ae: str) -> None:
    """Addresses and commands to try. `link`: by which a person sets a password for the web."""
    host, port = doors.dicom
    console.print(
        f"The broker keeps running; Ctrl-C ends it.\n  web    {link}\n"
        "         (set a password for the user demo there; the link works once)\n"
        f"  data   {data_dir}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"  HL7    {doors.hl7[0]}:{doors.hl7[1]} (MLLP)", highlight=False)
    console.print(f"  DICOM  {host}:{port}, AE title {doors.ae_title}", highlight=False)
    call = f"-aet {calling_ae} -aec {doors.ae_title}"
    station = f"ScheduledProcedureStepSequence[0].ScheduledStationAETitle={calling_ae}"
    keys = f'-k "{station}" -k PatientName -k AccessionNumber'  # quoted: some shells expand the brackets
    console.print("Try:", highlight=False)
    console.print(f"  echoscu {call} {host} {port}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"  findscu -W {call} {keys} {host} {port}", highlight=False, soft_wrap=True, markup=False)
