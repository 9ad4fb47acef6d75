"""Says in words what differs between two versions of a document: which rule or node, which key, from what, to what.

A document is a list of named tables (nodes), or a table with such lists (rules). Tables are told apart by their names.
Secrets are never shown: only that they differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

MASK = "********"  # stands for a secret wherever a document is shown
SECRETS = frozenset({"passcode"})
_LONGEST = 200  # characters of a value in a difference
_ORDERED = frozenset({"rule"})  # lists in which the place of a table matters


class ChangeKind(StrEnum):
    """What became of a named table, or of one of its keys."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference. `thing`: `rule 'CT to archive'`; `key`: path of the key, empty for all of it; values as JSON."""

    thing: str
    kind: ChangeKind
    key: str = ""
    before: str = ""
    after: str = ""

    @property
    def words(self) -> str:
        """The difference as a person says it."""
        place = f"{self.thing}: {self.key}" if self.key else self.thing
        match self.kind:
            case ChangeKind.ADDED:
                return f"{place} added" + (f": {self.after}" if self.after else "")
            case ChangeKind.REMOVED:
                return f"{place} removed" + (f": was {self.before}" if self.before else "")
            case ChangeKind.MOVED:
                return f"{place} moved from place {self.before} to {self.after}"
        return f"{place}: {self.before} → {self.after}"


def difference(kind: str, before: Any, after: Any) -> list[Difference]:
    """All differences between two documents of a kind (`nodes`, `rules`, `mapping:name`), in the order of the later."""
    if isinstance(before, list) or isinstance(after, list):
        return list(_tables(kind.removesuffix("s"), before or [], after or []))
    found: list[Difference] = []
    for key in dict.fromkeys((*after, *before)):
        old, new = before.get(key), after.get(key)
        if _named(old) or _named(new):
            found += _tables(key, old or [], new or [])
        elif isinstance(old or new, Mapping):
            found += _keys(key, "", old or {}, new or {})
        else:
            found += _values(kind, key, old, new)
    return found


def _named(value: Any) -> bool:
    """A list of tables that have names."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and "name" in one for one in value)


def _tables(word: str, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    old = {str(table.get("name")): table for table in before}
    new = {str(table.get("name")): table for table in after}
    for name in old:
        if name not in new:
            yield Difference(thing=f"{word} {name!r}", kind=ChangeKind.REMOVED)
    stay_before, stay_after = [n for n in old if n in new], [n for n in new if n in old]
    moved = _moved(stay_before, stay_after) if word in _ORDERED else frozenset()
    for place, (name, table) in enumerate(new.items(), 1):
        thing = f"{word} {name!r}"
        if name not in old:
            yield Difference(thing=thing, kind=ChangeKind.ADDED)
            continue
        if name in moved:
            was = list(old).index(name) + 1
            yield Difference(thing=thing, kind=ChangeKind.MOVED, before=str(was), after=str(place))
        yield from _keys(thing, "", old[name], table)


def _moved(before: Sequence[str], after: Sequence[str]) -> frozenset[str]:
    """The fewest names that must move to turn one order into the other: all but a longest run that keeps its order."""
    place = {name: number for number, name in enumerate(before)}
    runs: list[list[str]] = [[]]  # for each name of `after`, the longest run that ends with it
    for name in after:
        fitting = [run for run in runs if not run or place[run[-1]] < place[name]]
        longest: list[str] = max(fitting, key=len)
        runs.append([*longest, name])
    stay: list[str] = max(runs, key=len)
    return frozenset(after) - frozenset(stay)


def _keys(thing: str, path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys((*after, *before)):
        place = f"{path}.{key}" if path else str(key)
        if key not in before:
            yield Difference(thing=thing, kind=ChangeKind.ADDED, key=place, after=_shown(key, after[key]))
        elif key not in after:
            yield Difference(thing=thing, kind=ChangeKind.REMOVED, key=place, before=_shown(key, before[key]))
        elif key in SECRETS:
            if before[key] != after[key]:
                yield Difference(thing=thing, kind=ChangeKind.CHANGED, key=place, before=MASK, after="another one")
        else:
            yield from _values(thing, place, before[key], after[key])


def _values(thing: str, path: str, before: Any, after: Any) -> Iterator[Difference]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _keys(thing, path, before, after)
    elif _same_shape(before, after):
        for number, (old, new) in enumerate(zip_longest(before, after)):
            yield from _values(thing, f"{path}[{number}]", old, new)
    else:
        key = path.rpartition(".")[2]
        yield Difference(
            thing=thing, kind=ChangeKind.CHANGED, key=path, before=_shown(key, before), after=_shown(key, after)
        )


def _same_shape(before: Any, after: Any) -> bool:
    """Two lists of tables of one length are told apart place by place."""
    both = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    return both and all(isinstance(one, Mapping) for one in (*before, *after))


def _shown(key: str, value: Any) -> str:
    if key in SECRETS:
        return MASK
    text = json.dumps(masked(value), ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def masked(document: Any) -> Any:
    """A document without its secrets, to be shown."""
    if isinstance(document, Mapping):
        return {key: MASK if key in SECRETS else masked(value) for key, value in document.items()}
    if isinstance(document, list):
        return [masked(one) for one in document]
    return document
