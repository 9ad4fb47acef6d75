"""The stories of one node: add, change, remove. Each is a new version of the nodes in which all others stay.

A change is made from the node in force at that moment: of two people who change two nodes at the same time both
succeed, and of two who change one the second is told who came first, if it says what it has seen (`seen`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.site.nodes import Mistake, NodeMistakes, mistakes_of
from broker.site.tables.roles import ACTIVE, BLOCKED, DISABLED, State
from broker.store import configurations
from broker.versions.content import check_text, patched, without_null
from broker.versions.difference import MASK, SECRETS, Difference, difference
from broker.versions.in_force import Audited, Conflict, Contents, Documents, InForce, Signature

KIND = "nodes"
LOOK_BACK = 50  # versions in which the last change of a node is looked for
RESERVED = frozenset({"add", "admit", "check", "diff", "history", "knocking", "rollback", "versions"})  # words of REST

STATES: Mapping[str, tuple[State, str]] = {  # by what a person does: the state, and the audited action
    "disable": (DISABLED, "node.disabled"),
    "enable": (ACTIVE, "node.enabled"),
    "block": (BLOCKED, "node.blocked"),
}
Table = dict[str, Any]
NodeMaker = Callable[[Table | None], Table | None]  # the node as it is to be, by the one in force; None: there is none


class NodeUnknown(BadContent):
    """There is no node of this name."""

    code = "no-such-node"


class NodeExists(BadContent):
    """There is a node of this name already."""

    code = "node-exists"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What a change did: the version of the nodes that is in force now, and the differences."""

    version: int
    differences: tuple[Difference, ...]


Also = Callable[[Connection, NodeChange], object]  # what belongs into the transaction of a change, if there is any


def add(
    documents: InForce[Any],
    table: Mapping[str, Any],
    signature: Signature,
    *,
    also: Also = lambda connection, change: None,
) -> NodeChange:
    """Put a node more in force. Raises NodeExists, Conflict, ConfigurationError (node and key named)."""
    name = str(table.get("name", ""))[:64]

    def made(before: Table | None) -> Table:
        if before is not None:
            raise NodeExists(f"there is a node {name!r} already")
        if name in RESERVED:
            raise NodeMistakes(f"node {name!r}", [Mistake("name", "this word has a meaning in addresses")])
        return _clean(table, {})

    return _publish(documents, name, made, signature, "node.added", also=also)


def edit(
    documents: InForce[Any],
    name: str,
    patch: Mapping[str, Any],
    signature: Signature,
    *,
    action: str = "node.changed",
    seen: Callable[[Table], bool] | None = None,
    also: Also = lambda connection, change: None,
) -> NodeChange:
    """Change a node by a merge patch (RFC 7386): null removes a key.

    `seen` says whether the node in force is the one that the change was made from.
    Raises NodeUnknown, Conflict (who came first), ConfigurationError (node and key named).
    """
    if patch.get("name", name) != name:
        raise NodeMistakes(f"node {name!r}", [Mistake("name", "rules and jobs name it, so it stays")])

    def made(before: Table | None) -> Table:
        current = _known(documents, name, before, seen)
        return _clean(patched(current, _without_masks(patch)), current)

    return _publish(documents, name, made, signature, action, also=also)


def set_state(
    documents: InForce[Any],
    name: str,
    word: str,
    signature: Signature,
    *,
    also: Also = lambda connection, change: None,
) -> NodeChange:
    """Disable, enable or block a node (`word` of STATES). Raises as `edit`."""
    state, action = STATES[word]
    patch = {"state": None if state == ACTIVE else state}
    return edit(documents, name, patch, signature, action=action, also=also)


def remove(
    documents: InForce[Any],
    name: str,
    signature: Signature,
    *,
    seen: Callable[[Table], bool] | None = None,
    also: Also = lambda connection, change: None,
) -> NodeChange:
    """Take a node out of force; `routing.references` says before what still names it.

    Raises as `edit`. A rule that sends to it is a ConfigurationError that names the rule.
    """

    def made(before: Table | None) -> None:
        _known(documents, name, before, seen)

    return _publish(documents, name, made, signature, "node.removed", also=also)


def table_in_force(documents: InForce[Any], name: str) -> Table:
    """The table of a node as it is stored. Raises NodeUnknown, StoreUnavailable."""
    return _known(documents, name, _find(_tables(documents.stored()), name), None)


def digest(table: Mapping[str, Any], secret: bytes) -> str:
    """A short name of a table as it is. `secret` keys it, as there may be a passcode in the table."""
    text = json.dumps(table, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(text, digest_size=12, key=secret[:64]).hexdigest()


def _publish(
    documents: InForce[Any], name: str, made: NodeMaker, signature: Signature, action: str, *, also: Also
) -> NodeChange:
    told: list[Difference] = []
    detail: dict[str, Any] = {"node": name}

    def change(found: Documents) -> Contents:
        tables = _tables(found)
        before = _find(tables, name)
        after = made(before)
        place = next((number for number, table in enumerate(tables) if table is before), len(tables))
        changed = [*tables[:place], *([after] if after is not None else []), *tables[place + 1 :]]
        told[:] = difference(KIND, tables, changed)
        detail["changes"] = [one.words for one in told][:50]
        return {KIND: changed}

    def with_it(connection: Connection) -> None:
        also(connection, NodeChange(configurations.numbers(connection)[KIND], tuple(told)))

    numbers = documents.publish(change, signature, audited=Audited(action, detail), also=with_it)
    return NodeChange(numbers[KIND], tuple(told))


def _known(documents: InForce[Any], name: str, before: Table | None, seen: Callable[[Table], bool] | None) -> Table:
    """The node in force. Raises NodeUnknown, and Conflict if it is not the one that was seen."""
    if before is None:
        raise NodeUnknown(f"there is no node {name!r}")
    if seen is not None and not seen(before):
        raise Conflict(
            f"node {name!r} was changed meanwhile{_by_whom(documents, name)}; look at it and change it again"
        )
    return before


def _by_whom(documents: InForce[Any], name: str) -> str:
    """In which version a node was changed last, and by whom."""
    versions = documents.history(KIND, LOOK_BACK)
    after: Table | None = None
    for number, one in enumerate(versions):
        before = _find(documents.at_version(KIND, one.version).document, name)
        if number and before != after:
            newer = versions[number - 1]
            reason = f" ({newer.reason})" if newer.reason else ""
            return f" by {newer.author or newer.source}{reason} in version {newer.version}"
        after = before
    return ""


def _tables(found: Documents) -> list[Table]:
    version = found.get(KIND)
    return list(version.document) if version is not None else []


def _find(tables: list[Table], name: str) -> Table | None:
    return next((table for table in tables if table.get("name") == name), None)


def _without_masks(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A patch without secrets that are only shown as a mask: they stay."""
    return {key: value for key, value in patch.items() if not (key in SECRETS and value == MASK)}


def _clean(table: Mapping[str, Any], before: Mapping[str, Any]) -> Table:
    """A table that can be stored and is a node. Raises ConfigurationError."""
    made: Table = without_null(table)
    label = f"node {str(made.get('name', before.get('name', '')))[:64]!r}"
    check_text(label, made)
    if any(made.get(key) == MASK for key in SECRETS):
        raise NodeMistakes(label, [Mistake("passcode", "write it out: none is in force")])
    if mistakes := mistakes_of(made):
        raise NodeMistakes(label, mistakes)
    return made
