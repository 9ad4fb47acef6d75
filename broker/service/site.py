"""Nodes and rules: from site.toml into an empty database, from the database into force."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import telemetry
from broker.errors import ConfigurationError
from broker.routing.evaluate import check
from broker.routing.rules import RuleSet, parse_rules
from broker.site.nodes import Node, parse_nodes
from broker.store import configurations
from broker.store.db.database import Database

KEYS = {"node", "rule", "default"}


@dataclass(frozen=True, slots=True)
class Site:
    """What is in force."""

    nodes: tuple[Node, ...]
    rules: RuleSet


def read_file(path: Path) -> dict[str, Any]:
    """The documents `nodes` and `rules` of a site file, checked whole.

    Raises ConfigurationError: one line that names file, node or rule, and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None
    for key in document:
        if key not in KEYS:
            raise ConfigurationError(f"{path}: {key}: unknown key")
    documents = {
        "nodes": document.get("node", []),
        "rules": {key: document[key] for key in ("rule", "default") if key in document},
    }
    try:
        compile_site(documents["nodes"], documents["rules"], 0)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return documents


def compile_site(nodes: Any, rules: Any, version: int) -> Site:
    """Parse documents and run the examples of the rules. Raises ConfigurationError."""
    if not isinstance(nodes, list):
        raise ConfigurationError("node: a list of tables")
    parsed = parse_nodes(nodes)
    destinations = {node.name for node in parsed if "destination" in node.roles}
    ruleset = parse_rules(rules, destinations, version)
    check(ruleset)
    return Site(parsed, ruleset)


def in_force(database: Database, path: Path) -> tuple[Any, Any, int]:
    """Nodes, rules and the version of the rules. What the database lacks yet comes from `path`, if that exists."""
    documents = read_file(path) if path.is_file() else {}
    stored: dict[str, configurations.Version] = {}
    for kind in ("nodes", "rules"):
        version = database.read(configurations.current, kind).result()
        if version is None and documents.get(kind):
            import_document(database, kind, documents[kind], source="site file")
            version = database.read(configurations.current, kind).result()
        elif version is not None and documents and _differs(version.document, documents[kind]):
            telemetry.logger().warning("site.differs", kind=kind, version=version.version, path=str(path))
        stored[kind] = version or configurations.Version(kind, 0, [] if kind == "nodes" else {})
    return stored["nodes"].document, stored["rules"].document, stored["rules"].version


def nodes_in_force(url: str, path: Path) -> tuple[Node, ...]:
    """Nodes of the database, else of the site file. Changes nothing: a broker may be running on that database.

    Raises ConfigurationError, StoreUnavailable.
    """
    version = configurations.peek(url, "nodes")
    if version is not None:
        return parse_nodes(version.document)
    return parse_nodes(read_file(path)["nodes"]) if path.is_file() else ()


def import_document(database: Database, kind: str, document: Any, *, source: str) -> int:
    """Put a checked document in force as a new version; its number."""
    number = database.submit(configurations.add, kind, document, source=source, at=time.time()).result()
    telemetry.logger().info("site.imported", kind=kind, version=number)
    return number


def _differs(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)
