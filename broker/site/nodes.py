"""Nodes as values: who may speak to us, and where we send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker.errors import ConfigurationError
from broker.settings import AETitle

Role = Literal["modality", "destination", "ris", "mpps", "worklist"]


class _NodeTable(BaseModel):
    """`[[node]]` of site.toml. Kinds beyond these come with the versions that speak to them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")
    kind: Literal["dicom", "hl7"]
    ae_title: AETitle | None = None
    application: str | None = Field(default=None, min_length=1, max_length=180)
    facility: str | None = Field(default=None, max_length=180)
    host: str | None = Field(default=None, min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535)
    roles: tuple[Role, ...] = ()
    associations: int = Field(default=1, ge=1, le=16)

    @model_validator(mode="after")
    def _complete(self) -> _NodeTable:
        if self.kind == "dicom" and self.ae_title is None:
            raise ValueError("ae_title: a dicom node needs one")
        if self.kind == "hl7" and self.application is None:
            raise ValueError("application: an hl7 node needs one")
        if "destination" in self.roles and (self.kind != "dicom" or not self.host or not self.port):
            raise ValueError("roles: a destination is a dicom node with host and port")
        return self


@dataclass(frozen=True, slots=True)
class Node:
    """A system of the site. `host` binds a caller to its address when given."""

    name: str
    kind: str
    ae_title: str
    application: str
    facility: str
    host: str
    port: int
    roles: frozenset[str]
    associations: int


def parse_nodes(tables: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Nodes of `[[node]]` tables. Raises ConfigurationError that names the node and key."""
    nodes: list[Node] = []
    for position, table in enumerate(tables, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        label = f"node {name if isinstance(name, str) and name else position!r}"
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{label}: must be a table")
        try:
            parsed = _NodeTable.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            text = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"{label}: {key + ': ' if key else ''}{text}") from None
        if any(node.name == parsed.name for node in nodes):
            raise ConfigurationError(f"{label}: the name is used twice")
        nodes.append(
            Node(
                parsed.name, parsed.kind, parsed.ae_title or "", parsed.application or "", parsed.facility or "",
                parsed.host or "", parsed.port or 0, frozenset(parsed.roles), parsed.associations,
            )
        )  # fmt: skip
    return tuple(nodes)
