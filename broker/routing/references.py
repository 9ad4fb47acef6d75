"""Says in words what still names a node: rules, jobs, open steps, imported orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from broker.errors import BadContent
from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.orders.core.lifecycle import OPEN
from broker.routing.rules.ruleset import RuleSet
from broker.site.nodes import Node
from broker.site.tables.roles import BLOCKED
from broker.store import references as store
from broker.store.db.database import Database


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that names a node. `binding`: the node cannot go before it."""

    words: Sentence
    binding: bool


class NodeNamed(BadContent):
    """Something still names the node: change that first."""

    code = "node-named"

    def __init__(self, references: Sequence[Reference]) -> None:
        binding = any(one.binding for one in references)
        super().__init__(
            "the node is still named: change that first" + ("" if binding else ", or say that it shall go anyway")
        )
        self.references = tuple(references)
        self.binding = binding


def references(database: Database, node: Node, rules: RuleSet) -> list[Reference]:
    """What names a node (blocking). Raises StoreUnavailable."""
    return [*_rules(node.name, rules), *_rows(_counts(database, node))]


def refuse_if_named(database: Database, node: Node | None, rules: RuleSet, *, anyway: bool) -> None:
    """Refuse to remove a node that something names; `anyway`: only what is binding keeps it (blocking).

    Raises NodeNamed, StoreUnavailable.
    """
    found = references(database, node, rules) if node is not None else []
    named = [one for one in found if one.binding or not anyway]
    if named:
        raise NodeNamed(named)


def consequence(database: Database, node: Node) -> Sentence:
    """What the state of a node means for its work (blocking). Raises StoreUnavailable."""
    waiting = {"n": _counts(database, node).waiting}
    if node.active:
        return Sentence(
            "It is served and sent to. %(n)s job that waited is sent now.",
            waiting,
            "It is served and sent to. %(n)s jobs that waited are sent now.",
        )
    if node.state == BLOCKED:
        return Sentence(
            "It is refused when it calls. %(n)s job waits for it until it is enabled.",
            waiting,
            "It is refused when it calls. %(n)s jobs wait for it until it is enabled.",
        )
    return Sentence(
        "It is neither served nor sent to. %(n)s job waits for it until it is enabled.",
        waiting,
        "It is neither served nor sent to. %(n)s jobs wait for it until it is enabled.",
    )


def _counts(database: Database, node: Node) -> store.ReferenceCounts:
    lanes = [Lane(kind, node.name).name for kind in LaneKind]
    stations: tuple[str, ...] = ()
    if "modality" in node.roles and node.kind == "dicom":
        stations = (node.device.stations if node.device else ()) or (node.ae_title,)
    return database.read(store.count, node.name, lanes, stations, OPEN).result()


def _rules(name: str, rules: RuleSet) -> Iterator[Reference]:
    for rule in rules.rules:
        if name in rule.send:
            yield Reference(Sentence("Rule %(rule)s sends to it", {"rule": rule.name}), True)
        elif name in rule.notify:
            yield Reference(Sentence("Rule %(rule)s notifies it", {"rule": rule.name}), True)
        elif any(name in example.sends for example in rule.examples):
            yield Reference(Sentence("An example of rule %(rule)s names it", {"rule": rule.name}), True)
    if name in rules.completion.late:
        yield Reference(Sentence("What it gets of late images is said of it"), True)
    if name in rules.default_send:
        yield Reference(Sentence("What no rule matches is sent to it"), True)


def _rows(counts: store.ReferenceCounts) -> Iterator[Reference]:
    """Rows that name the node. They are counted up to a limit, which is said as such a number."""
    for words in (
        Sentence("%(n)s job waits for it", {"n": counts.waiting}, "%(n)s jobs wait for it"),
        Sentence("%(n)s job for it is held", {"n": counts.held}, "%(n)s jobs for it are held"),
        Sentence("%(n)s open step is planned on it", {"n": counts.steps}, "%(n)s open steps are planned on it"),
        Sentence("%(n)s order was imported from it", {"n": counts.imported}, "%(n)s orders were imported from it"),
    ):
        if words.values["n"]:
            yield Reference(words, False)
