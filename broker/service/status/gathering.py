"""Gathers all that is known of the broker at one moment, for `status.judging`."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from broker import telemetry
from broker.backup.last import LastBackup
from broker.backup.last import last as last_backup
from broker.model.contact import NodeContacts
from broker.model.lane import Lane
from broker.model.wording import Lasting, Sentence
from broker.queue.failover import failover_of
from broker.service.status.counting import NewestNumbers
from broker.site.nodes import Node
from broker.site.times.opening import ClosedWindow
from broker.status.causes import reason
from broker.status.facts import BackupFact, CertificateFact, LaneFact, NeedCause, NeedFact, NodeFact, TrafficFact
from broker.status.rates import Rates
from broker.store.overview import CAP, Counts, LaneState, Pile
from broker.store.queued.pauses import NodePause

QUARTER, HOUR = 15, 60  # minutes


@dataclass(frozen=True, slots=True)
class SiteView:
    """The nodes in force, the last contacts with each, and what was counted in the database."""

    nodes: tuple[Node, ...]
    contacts: Mapping[str, NodeContacts]
    newest: NewestNumbers
    closed: Callable[[Node], ClosedWindow | None] = lambda node: None  # for objects, by its send windows


def node_facts(site: SiteView) -> tuple[NodeFact, ...]:
    """Each node with its lanes and contacts, also one that was removed while work for it waited."""
    lanes = _lanes(site.newest.numbers.counts)
    paused = {one.node: one for one in site.newest.numbers.counts.pauses}
    known, now = {node.name: node for node in site.nodes}, time.time()
    troubles = {lane.name: lane for lane in site.newest.numbers.counts.lanes}

    def elsewhere(node: Node) -> str:
        other = failover_of(node, known.get, troubles, paused, now)
        return other.name if other is not None else ""

    nodes = [
        replace(
            _node(node, lanes.pop(node.name, []), site.contacts.get(node.name), paused.get(node.name)),
            closed_until=closing.until if (closing := site.closed(node)) is not None else None,
            goes_to=elsewhere(node),
        )
        for node in site.nodes
    ]
    gone = [
        NodeFact(name=name, kind="", title="", address="", roles=(), lanes=tuple(left))
        for name, left in lanes.items()
        if any(lane.waiting or lane.held for lane in left)
    ]
    return (*nodes, *gone)


def _lanes(counts: Counts) -> dict[str, list[LaneFact]]:
    """The lanes of each node, by its name."""
    held: defaultdict[str, int] = defaultdict(int)
    for pile in counts.held_jobs:
        held[pile.lane] += pile.count
    known = {lane.name: lane for lane in counts.lanes}
    found: defaultdict[str, list[LaneFact]] = defaultdict(list)
    for name in sorted(known.keys() | held.keys()):
        with contextlib.suppress(ValueError):  # a lane of a later version
            lane = Lane.parse(name)
            found[lane.node].append(_lane(lane, known.get(name, LaneState(name=name)), held[name]))
    return found


def _node(node: Node, lanes: list[LaneFact], known: NodeContacts | None, pause: NodePause | None) -> NodeFact:
    contacts = known or NodeContacts()
    last_in, last_out = contacts.last_in, contacts.last_out
    return NodeFact(
        name=node.name,
        kind=node.kind,
        title=node.ae_title or node.application,
        address=f"{node.host}:{node.port}" if node.host and node.port else node.host,
        roles=tuple(sorted(node.roles)),
        rests="" if node.active else node.state,
        paused="" if pause is None else "draining" if pause.draining else "paused",
        paused_at=None if pause is None else pause.since,
        lanes=tuple(lanes),
        last_in=last_in.at if last_in else None,
        last_out=last_out.at if last_out else None,
        contacts={kind.value: contact.at for kind, contact in contacts.by_kind.items()},
    )


def _lane(lane: Lane, state: LaneState, held: int) -> LaneFact:
    return LaneFact(
        lane=lane,
        waiting=state.waiting,
        held=held,
        oldest=state.oldest,
        failures=state.failures,
        since=state.since,
        next_try=state.open_until,
        error=state.last_error,
    )


def level_notes(newest: NewestNumbers, now: float) -> tuple[Sentence, ...]:
    """That series or studies wait until they are complete, if any do."""
    counts = newest.numbers.counts
    if not counts.gathering or counts.gathering_since is None:
        return ()
    since = Lasting(max(0.0, now - counts.gathering_since))
    return (
        Sentence(
            "%(n)s series or study waits until it is complete, since %(since)s",
            {"n": counts.gathering, "since": since},
            "%(n)s series and studies wait until they are complete, the first since %(since)s",
        ),
    )


def need_facts(newest: NewestNumbers) -> tuple[NeedFact, ...]:
    """What a person is needed for, by cause: what is held first."""
    counts = newest.numbers.counts
    needs = [
        *(_need(NeedCause.HELD_JOBS, pile) for pile in counts.held_jobs),
        *(_paused(pause) for pause in counts.pauses),
        *(_need(NeedCause.HELD_OBJECTS, pile) for pile in counts.held_objects),
        *(_need(NeedCause.PERFORMED, pile) for pile in counts.performed),
    ]
    if counts.refused:
        needs.append(
            NeedFact(
                cause=NeedCause.REFUSED,
                count=min(counts.refused, CAP),
                more=counts.refused > CAP,
                oldest=None,
                latest=counts.refused_at,
                what=Sentence("their senders were told why"),
            )
        )
    if counts.knocking:
        needs.append(
            NeedFact(
                cause=NeedCause.KNOCKING,
                count=counts.knocking,
                oldest=None,
                latest=counts.knocked_at,
                what=Sentence("they are refused until somebody admits them"),
            )
        )
    return tuple(needs)


def _need(cause: NeedCause, pile: Pile) -> NeedFact:
    return NeedFact(
        cause=cause,
        count=min(pile.count, CAP),
        more=pile.more,
        oldest=pile.oldest,
        what=reason(pile.reason),
        code=pile.reason,
        lane=pile.lane,
        node=pile.lane.partition(":")[2],
    )


def _paused(pause: NodePause) -> NeedFact:
    """A node that a person has paused: only a person lets it get its work again."""
    paused = Sentence("%(node)s gets nothing until somebody resumes it", {"node": pause.node})
    draining = Sentence("%(node)s gets what was there, then nothing until somebody resumes it", {"node": pause.node})
    what = draining if pause.draining else paused
    return NeedFact(cause=NeedCause.PAUSED, count=1, oldest=pause.since, what=what, node=pause.node)


def certificate_facts() -> tuple[CertificateFact, ...]:
    """Our certificates, as the metrics tell them."""
    samples = [sample for metric in telemetry.TLS_CERTIFICATE_END.collect() for sample in metric.samples]
    return tuple(CertificateFact(place=sample.labels["key"], ends_at=sample.value) for sample in samples)


def backup_fact(data: Path, *, daily: bool) -> BackupFact | None:
    """The last backup of a data folder; None if there was none, and the broker makes none by itself (`daily`)."""
    known = last_backup(data) or (LastBackup() if daily else None)
    return None if known is None else BackupFact(**known.model_dump(), daily=daily)


def traffic_fact(rates: Rates) -> TrafficFact:
    """What went through lately."""
    return TrafficFact(
        accepted=rates.total("orders", QUARTER),
        refused=rates.total("refused", QUARTER),
        stalls=rates.total("stalls", HOUR),
    )
