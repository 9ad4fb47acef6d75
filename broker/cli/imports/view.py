"""Shows what `broker import` does: a bar on a terminal while it runs, the summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from broker.cli.imports.run import Account
from broker.cli.output import console
from broker.cli.views.send_view import printable

LISTED = 50  # orders of each kind
_WORDS = (
    "created",
    "updated",
    "unchanged",
    "skipped",
    "canceled",
    "completed",
    "discontinued",
    "kept",
    "refused",
    "unavailable",
)
_SAID = {
    "skipped": "skipped as they have ended",
    "canceled": "cancelled as they are there",
    "completed": "completed as they are there",
    "discontinued": "discontinued as they are there",
    "kept": "kept as they are",
    "unavailable": "not known to be in place",
}


@contextmanager
def bar(account: Account) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere; gives what to call after each chunk."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("orders"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(err=True), transient=True) as progress:
        task = progress.add_task("", total=account.total, completed=account.done)
        yield lambda: progress.update(task, completed=account.done)


def as_json(account: Account, *, dry: bool) -> dict[str, Any]:
    """The summary as data."""
    failures = [{"place": place, "accession": number, "reason": reason} for place, number, reason in account.failures]
    ended = [{"place": place, "accession": number, "outcome": outcome} for place, number, outcome in account.ended]
    findings = [{"place": place, "accession": number, "text": text} for place, number, text in account.told]
    counts = {word: account.counts[word] for word in _WORDS}
    left_out = dict(account.left_out)
    told = {"failures": failures, "ended": ended, "findings": findings, "left_out": left_out}
    return {"dry_run": dry, **counts, **told, "trouble": account.trouble}


def _listed(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Items by place and accession number, each with what is told of it."""
    lines = [
        f"  {printable(place)}{f' (accession {printable(number)})' if number else ''}: {text}"
        for place, number, text in rows[:LISTED]
    ]
    return lines + ([f"  … and {len(rows) - LISTED} more"] if len(rows) > LISTED else [])


def summary(account: Account, *, dry: bool) -> str:
    """Some lines of text; what is zero is left out."""
    counts = ", ".join(f"{account.counts[word]} {_SAID.get(word, word)}" for word in _WORDS if account.counts[word])
    lines = [f"{'dry run: ' if dry else ''}{counts or 'no orders found'}"]
    lines += _listed(account.failures)
    lines += _listed([(place, number, _SAID.get(outcome, outcome)) for place, number, outcome in account.ended])
    lines += _listed(account.told)
    lines += [f"  {count} × {text}" for text, count in account.warnings.most_common()]
    if account.left_out:
        kept = ", ".join(f"{keyword} ({count})" for keyword, count in sorted(account.left_out.items()))
        lines.append(f"  left out, as orders do not keep it: {kept}")
    if account.trouble:
        lines.append(f"  ended early: {account.trouble}")
    return "\n".join(lines)
