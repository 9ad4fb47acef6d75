"""The nodes in force, and the two questions doors ask of them: who is calling, and may this sender order."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Literal

from broker.dicom.admission import CALLED_AE_UNKNOWN, CALLING_AE_UNKNOWN, Origin, Refusal
from broker.dicom.negotiation import AssociationRequest
from broker.site.nodes import Node


class Directory:
    """Nodes by their names on the wires. Immutable but for the addresses behind host names."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self._by_name = {node.name: node for node in nodes}
        self._addresses: dict[str, frozenset[str]] = {}
        self.resolve()

    def node(self, name: str) -> Node | None:
        """A node by its name."""
        return self._by_name.get(name)

    def resolve(self) -> None:
        """Look up the addresses of all host names (blocking; a name that fails keeps its last addresses)."""
        for host in {node.host for node in self.nodes if node.host}:
            try:
                self._addresses[host] = frozenset({ipaddress.ip_address(host).compressed})
                continue
            except ValueError:
                pass  # not a literal address: ask the resolver
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                self._addresses[host] = frozenset(str(entry[4][0]) for entry in found)
            except OSError:
                self._addresses.setdefault(host, frozenset())

    def caller(self, calling_ae: str, address: str) -> Node | None:
        """The dicom node that calls itself so from this address."""
        for node in self.nodes:
            if node.kind == "dicom" and node.ae_title == calling_ae:
                if node.host and address not in self._addresses.get(node.host, frozenset()):
                    continue
                return node
        return None

    def knows_sender(self, application: str, facility: str) -> bool:
        """A node with role `ris` sends under this application (and facility, where the node names one)."""
        return any(
            "ris" in node.roles and node.application == application and node.facility in ("", facility)
            for node in self.nodes
        )


class NodeAdmission:
    """Admission of the DICOM door: our AE title called, and a known caller unless `accept` is `any`."""

    def __init__(
        self,
        directory: Directory,
        ae_title: str,
        accept: Literal["known", "any"],
        knocked: Callable[[str, str], None],
    ) -> None:
        """`knocked(calling AE title, address)` is told of callers that were not let in for being unknown."""
        self._directory = directory
        self._ae_title = ae_title
        self._accept = accept
        self._knocked = knocked

    def admit(self, request: AssociationRequest, origin: Origin) -> Refusal | None:
        """None to let the peer in."""
        if request.called_ae != self._ae_title:
            return CALLED_AE_UNKNOWN
        calling = request.calling_ae
        if not calling or not all(" " <= c <= "~" and c != "\\" for c in calling):
            return CALLING_AE_UNKNOWN
        if self._accept == "known" and self._directory.caller(calling, origin.address) is None:
            self._knocked(calling, origin.address)
            return CALLING_AE_UNKNOWN
        return None
