"""Asks the broker to adopt files that no row knows, a part after the other, and prints what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.cli.asking.anywhere import ask
from broker.cli.output import counted, say, say_json, show_table

COUNTS = ("new", "version", "repaired", "duplicate", "known", "purged", "young")
SHOWN = 1000  # files of which each is told
MOST_ASIDE = 20  # old spools that are looked at


def run(config: Path | None, folder: Path | None, *, reason: str, as_json: bool) -> int:
    """Adopt and print; the exit code: 1 if a file cannot be. Raises CommandRefused, ConfigurationError, PeerFault."""
    total: Counter[str] = Counter()
    left: list[dict[str, Any]] = []
    for part in _parts(config, _named(folder), adopt=True, reason=reason):
        total.update({name: part[name] for name in COUNTS})
        total["left"] += len(part["left"])
        left += part["left"][: SHOWN - len(left)]
    if as_json:
        say_json({**{name: total[name] for name in COUNTS}, "left": left, "left_count": total["left"]}, indent=2)
    else:
        _show(total, left)
    return 1 if total["left"] else 0


def look(config: Path | None, folder: Path | None = None) -> list[dict[str, Any]]:
    """The folders with files that no row knows; without a name the spool, and what restores have set aside.

    Raises CommandRefused, ConfigurationError, PeerFault.
    """
    found: dict[str, Counter[str]] = {}
    folders, first = [_named(folder)], folder is None
    while folders:
        aside: list[str] = []
        for part in _parts(config, folders.pop(0)):
            aside = part["set_aside"][:MOST_ASIDE] if first else aside
            for one in part["unknown"]:
                found.setdefault(one["folder"], Counter()).update(files=one["files"], bytes=one["bytes"])
        folders, first = folders + aside, False
    return [{"folder": name, **count} for name, count in found.items()]


def show_unknown(found: list[dict[str, Any]]) -> None:
    """Tell of folders with files that no row knows, and what can be done."""
    for one in found:
        size = one["bytes"] / 2**20
        say(f"{counted(one['files'], 'file')} of {size:.1f} MiB in {one['folder']} that the database does not know")
    if found:
        say("take them in: `broker fsck --adopt --reason …`, with `--from FOLDER` for one that a restore has set aside")


def _named(folder: Path | None) -> str:
    return "" if folder is None else str(folder.resolve())


def _parts(config: Path | None, folder: str, *, adopt: bool = False, reason: str = "") -> Iterator[Any]:
    after: str | None = None
    while True:
        body = {"folder": folder, "after": after, "adopt": adopt, "reason": reason}
        part = ask(config, "POST", "/fsck/files", body)
        yield part
        after = part["next"]
        if after is None:
            return


def _show(total: Counter[str], left: list[dict[str, Any]]) -> None:
    if left:
        show_table(("file", "fault", "what is wrong"), [(x["path"], x["fault"], x["text"]) for x in left])
    if total["left"] > len(left):
        say(f"and {total['left'] - len(left)} more")
    adopted = total["new"] + total["version"] + total["repaired"]
    more = [f"{total[name]} {words}" for name, words in _WORDS if total[name]]
    say(f"{counted(adopted, 'file')} adopted" + (f" ({', '.join(more)})" if more else ""))
    if total["duplicate"]:
        say(f"{counted(total['duplicate'], 'file')} of objects that were known with the same bytes")
    if total["young"]:
        say(f"{counted(total['young'], 'file')} may belong to a reception under way: adopt again in an hour")
    if total["purged"]:
        say(f"{counted(total['purged'], 'file')} of purged objects left alone")
    if total["left"]:
        say(f"{counted(total['left'], 'file')} left in place: once mended, adopt again")


_WORDS = (("version", "with other bytes than before"), ("repaired", "in the place of lost or damaged ones"))
