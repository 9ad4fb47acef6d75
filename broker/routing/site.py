"""Keeps the nodes and rules of the site in force, checked together: a rule sends only to nodes that are there.

Both come from site.toml into an empty database. From then on the database holds them, as documents `nodes` and `rules`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import telemetry
from broker.errors import ConfigurationError
from broker.routing.rules.checking import check
from broker.routing.rules.evaluate import Facts
from broker.routing.rules.parsing import DOCUMENT_KEYS, parse_rules
from broker.routing.rules.ruleset import RuleSet
from broker.routing.rules.tracing import trace
from broker.settings.toml_text import NotToml, parse_toml
from broker.site.nodes import Node, parse_nodes
from broker.store import configurations
from broker.store.db.database import Database
from broker.versions.in_force import Contents, Documents, InForce, NoSuchVersion, Permit, Signature
from broker.whole_files import read_text

NODES, RULES = "nodes", "rules"
UseNodes = Callable[[tuple[Node, ...]], object]
KEYS = {"node": NODES} | dict.fromkeys(DOCUMENT_KEYS, RULES)  # of site.toml, and the document each is part of


@dataclass(frozen=True, slots=True)
class Site:
    """The nodes and rules that are in force together."""

    nodes: tuple[Node, ...]
    rules: RuleSet


def destinations(site: Site) -> frozenset[str]:
    """Names of the nodes that objects can be sent to."""
    return frozenset(node.name for node in site.nodes if "destination" in node.roles)


def notified(site: Site) -> frozenset[str]:
    """Names of the nodes that rules can tell that they acted."""
    return frozenset(node.name for node in site.nodes if node.notified)


def read_rules(site: Site, document: Mapping[str, Any]) -> RuleSet:
    """The rule set of a document that names nodes of a site. Raises ConfigurationError. Examples are not run."""
    return parse_rules(document, destinations(site), notified=notified(site))


def site_in_force(
    database: Database,
    verify: Sequence[UseNodes] = (),
    use: UseNodes = lambda nodes: None,
    permit: Permit = lambda signature, kinds: None,
) -> InForce[Site]:
    """Nodes and rules of a database.

    Each of `verify` may refuse nodes by ConfigurationError. `use` is told the nodes just before they are in force.
    `permit` may refuse who publishes.
    """

    def built(documents: Documents) -> Site:
        site = build(documents)
        for look in verify:
            look(site.nodes)
        return site

    return InForce(database, f"{NODES}+{RULES}", built, apply=lambda site: use(site.nodes), permit=permit)


def peek_nodes(url: str) -> tuple[Node, ...]:
    """The nodes in force in a database that a broker may be using; none of one that is not there yet.

    Raises ConfigurationError, StoreUnavailable.
    """
    stored = configurations.look(url, lambda connection: configurations.current(connection, NODES))
    return parse_nodes(stored.document) if stored is not None else ()


def build(documents: Documents) -> Site:
    """The site that these documents make, after the examples of the rules. Raises ConfigurationError."""
    nodes, rules = documents.get(NODES), documents.get(RULES)
    return compile_site(
        nodes.document if nodes is not None else [],
        rules.document if rules is not None else {},
        rules.version if rules is not None else 0,
    )


def compile_site(nodes: Any, rules: Any, version: int) -> Site:
    """Parse documents and run the examples of the rules. Raises ConfigurationError."""
    if not isinstance(nodes, list):
        raise ConfigurationError("node: a list of tables")
    if not isinstance(rules, Mapping):
        raise ConfigurationError("rule: a table with rule and default")
    parsed = parse_nodes(nodes)
    site = Site(parsed, RuleSet(()))
    ruleset = parse_rules(rules, destinations(site), version, notified=notified(site))
    check(ruleset)
    return Site(parsed, ruleset)


def build_rules(document: Mapping[str, Any], version: int) -> RuleSet:
    """The rule set of one version of the document, whatever nodes there are today. Raises ConfigurationError."""
    return parse_rules(document, _Anything(), version, notified=_Anything())


def trace_of_version(site: InForce[Site], version: int, facts: Facts) -> list[dict[str, Any]] | None:
    """How the rules of a version decide about an object with these facts; None if they cannot be read any more."""
    rules = rules_of_version(site, version)
    return None if rules is None else trace(rules, facts)


def rules_of_version(site: InForce[Site], version: int) -> RuleSet | None:
    """The rules of a version, whatever nodes there are today; None if they cannot be read any more.

    Version 0 is no rules at all.
    """
    if not version:
        return RuleSet(())
    try:
        return build_rules(site.at_version(RULES, version).document, version)
    except (NoSuchVersion, ConfigurationError):
        return None


class _Anything(frozenset[str]):
    """Knows each name: the nodes of a version of long ago may be gone."""

    def __contains__(self, name: object) -> bool:
        return True


def read_file(path: Path) -> dict[str, Any]:
    """The documents `nodes` and `rules` of a site file, checked whole.

    Raises ConfigurationError: one line that names file, node or rule, and key.
    """
    documents = read_tables(path)
    try:
        compile_site(documents[NODES], documents[RULES], 0)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return documents


def read_tables(path: Path) -> dict[str, Any]:
    """The documents `nodes` and `rules` of a site file as they stand there. Raises ConfigurationError."""
    try:
        document = parse_toml(read_text(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (NotToml, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None
    for key in document:
        if key not in KEYS:
            raise ConfigurationError(f"{path}: {key}: unknown key")
    return {
        NODES: document.get("node", []),
        RULES: {key: document[key] for key in DOCUMENT_KEYS if key in document},
    }


def first_import(site: InForce[Site], path: Path) -> None:
    """Publish what the database lacks yet from a site file, if that exists; warn of what differs from it.

    Raises ConfigurationError.
    """
    if not path.is_file():
        return
    tables = read_file(path)
    stored = site.stored()
    for kind, version in stored.items():
        if json.dumps(version.document, sort_keys=True) != json.dumps(tables[kind], sort_keys=True):
            telemetry.logger().warning("site.differs", kind=kind, version=version.version, path=str(path))

    def missing(documents: Documents) -> Contents:
        return {kind: table for kind, table in tables.items() if table and kind not in documents}

    if lacking := missing(stored):
        numbers = site.publish(missing, Signature(actor="broker", source="site file"))
        for kind in lacking:
            telemetry.logger().info("site.imported", kind=kind, version=numbers[kind])


def nodes_in_force(url: str, path: Path) -> tuple[Node, ...]:
    """Nodes of the database, else of the site file. Changes nothing: a broker may be running on that database.

    Raises ConfigurationError, StoreUnavailable.
    """
    version = configurations.look(url, lambda connection: configurations.current(connection, NODES))
    if version is not None:
        return parse_nodes(version.document)
    return parse_nodes(read_file(path)[NODES]) if path.is_file() else ()
