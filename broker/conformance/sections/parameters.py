"""Chapter 6: configuration parameters, with default, range and the value in force (PS3.2 N.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from broker.conformance.facts import StatementFacts
from broker.conformance.statement import StatementSection, TableBlock, points, section, table
from broker.settings import Settings
from broker.settings.origins import shown
from broker.site.device import Device
from broker.site.source import Source
from broker.site.tables.node_table import NodeTable

SYSTEMS = "Systems of this site"
# what concerns DICOM and tells nothing of the machine: no files, no addresses, no secrets
_GENERAL = {
    "dicom": ("ae_title", "port", "plain", "accept", "user_identity", "private_sop_classes"),
    "limits": (
        "half_open_per_address",
        "associations_per_address",
        "associations",
        "associations_per_second",
        "association_request_timeout",
        "tls_handshake_timeout",
        "pdu_timeout",
        "association_idle_timeout",
        "dicom_open_pdus",
        "dicom_object",
    ),
}
_WORKLIST = {
    "worklist": (
        "default_station",
        "max_answers",
        "modalities",
        "charset",
        "no_show_after",
        "expire_after",
        "outage_copy_age",
    ),
}
_PERFORMED = {"worklist": ("mpps_after", "mpps_overdue", "mpps_compare_after")}
_STORAGE = {
    "delivery": ("retry_first", "retry_last", "give_up", "keep_days", "keep_discarded_days", "keep_held_days"),
    "limits": ("disk_for_large", "disk_for_objects"),
}
_OF_NODES = ("ae_title", "roles", "state", "associations", "association_idle", "answer_timeout")


def made(facts: StatementFacts) -> StatementSection:
    """Chapter 6."""
    settings = facts.settings

    def of(title: str, keys: Mapping[str, tuple[str, ...]]) -> TableBlock:
        return _in_force(title, settings, keys)

    return section(
        "6",
        "Configuration",
        section(
            "6.1",
            "General parameters",
            points(
                "Parameters of `broker.toml` are in force from the next start. Nodes and rules are changed while the "
                "broker runs, and are in force for the next association.",
            ),
            of("Parameters of broker.toml", _GENERAL),
            _table_of("Parameters of a node", NodeTable, "", _OF_NODES),
            _systems(facts),
        ),
        section(
            "6.2",
            "DIMSE services",
            section(
                "6.2.1",
                "Basic Worklist Management",
                of("Parameters of the worklist", _WORKLIST),
                _table_of("Parameters of a device", Device, "device."),
                _table_of("Parameters of a worklist server that is asked", Source, "source."),
            ),
            section("6.2.2", "Modality Performed Procedure Step", of("Parameters of MPPS", _PERFORMED)),
            section("6.2.3", "Unified Procedure Step"),
            section("6.2.4", "Instance Availability Notification"),
            section("6.2.5", "Storage", of("Parameters of receiving and forwarding", _STORAGE)),
            section("6.2.6", "Storage Commitment", _table_of("Proof of a destination", NodeTable, "", ("commitment",))),
            section("6.2.7", "Query and retrieve"),
            section("6.2.8", "Print"),
        ),
        section("6.3", "DICOM web services"),
        section("6.4", "Media services"),
        section("6.5", "Real-time video"),
        section(
            "6.6",
            "Audit trail",
            "Nodes of kind `syslog` with role `audit` are sent the audit trail, see A.C. All keys: reference guide.",
        ),
    )


def _systems(facts: StatementFacts) -> TableBlock:
    """By AE title, role and state alone: no address, no name."""
    rows = {(node.ae_title, ", ".join(sorted(node.roles)), node.state) for node in facts.nodes if node.kind == "dicom"}
    return table(SYSTEMS, ("AE title", "Roles", "State"), sorted(rows))


def _in_force(title: str, settings: Settings, keys: Mapping[str, tuple[str, ...]]) -> TableBlock:
    rows = []
    for name, wanted in keys.items():
        part: BaseModel = getattr(settings, name)
        rows += [(f"{name}.{key}", *words, shown(key, getattr(part, key))) for key, words in _described(part, wanted)]
    return table(title, ("Parameter", "Meaning", "Default", "Range", "In force"), rows)


def _table_of(title: str, model: type[BaseModel], prefix: str, keys: Iterable[str] = ()) -> TableBlock:
    rows = [(f"{prefix}{key}", *words) for key, words in _described(model, keys or model.model_fields)]
    return table(title, ("Parameter", "Meaning", "Default", "Range"), rows)


def _described(model: BaseModel | type[BaseModel], keys: Iterable[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Each key with its meaning, default and range."""
    of = model if isinstance(model, type) else type(model)
    schema = of.model_json_schema()
    for key in keys:
        field = of.model_fields[key]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        ranges = "; ".join(_range(schema["properties"][key]))
        yield key, (field.description or "", "" if default == {} else shown(key, default), ranges)


def _range(schema: Mapping[str, Any]) -> Iterator[str]:
    """What a JSON schema says of the values that are allowed."""
    for inner in schema.get("anyOf", ()):
        if inner.get("type") != "null":
            yield from _range(inner)
    if "$ref" in schema:
        yield "a table of its own"
    if "enum" in schema or "const" in schema:
        yield "one of " + ", ".join(str(one) or "empty" for one in schema.get("enum", [schema.get("const")]))
    if "format" in schema:
        yield str(schema["format"])
    if "items" in schema:
        yield from (f"each {text}" for text in _range(schema["items"]))
    for word, text in _LIMITS.items():
        if word in schema:
            yield text.format(schema[word])
    if schema.get("type") == "boolean":
        yield "true, false"


_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "maxLength": "up to {} characters",
    "maxItems": "up to {} values",
    "minItems": "at least {} value",
}
