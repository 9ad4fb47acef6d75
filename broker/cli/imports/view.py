"""Shows what `broker import` does: a bar on a terminal while it runs, the summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from broker.cli.imports.run import Account
from broker.cli.views.send_view import printable

LISTED = 50  # orders that were refused
_WORDS = ("created", "updated", "unchanged", "refused")


@contextmanager
def bar(account: Account) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere; gives what to call after each chunk."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("orders"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=account.total, completed=account.done)
        yield lambda: progress.update(task, completed=account.done)


def as_json(account: Account, *, dry: bool) -> dict[str, Any]:
    """The summary as data."""
    failures = [{"place": place, "reason": reason} for place, reason in account.failures]
    counts = {word: account.counts[word] for word in _WORDS}
    return {"dry_run": dry, **counts, "failures": failures, "left_out": dict(account.left_out)}


def summary(account: Account, *, dry: bool) -> str:
    """Some lines of text; what is zero is left out."""
    counts = ", ".join(f"{account.counts[word]} {word}" for word in _WORDS if account.counts[word])
    lines = [f"{'dry run: ' if dry else ''}{counts or 'no orders found'}"]
    lines += [f"  {printable(place)}: {reason}" for place, reason in account.failures[:LISTED]]
    if len(account.failures) > LISTED:
        lines.append(f"  … and {len(account.failures) - LISTED} more")
    lines += [f"  {count} × {text}" for text, count in account.warnings.most_common()]
    if account.left_out:
        kept = ", ".join(f"{keyword} ({count})" for keyword, count in sorted(account.left_out.items()))
        lines.append(f"  left out, as orders do not keep it: {kept}")
    if account.trouble:
        lines.append(f"  ended early: {account.trouble}")
    return "\n".join(lines)
