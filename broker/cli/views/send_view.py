"""Shows how `broker send` goes on: a bar on a terminal while it runs, the summary at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from broker.cli.output import console
from broker.dicom.dimse import words
from broker.tools.send_report import SendReport

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MIB = 1024**2
REFRESH = 0.1  # seconds


class SendView:
    """Live on a terminal, silent otherwise. Use as a context manager."""

    def __init__(self, report: SendReport, label: str) -> None:
        self._report = report
        self._label = label
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._looked = 0.0

    def __enter__(self) -> SendView:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[files]}"),
                DownloadColumn(binary_units=True),
                Speed(),
                TimeRemainingColumn(),
                console=console(err=True),
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task(f"{self._label}: looking", total=None, files="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def looking(self) -> None:
        """Files are being found."""
        now = time.monotonic()
        if self._bar is not None and self._task is not None and now - self._looked > REFRESH:
            self._looked = now
            self._bar.update(self._task, files=f"{self._report.files} files", refresh=True)

    def sending(self) -> None:
        """Files are being sent."""
        report = self._report
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                description=self._label,
                total=report.bytes,
                completed=min(report.moved, report.bytes),
                files=f"{report.done}/{report.files} files",
                refresh=True,
            )


def summary(report: SendReport, label: str) -> str:
    """Some lines of text; what is zero is left out."""
    rate = f", {report.sent_bytes / MIB / report.seconds:.1f} MiB/s" if report.seconds else ""
    lines = [
        f"{label}: {report.sent} of {report.files} files sent, {report.sent_bytes / MIB:.1f} MiB in "
        f"{report.seconds:.2f} s{rate}"
    ]
    lines += _statuses("with a warning", report.warnings) + _statuses("refused", report.refused)
    for count, what in (
        (report.no_context, "without presentation context"),
        (report.failed, "failed"),
        (report.not_dicom, "skipped, no DICOM file or a DICOMDIR"),
    ):
        if count:
            lines.append(f"  {count} {what}")
    if report.unsent:
        lines.append(f"  {report.unsent} not sent: {report.trouble}")
    lines += [f"  {printable(path)}: {reason}" for path, reason in report.failures]
    listed = report.failed + report.no_context + report.refused.total()
    if listed > len(report.failures):
        lines.append(f"  … and {listed - len(report.failures)} more")
    if report.interrupted:
        lines.append("  interrupted")
    if not report.files:
        lines.append("  nothing to send")
    return "\n".join(lines)


def _statuses(what: str, counts: Counter[int]) -> list[str]:
    return [f"  {count} {what}: {words.status(status)}" for status, count in sorted(counts.items())]


def printable(path: str) -> str:
    """A file name may hold anything, also what moves the cursor of a terminal or is no text at all."""
    return "".join(c if c.isprintable() else "?" for c in path)
