"""Shares what the pages of nodes have in common: words of states and contacts, the row of a node, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request

from broker.admin.context import AdminContext
from broker.admin.web.forms import FormFields
from broker.admin.web.words import Sentence
from broker.errors import BrokerError
from broker.model.contact import Contact, ContactKind, NodeContacts
from broker.model.lane import Lane, LaneKind
from broker.site.nodes import Node
from broker.site.tables.roles import ACTIVE, BLOCKED, DISABLED
from broker.store import lanes
from broker.store.lanes import LaneReport
from broker.versions.in_force import MAX_TEXT, Conflict, Signature

STATES: Mapping[str, tuple[str, Sentence]] = {  # tone and word
    ACTIVE: ("ok", Sentence("active")),
    DISABLED: ("warn", Sentence("disabled")),
    BLOCKED: ("bad", Sentence("blocked")),
}
DOWN = ("bad", Sentence("not reachable"))
CONTACTS: Mapping[ContactKind, Sentence] = {
    ContactKind.ASSOCIATION: Sentence("association"),
    ContactKind.ECHO: Sentence("C-ECHO"),
    ContactKind.QUERY: Sentence("worklist query"),
    ContactKind.PERFORMED: Sentence("performed step"),
    ContactKind.IMAGE: Sentence("image"),
    ContactKind.MESSAGE: Sentence("message"),
    ContactKind.REFUSED: Sentence("refused by the broker"),
    ContactKind.DELIVERY: Sentence("delivery of images"),
    ContactKind.FEEDBACK: Sentence("feedback"),
    ContactKind.PASSED_ON: Sentence("performed step passed on"),
    ContactKind.REQUEST: Sentence("request for storage commitment"),
    ContactKind.NOTICE: Sentence("notice of a rule"),
    ContactKind.COMMITMENT: Sentence("storage commitment"),
    ContactKind.IMPORT: Sentence("import of the worklist"),
    ContactKind.FAILED: Sentence("failed attempt"),
}
ROLES: Mapping[str, Sentence] = {
    "modality": Sentence("modality"),
    "destination": Sentence("destination of images"),
    "ris": Sentence("RIS"),
    "mpps": Sentence("is passed on performed steps"),
    "mpps-notification": Sentence("is told of performed steps"),
    "worklist": Sentence("worklist to import"),
    "audit": Sentence("takes the audit trail"),
    "notify": Sentence("is notified by rules"),
}


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A node with its state (tone and word), its last contacts, and what waits for it."""

    node: Node
    state: tuple[str, Sentence]
    last_in: Contact | None
    last_out: Contact | None
    waiting: int
    held: int
    lanes: tuple[LaneReport, ...] = ()

    @property
    def path(self) -> str:
        """The address of its page."""
        return path_of(self.node.name)

    @property
    def title(self) -> str:
        """What it calls itself on its wire."""
        node = self.node
        called = node.ae_title or "|".join(filter(None, (node.application, node.facility)))
        return called or (", ".join(node.mail.to) if node.mail is not None else node.kind)

    @property
    def address(self) -> str:
        """Host and port, as far as they are known; of a folder its path."""
        if self.node.path:
            return self.node.path
        return f"{self.node.host}:{self.node.port}" if self.node.host and self.node.port else self.node.host


def path_of(name: str) -> str:
    """The address of a node's page."""
    return f"/nodes/{quote(name, safe='')}"


def rows_of(context: AdminContext, nodes: Sequence[Node]) -> list[ListedNode]:
    """Nodes as the pages show them (blocking). Raises StoreUnavailable."""
    contacts = context.contacts.all()
    names = [Lane(kind, node.name).name for node in nodes for kind in LaneKind]
    reports: dict[str, list[LaneReport]] = {}
    for report in context.database.read(lanes.reports, names).result() if names else ():
        reports.setdefault(report.name.partition(":")[2], []).append(report)
    return [_row(node, contacts.get(node.name, NodeContacts()), reports.get(node.name, [])) for node in nodes]


def _row(node: Node, contacts: NodeContacts, reports: Sequence[LaneReport]) -> ListedNode:
    broken = node.active and any(report.failures for report in reports)
    return ListedNode(
        node=node,
        state=DOWN if broken else STATES[node.state],
        last_in=contacts.last_in,
        last_out=contacts.last_out,
        waiting=sum(report.waiting for report in reports),
        held=sum(report.held for report in reports),
        lanes=tuple(reports),
    )


def signature(request: Request, form: FormFields) -> Signature:
    """Who changes something, and why."""
    reason = "".join(c for c in form.get("reason") if c.isprintable())[:MAX_TEXT]
    return Signature(actor=request.state.actor, reason=reason, address=request.state.address)


def refusal(error: BrokerError) -> Sentence:
    """Why a change was refused, and what to do."""
    if isinstance(error, Conflict):
        return Sentence("Somebody else was faster: %(words)s", {"words": str(error)})
    return Sentence("The broker refuses this: %(words)s", {"words": str(error)})
