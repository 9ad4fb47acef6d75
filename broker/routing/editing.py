"""Makes the next documents of nodes and rules from what an admin gives, and says in words what that changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.errors import BadContent, ConfigurationError
from broker.routing.site import NODES, RULES
from broker.versions.content import check_text, without_null
from broker.versions.difference import MASK, SECRETS, ChangeKind, Difference, difference
from broker.versions.in_force import Contents, Documents


class NodesMissing(BadContent):
    """Nodes that are in force are not in the new document: a device that was admitted would be shut out."""

    code = "nodes-missing"

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__("nodes that are in force are missing; to remove them say `replace`, or --replace to a command")
        self.words = tuple(words)


class SiteEdit:
    """A change of nodes, rules or both. After it was applied, `differences` says what it changes.

    With `replace` the nodes become just what is given. Without it no node may be missing.
    """

    def __init__(self, contents: Contents, *, replace: bool = False) -> None:
        """`contents`: whole documents by kind."""
        self.differences: list[Difference] = []
        self._contents = contents
        self._replace = replace

    def __call__(self, documents: Documents) -> Contents:
        """The new documents, beside those in force. Raises NodesMissing, ConfigurationError."""
        self.differences = []
        made: dict[str, Any] = {}
        for kind, content in self._contents.items():
            version = documents.get(kind)
            before: Any = version.document if version is not None else ([] if kind == NODES else {})
            after = without_null(unmasked(content, before)) if kind == NODES else content
            check_text(kind, after)
            if kind == RULES and before and not after and not (self._replace and NODES in self._contents):
                raise ConfigurationError("rule: neither `rule` nor `default` is given; `rule = []` removes all rules")
            if well_formed(kind, after):
                self.differences += difference(kind, before, after)
            made[kind] = after
        removed = [one for one in self.differences if one.thing.startswith("node ") and one.kind is ChangeKind.REMOVED]
        whole = [one.words for one in removed if not one.key]
        if whole and not self._replace:
            raise NodesMissing([one.words for one in self.differences])
        return made


def well_formed(kind: str, document: Any) -> bool:
    """A document has the outer form that differences can be told of; what is wrong with others their check says."""
    if kind == NODES:
        return isinstance(document, list) and all(isinstance(table, Mapping) for table in document)
    if not isinstance(document, Mapping):
        return False
    tables, default = document.get("rule", []), document.get("default", {})
    return isinstance(default, Mapping) and isinstance(tables, list) and all(isinstance(t, Mapping) for t in tables)


def unmasked(tables: Any, before: Any) -> Any:
    """Nodes with the secrets of those in force where only the mask is given. Raises ConfigurationError."""
    if not isinstance(tables, list):
        return tables
    known = {table.get("name"): table for table in before}
    return [_with_secrets(table, known) if isinstance(table, Mapping) else table for table in tables]


def _with_secrets(table: Mapping[str, Any], known: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    made = dict(table)
    for key in SECRETS & made.keys():
        if made[key] == MASK:
            name = made.get("name")
            secret = known.get(name, {}).get(key) if isinstance(name, str) else None
            if secret is None:
                raise ConfigurationError(f"node {str(name)[:64]}: {key}: write it out: none is in force")
            made[key] = secret
    return made
