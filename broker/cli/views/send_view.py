"""What `broker send` shows: a bar on a terminal while it runs, the summary at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from broker.dicom.dimse import words
from broker.tools.account import Account

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MIB = 1024**2
REFRESH = 0.1  # seconds


class SendView:
    """Live on a terminal, silent otherwise. Use as a context manager."""

    def __init__(self, account: Account, label: str) -> None:
        self._account = account
        self._label = label
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._looked = 0.0

    def __enter__(self) -> SendView:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[files]}"),
                DownloadColumn(binary_units=True),
                Speed(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
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
            self._bar.update(self._task, files=f"{self._account.files} files", refresh=True)

    def sending(self) -> None:
        """Files are being sent."""
        account = self._account
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                description=self._label,
                total=account.bytes,
                completed=min(account.moved, account.bytes),
                files=f"{account.done}/{account.files} files",
                refresh=True,
            )


def summary(account: Account, label: str) -> str:
    """Some lines of text; what is zero is left out."""
    rate = f", {account.sent_bytes / MIB / account.seconds:.1f} MiB/s" if account.seconds else ""
    lines = [
        f"{label}: {account.sent} of {account.files} files sent, {account.sent_bytes / MIB:.1f} MiB in "
        f"{account.seconds:.2f} s{rate}"
    ]
    lines += _statuses("with a warning", account.warnings) + _statuses("refused", account.refused)
    for count, what in (
        (account.no_context, "without presentation context"),
        (account.failed, "failed"),
        (account.not_dicom, "skipped, no DICOM file or a DICOMDIR"),
    ):
        if count:
            lines.append(f"  {count} {what}")
    if account.unsent:
        lines.append(f"  {account.unsent} not sent: {account.trouble}")
    lines += [f"  {printable(path)}: {reason}" for path, reason in account.failures]
    listed = account.failed + account.no_context + account.refused.total()
    if listed > len(account.failures):
        lines.append(f"  … and {listed - len(account.failures)} more")
    if account.interrupted:
        lines.append("  interrupted")
    if not account.files:
        lines.append("  nothing to send")
    return "\n".join(lines)


def _statuses(what: str, counts: Counter[int]) -> list[str]:
    return [f"  {count} {what}: {words.status(status)}" for status, count in sorted(counts.items())]


def printable(path: str) -> str:
    """A file name may hold anything, also what moves the cursor of a terminal or is no text at all."""
    return "".join(c if c.isprintable() else "?" for c in path)
