"""Says in words what still names a node: rules, jobs, open steps, imported orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from broker.model.lane import Lane, LaneKind
from broker.orders.core.lifecycle import OPEN
from broker.routing.rules import RuleSet
from broker.site.nodes import Node
from broker.store import references as store
from broker.store.db.database import Database


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that names a node. `binding`: the node cannot go before it."""

    words: str
    binding: bool


def references(database: Database, node: Node, rules: RuleSet) -> list[Reference]:
    """What names a node (blocking). Raises StoreUnavailable."""
    lanes = [Lane(kind, node.name).name for kind in LaneKind]
    stations: tuple[str, ...] = ()
    if "modality" in node.roles and node.kind == "dicom":
        stations = (node.device.stations if node.device else ()) or (node.ae_title,)
    counts = database.read(store.count, node.name, lanes, stations, OPEN).result()
    return [*_rules(node.name, rules), *_rows(counts)]


def _rules(name: str, rules: RuleSet) -> Iterator[Reference]:
    for rule in rules.rules:
        if name in rule.send:
            yield Reference(f"rule {rule.name!r} sends to it", True)
        elif any(name in example.sends for example in rule.examples):
            yield Reference(f"an example of rule {rule.name!r} names it", True)
    if name in rules.default_send:
        yield Reference("the default sends to it", True)


def _rows(counts: store.ReferenceCounts) -> Iterator[Reference]:
    for number, one, more in (
        (counts.waiting, "job waits for it", "jobs wait for it"),
        (counts.held, "job for it is held", "jobs for it are held"),
        (counts.steps, "open step is planned on it", "open steps are planned on it"),
        (counts.imported, "order was imported from it", "orders were imported from it"),
    ):
        if number:
            least = "at least " if number >= store.MOST else ""
            yield Reference(f"{least}{number} {one if number == 1 else more}", False)
