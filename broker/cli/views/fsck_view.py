"""Asks the broker to read all its objects again, a part after the other, and prints what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from broker.cli.asking.anywhere import ask
from broker.cli.output import counted, say, say_json, show_table
from broker.cli.views import adopt_view

COUNTS = ("objects", "bytes", "held", "released", "left", "removed")
SHOWN = 1000  # spoiled objects of which each is told


def run(config: Path | None, *, repair: bool, reason: str, as_json: bool) -> int:
    """Check and print; the exit code: 1 if something is wrong. Raises CommandRefused, ConfigurationError, PeerFault."""
    total: Counter[str] = Counter()
    spoiled: list[dict[str, Any]] = []
    after: int | None = None
    while True:
        part = ask(config, "POST", "/fsck", {"after": after or None, "repair": repair, "reason": reason})
        total.update({name: part[name] for name in COUNTS})
        total["spoiled"] += len(part["spoiled"])
        spoiled += part["spoiled"][: SHOWN - len(spoiled)]
        after = part["next"]
        if after is None:
            break
    unknown = adopt_view.look(config)
    if as_json:
        say_json({**{name: total[name] for name in COUNTS}, "spoiled": spoiled, "unknown": unknown}, indent=2)
    else:
        _show(total, spoiled)
        adopt_view.show_unknown(unknown)
    return 1 if total["spoiled"] else 0


def _show(total: Counter[str], spoiled: list[dict[str, Any]]) -> None:
    if spoiled:
        show_table(("object", "fault", "what is wrong"), [(f"o{x['object']}", x["fault"], x["text"]) for x in spoiled])
    if total["spoiled"] > len(spoiled):
        say(f"and {total['spoiled'] - len(spoiled)} more")
    read = f"{counted(total['objects'], 'object')} of {total['bytes'] / 2**20:.1f} MiB read"
    say(f"{read}, {total['spoiled']} {'is' if total['spoiled'] == 1 else 'are'} not as received")
    if total["held"] or total["released"]:
        say(f"deliveries held: {total['held']}, released: {total['released']}")
    if total["left"]:
        say(f"files of purged objects, left by a broker that was killed: {total['left']}, removed: {total['removed']}")
