"""Holds what a statement is made of besides the code: the settings and the nodes in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.settings import Settings
from broker.site.nodes import Node
from broker.site.tables.roles import ASK, NO_COMMITMENT


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """The configuration in force. Of nodes only AE titles, roles and states are stated."""

    settings: Settings
    nodes: Sequence[Node]

    @property
    def title(self) -> str:
        """The AE title of the broker."""
        return self.settings.dicom.ae_title

    @property
    def commits(self) -> bool:
        """A destination proves to modalities that it has objects, so that storage commitment is offered."""
        return any(node.commitment != NO_COMMITMENT for node in self.nodes)

    @property
    def asks(self) -> bool:
        """A destination is asked for storage commitment."""
        return any(node.commitment == ASK for node in self.nodes)

    def titles(self, role: str) -> str:
        """The AE titles of the DICOM nodes with a role, for a cell."""
        found = sorted({node.ae_title for node in self.nodes if node.kind == "dicom" and role in node.roles})
        return ", ".join(found) or "none"
