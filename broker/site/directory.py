"""The nodes in force, and the two questions doors ask of them: who is calling, and may this sender order."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from broker import telemetry, tls
from broker.dicom.wire.admission import (
    CALLED_AE_UNKNOWN,
    CALLING_AE_UNKNOWN,
    IDENTITY_REFUSED,
    NODE_BLOCKED,
    NODE_DISABLED,
    NOT_AUTHENTIC,
    ConnectionOrigin,
    Grant,
    Rejection,
)
from broker.dicom.wire.negotiation import AssociationRequest
from broker.host_names import HostNames
from broker.model.contact import ContactKind
from broker.pace import LinePace
from broker.seats import share_of
from broker.site.device import DEFAULT, Device
from broker.site.nodes import Node
from broker.site.proof import identifies, is_bound, presents
from broker.site.tables.roles import BLOCKED, DISABLED, NO_COMMITMENT, Commitment

PATIENCE = 2.0  # seconds for the addresses of host names


class Directory:
    """Nodes by their names on the wires. They change as a whole (`take`), and so do the addresses of host names."""

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self.nodes: tuple[Node, ...] = ()
        self._by_name: dict[str, Node] = {}
        self._told: tuple[Node, ...] = ()
        self._proofs: Mapping[str, Commitment] = {}
        self._barred = False  # there is a node that is disabled or blocked
        self._addresses: dict[str, frozenset[str]] = {}
        self._names = HostNames(self._note_addresses)
        self._sorting = threading.Lock()
        self._ris: frozenset[str] = frozenset()
        self._callers: frozenset[str] = frozenset()
        self.state = 0  # another one after each change of nodes or addresses
        self.replace(nodes)

    def replace(self, nodes: Sequence[Node]) -> None:
        """Put other nodes in force and look up their host names (blocking)."""
        self.take(nodes)
        self.resolve()

    def take(self, nodes: Sequence[Node]) -> None:
        """Put other nodes in force at once; host names that are new have no address before `resolve`."""
        addresses = {node.host: _literal(node.host) for node in nodes if node.host}
        self._addresses |= {host: frozenset({address}) for host, address in addresses.items() if address}
        self._by_name = {node.name: node for node in nodes}
        self._told = tuple(node for node in nodes if node.told)
        self._proofs = {node.name: node.commitment for node in nodes if node.commitment != NO_COMMITMENT}
        self._barred = any(not node.active for node in nodes)
        self.nodes = tuple(nodes)
        with self._sorting:
            self._sort()

    def node(self, name: str) -> Node | None:
        """A node by its name."""
        return self._by_name.get(name)

    def resolve(self, *, unknown: bool = False) -> None:
        """Look up the addresses of host names, or only of `unknown` ones (blocking, at most PATIENCE).

        A name that fails keeps its last addresses. One that takes longer has its addresses when they are known.
        """
        hosts = {node.host for node in self.nodes if node.host and not _literal(node.host)}
        slow = self._names.look_up({host for host in hosts if not (unknown and self._addresses.get(host))}, PATIENCE)
        if slow:
            telemetry.logger().warning("node.host_names_slow", count=len(slow))

    def _note_addresses(self, host: str, addresses: frozenset[str] | None) -> None:
        with self._sorting:
            before = self._addresses.get(host)
            self._addresses[host] = (before or frozenset()) if addresses is None else addresses
            if self._addresses[host] != before:
                self._sort()

    def _sort(self) -> None:
        """Collect the addresses that doors ask for at each connection."""
        active = [node for node in self.nodes if node.active]
        hosts = [(node, self._addresses.get(node.host, frozenset())) for node in active if node.host]
        self._ris = frozenset().union(*(addresses for node, addresses in hosts if "ris" in node.roles))
        self._callers = frozenset().union(*(addresses for node, addresses in hosts if node.kind == "dicom"))
        self.state += 1

    def titled(self, ae_title: str) -> tuple[Node, ...]:
        """The dicom nodes that call themselves so."""
        return tuple(node for node in self.nodes if node.kind == "dicom" and node.ae_title == ae_title)

    def at(self, nodes: Iterable[Node], address: str) -> tuple[Node, ...]:
        """Those of the nodes that may call from this address."""
        return tuple(n for n in nodes if not n.host or address in self._addresses.get(n.host, frozenset()))

    def owners(self, certificate: tls.CertificateIdentity | None) -> tuple[Node, ...]:
        """The nodes that a verified certificate is bound to."""
        return tuple(node for node in self.nodes if is_bound(node) and presents(node, certificate))

    def senders(self, application: str, facility: str) -> tuple[Node, ...]:
        """The nodes with role `ris` that send under this application (and facility, where the node names one)."""
        return tuple(node for node in self.nodes if "ris" in node.roles and node.sends_as(application, facility))

    def knows_sender(self, application: str, facility: str) -> bool:
        """A node with role `ris` sends under this application (and facility, where the node names one)."""
        return bool(self.senders(application, facility))

    def barred_sender(self, application: str, facility: str) -> str:
        """The state of the nodes that send under this name, if all of them are disabled or blocked; else empty."""
        return barred(self.senders(application, facility)) if self._barred else ""

    def is_ris(self, address: str) -> bool:
        """A node with role `ris` has this address."""
        return address in self._ris

    def is_caller(self, address: str) -> bool:
        """A dicom node has this address."""
        return address in self._callers

    def device(self, ae_title: str, address: str) -> Node | None:
        """The node that calls from there under this AE title; None for a device without a node."""
        return next(iter(sorted(self.at(self.titled(ae_title), address), key=_inactive)), None)

    def caller(self, ae_title: str, address: str) -> Node | None:
        """The node that a caller which was let in is: that of its address, else one of its AE title."""
        return self.device(ae_title, address) or next(iter(sorted(self.titled(ae_title), key=_inactive)), None)

    def having(self, role: str) -> tuple[Node, ...]:
        """The nodes with a role."""
        return tuple(node for node in self.nodes if role in node.roles)

    def profile(self, ae_title: str, address: str) -> Device:
        """How a caller that was let in is served: as the node of its address, else as one of its AE title."""
        node = self.caller(ae_title, address)
        return (node.device if node is not None else None) or DEFAULT

    def proofs(self) -> Mapping[str, Commitment]:
        """The destinations that count for storage commitment, by name, and what proves that they have an object."""
        return self._proofs

    def subscribers(self) -> tuple[Node, ...]:
        """The nodes that are sent feedback on orders; the same tuple as long as no node changes."""
        return self._told


def barred(nodes: Sequence[Node]) -> str:
    """`blocked` or `disabled`, if all of these nodes are one or the other; else empty, also without any node.

    A node that names its host counts for its address, whatever a node without host says.
    """
    own = [node for node in nodes if node.host] or nodes
    if not own or any(node.active for node in own):
        return ""
    return BLOCKED if any(node.state == BLOCKED for node in own) else DISABLED


def _inactive(node: Node) -> bool:
    return not node.active


def _literal(host: str) -> str:
    """The address that a host is, empty for a name."""
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        return ""


EMPTY_TITLE = "(empty)"  # stands for a called AE title without a character


class NodeAdmission:
    """Admission of the DICOM door: our AE title called, a caller the site knows, and who proves to be that node.

    With `accept` `any` unknown callers enter too, and known ones from any address; certificate and user identity
    bind a node always.
    """

    def __init__(
        self,
        directory: Directory,
        ae_title: str,
        accept: Literal["known", "any"],
        knocked: Callable[[str, str, Sequence[str], str], None],
        *,
        identity_required: bool = False,
        noted: Callable[[str, ContactKind, str], None] = lambda node, kind, detail: None,
        refused: Callable[[str, str, str], None] = lambda calling_ae, address, reason: None,
    ) -> None:
        """`knocked(calling AE title, address, SOP classes, wrong called AE title)` is told of callers that are no node,
        and of all that call a wrong AE title.

        `noted(node, kind, detail)` is told of nodes that call, whether they are let in or not.

        `refused(calling AE title, address, why)` is told of all that are not let in.

        `identity_required`: nobody enters without the user identity of a node.
        """
        self._directory = directory
        self._refused = refused
        self._ae_title = ae_title
        self._accept = accept
        self._knocked = knocked
        self._identity_required = identity_required
        self._noted = noted
        self._pace = LinePace()

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant:
        """Refuse, or let the peer in. A node that fails to prove itself is counted and logged (UL-12, UL-13)."""
        answer = self._judge(request, origin)
        if isinstance(answer, Grant):
            node = self._directory.caller(request.calling_ae, origin.address)
            if node is not None:
                self._noted(node.name, ContactKind.ASSOCIATION, "")
            return answer
        self._refused(request.calling_ae, origin.address, answer.code)
        titled = self._directory.titled(request.calling_ae)
        for node in self._directory.at(titled, origin.address) or titled:
            self._noted(node.name, ContactKind.REFUSED, f"{answer.code} from {origin.address}")
        return answer

    def _judge(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant:
        calling, wrong = request.calling_ae, request.called_ae != self._ae_title
        refusal = CALLED_AE_UNKNOWN if wrong else CALLING_AE_UNKNOWN
        if not calling or not all(" " <= c <= "~" and c != "\\" for c in calling):  # VR AE, PS3.5 6.2
            return refusal
        named = self._directory.titled(calling)
        proposed = [context.abstract_syntax for context in request.contexts]
        if wrong:
            called = "".join(c if " " <= c <= "~" else "?" for c in request.called_ae)
            self._knocked(calling, origin.address, proposed, called or EMPTY_TITLE)
            return refusal
        if not (named if self._accept == "any" else self._directory.at(named, origin.address)):
            self._knocked(calling, origin.address, proposed, "")
        if not named and ("<" in calling or ">" in calling):  # markup enters only if a person made a node of it
            return refusal
        here = self._directory.at(named, origin.address)
        if state := barred(here or (named if self._accept == "any" else ())):
            return NODE_BLOCKED if state == BLOCKED else NODE_DISABLED
        named = tuple(node for node in named if node.active)
        reason = self._doubt(named, request, origin)
        if reason == "unknown":
            return CALLING_AE_UNKNOWN
        if reason:
            telemetry.NODE_AUTHENTICATION_FAILURES.labels(reason).inc()
            if (repeats := self._pace.take(f"{reason} {share_of(origin.address)}")) is not None:
                names = {"peer": origin.address, "calling_ae": calling, "reason": reason}
                telemetry.logger().warning("node.authentication_failed", **names, repeats=repeats or None)
            return IDENTITY_REFUSED if reason == "identity" else NOT_AUTHENTIC
        checked = request.user.identity is not None and any(node.username for node in named)
        return Grant(identity_checked=checked, node=bool(named))

    def _doubt(self, named: tuple[Node, ...], request: AssociationRequest, origin: ConnectionOrigin) -> str:
        """Why the caller is not one of the nodes of its AE title, empty if it is (or need not be one)."""
        nodes = self._directory.at(named, origin.address)
        if self._accept == "any":
            nodes = nodes or named
        elif not nodes:
            return "address" if named else "unknown"
        certificate = tls.identity(origin.certificate) if origin.certificate else None
        proven = [node for node in nodes if presents(node, certificate)]
        owners = self._directory.owners(certificate)
        if (nodes and not proven) or (owners and not any(node in owners for node in proven)):
            return "certificate"
        identity = request.user.identity
        if proven and any(identifies(node, identity, required=self._identity_required) for node in proven):
            return ""
        return "identity" if proven or self._identity_required else ""
