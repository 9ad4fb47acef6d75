"""Nodes for REST and commands: shown, admitted; and taken over by a running process when they change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker import telemetry
from broker.admin.nodes import AdmitBody, AdmittedView, KnockView, NodeView
from broker.admin.problems import FieldError, Problem
from broker.dicom import uids
from broker.errors import ConfigurationError
from broker.site import admitting
from broker.site.admitting import AlreadyKnown, Wanted
from broker.site.directory import Directory
from broker.site.nodes import Node, parse_nodes
from broker.store import configurations, knocks
from broker.store.db.database import Database
from broker.store.knocks import Knock
from broker.store.worklist import device_queries
from broker.store.worklist.device_queries import Asked
from broker.worklist.explain import recall

MPPS = "1.2.840.10008.3.1.2.3.3"


class Nodes:
    """Keeps the directory of this process at the newest version of the nodes."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        self._number = -1

    def refresh(self) -> bool:
        """Take over nodes that changed (here or in another process); True if there were any. Blocking.

        Nodes that we send to stay as they were at the start: lanes and certificates are made then.
        """
        found = self._database.read(configurations.numbers, "nodes").result()
        number = found.get("nodes", 0)
        if number == self._number:
            return False
        version = self._database.read(configurations.current, "nodes").result()
        self._number = number
        try:
            nodes = kept(self._directory.nodes, parse_nodes(version.document if version is not None else []))
        except ConfigurationError as error:
            telemetry.logger().error("nodes.not_loaded", message=str(error), version=number)
            return False
        if nodes == self._directory.nodes:
            return False
        self._directory.replace(nodes)
        telemetry.logger().info("nodes.loaded", version=number, nodes=len(nodes))
        return True


def kept(now: Sequence[Node], new: Sequence[Node]) -> tuple[Node, ...]:
    """The new nodes, but for those that we send to (host and port): these stay what they are."""
    fixed = tuple(node for node in now if node.host and node.port)
    names = {node.name for node in fixed}
    return (*fixed, *(node for node in new if node.name not in names and not (node.host and node.port)))


class NodeDesk:
    """`admin.nodes.Desk` on a database."""

    def __init__(self, database: Database, directory: Directory, nodes: Nodes, fresh: Callable[[], None]) -> None:
        """`fresh` writes down what callers did just now."""
        self._database = database
        self._directory = directory
        self._nodes = nodes
        self._fresh = fresh

    def nodes(self) -> list[NodeView]:
        """The nodes in force."""
        return [view(node) for node in self._directory.nodes]

    def knocking(self) -> list[KnockView]:
        """Devices that called and are no node, the last to call first. Raises StoreUnavailable."""
        self._fresh()
        found = self._database.read(_knocking).result()
        return [
            _knock(knock, asked)
            for knock, asked in found
            if self._directory.device(knock.ae_title, knock.address) is None
        ]

    def admit(self, body: AdmitBody, actor: str) -> AdmittedView:
        """Make a node of a device; its next association is let in. Raises Problem, StoreUnavailable."""
        wanted = Wanted(body.ae_title, str(body.address), body.name, tuple(body.roles), body.bind_address)
        self._fresh()
        try:
            done = self._database.execute(admitting.admit, wanted, actor, time.time())
        except AlreadyKnown as error:
            raise Problem(409, str(error)) from None
        except ConfigurationError as error:
            raise Problem(422, "This is no node", [FieldError("", str(error))]) from None
        self._nodes.refresh()
        telemetry.logger().info("node.admitted", node=done.node.name, calling_ae=body.ae_title, version=done.version)
        return AdmittedView(node=view(done.node), version=done.version, knocked=done.knocked)


def _knocking(connection: Connection) -> list[tuple[Knock, Asked | None]]:
    found = []
    for knock in knocks.all_of(connection):
        asked = device_queries.of(connection, knock.ae_title, knock.address)
        found.append((knock, asked[0] if asked else None))
    return found


def _knock(knock: Knock, asked: Asked | None) -> KnockView:
    keys = [recall.summary(one["asked"]) for one in reversed(asked.queries)] if asked is not None else []
    return KnockView(
        ae_title=knock.ae_title,
        address=knock.address,
        first_at=knock.first_at,
        last_at=knock.last_at,
        count=knock.count,
        sop_classes=list(knock.contexts),
        wants=wants(knock.contexts),
        queries=[one for one in keys if one is not None][:5],
    )


def wants(contexts: Sequence[str]) -> list[str]:
    """What SOP classes are for, in words."""
    words = {uids.VERIFICATION: "verification", uids.MODALITY_WORKLIST: "worklist", MPPS: "performed procedure step"}
    storage = "1.2.840.10008.5.1.4.1.1."
    return sorted({words.get(one) or ("storage" if one.startswith(storage) else "other") for one in contexts})


def view(node: Node) -> NodeView:
    """A node without what it proves itself by."""
    return NodeView(
        name=node.name,
        kind=node.kind,
        ae_title=node.ae_title,
        application=node.application,
        facility=node.facility,
        host=node.host,
        port=node.port,
        roles=sorted(node.roles),
        tls=node.tls is not None,
        device=node.device.model_dump(exclude_defaults=True, mode="json") if node.device is not None else None,
    )
