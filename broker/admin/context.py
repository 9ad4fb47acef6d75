"""Holds the parts of the running broker that the routes work on, as one value built once at the start."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import uuid4

from fastapi import Request

from broker.accounts.deed import Deed
from broker.accounts.oidc import OpenIdProvider
from broker.accounts.signing_in import SignIn
from broker.audit.book import AuditBook
from broker.delivery.probe.node_probe import NodeTester
from broker.model.check import CheckFinding
from broker.model.lane import parts_of
from broker.orders.core.context import StoryContext
from broker.orders.interfaces import interfaces_of
from broker.orders.mapping.book import DEFAULT
from broker.orders.mapping_texts import Listed
from broker.orders.mapping_versions import Mappings
from broker.orders.trying.profile_choice import ProfileChoice
from broker.orders.trying.replay import Bench
from broker.queue.failover import failover_of
from broker.routing.adopting.adoption import Adoption
from broker.routing.held_work import HeldWork
from broker.routing.site import Site
from broker.settings import Settings
from broker.site.contacts import ContactBook
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.site.times.opening import ClosedWindow, closing_of
from broker.status.lane_keeps import LaneKeep, keep_of
from broker.status.lane_rates import LaneRates
from broker.status.retention import Retention
from broker.store.db.database import Database
from broker.store.queued import pauses
from broker.store.queued.shapes import LaneShape
from broker.versions.in_force import InForce
from broker.worklist.source.source_schedule import SourceSchedule


def deed_of(request: Request, reason: str = "") -> Deed:
    """What the caller of a request does to an account now."""
    return Deed(request.state.actor, time.time(), request.state.address, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminContext:
    """Every router gets this value and calls the features with what it holds.

    `secret` keys the hashes in the memory of queries. `wake` tells the queue that there may be work. `write_behind`
    writes down what devices did and asked just now (blocking; raises StoreUnavailable). `web_address` is the address by
    which browsers reach the web. `audit` takes rows of views.
    `held` acts on objects that wait for a person. `adoption` takes in files that no row knows.
    `examine` looks at machine, settings and database (blocking).
    `retention` tells what is deleted next.
    `lane_rates` knows what waited and what was delivered in the last hours; without it nothing was.
    """

    database: Database
    settings: Settings
    directory: Directory
    contacts: ContactBook
    tester: NodeTester
    site: InForce[Site]
    mappings: Mappings
    sources: SourceSchedule
    sign_in: SignIn
    oidc: OpenIdProvider | None
    web_address: Callable[[], str]
    secret: bytes
    wake: Callable[[], None]
    write_behind: Callable[[], None]
    audit: AuditBook
    examine: Callable[[], Sequence[CheckFinding]]
    held: HeldWork
    adoption: Adoption
    retention: Retention
    lane_rates: LaneRates = field(default_factory=LaneRates)

    def story(self, request: Request) -> StoryContext:
        """The context of a change that the caller of a request makes now."""
        return StoryContext(
            uuid4(),
            datetime.now(self.settings.zone()),
            self.settings.worklist.default_station,
            request.state.actor,
            subscribers=self.directory.subscribers(),
            address=request.state.address,
        )

    def closing(self, node: Node | None) -> ClosedWindow | None:
        """Whether objects for a node wait for its send window now."""
        if node is None:
            return None
        return closing_of(node, time.time(), self.settings.zone(), self.site.value.rules.holidays)

    def keeping(self, lanes: Iterable[str]) -> Mapping[str, LaneKeep]:
        """What keeps these lanes (stored names) from being sent now; not those that are. Raises StoreUnavailable."""
        paused = {one.node: one for one in self.database.read(pauses.find).result()}
        keeps = dict[str, LaneKeep]()
        for lane in lanes:
            node = self.directory.node(name := parts_of(lane)[1])
            if (keep := keep_of(lane, node, paused.get(name), self.closing(node))) is not None:
                keeps[lane] = keep
        return keeps

    def other_for(self, node: Node | None, lanes: Sequence[LaneShape], paused: Collection[str], now: float) -> str:
        """The destination that gets what waits for a node now; empty if it waits. `lanes`: all of them."""
        if node is None:
            return ""
        other = failover_of(node, self.directory.node, {one.name: one for one in lanes}, paused, now)
        return other.name if other is not None else ""

    def bench(self, request: Request, choice: ProfileChoice, *, reason: str = "", forced: str = "") -> Bench:
        """What stored messages are run again by, for the caller of a request.

        `forced`: why the checks of the interface do not count. Raises ConfigurationError for a mapping that is none.
        """
        return Bench(
            self.mappings.choice(choice),
            self.settings.zone(),
            self.settings.worklist.default_station,
            request.state.actor,
            subscribers=self.directory.subscribers(),
            interfaces=interfaces_of(self.settings, self.directory.knows_sender),
            by_interface=None if choice.given else self.mappings.profiles,
            forced=forced,
            reason=reason,
            address=request.state.address,
        )


def profiles_of(context: AdminContext) -> list[Listed]:
    """The mapping profiles in force, each with the listeners that name it. Raises ConfigurationError."""
    listeners = interfaces_of(context.settings, context.directory.knows_sender).values()
    return [
        replace(one, listeners=tuple(each.name for each in listeners if (each.profile or DEFAULT) == one.name))
        for one in context.mappings.in_force()
    ]
