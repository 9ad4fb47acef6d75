"""The page *Now*: is everything all right, what needs a person, and how every part is. Nothing of it is of a patient.

The values are those of `status.judging`, as readiness, REST and `broker status` tell them. Two regions are live:
`verdict`, which says what a person must know, and `parts`, which shows the rest. Plots ask `/now/numbers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from broker.accounts.roles import Right
from broker.admin.routers import page_router
from broker.admin.sharing import shared
from broker.admin.status import LAST, StatusSource, command_of
from broker.admin.web import shell
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence, counted
from broker.model.contact import ContactKind
from broker.model.wording import Instant, Lasting
from broker.status.causes import reason, work_of
from broker.status.facts import BrokerFacts, DiskFact, NeedCause, NeedFact, NodeFact
from broker.status.judging import BrokerStatus, Health
from broker.status.node_judging import NodeState, StatusFinding, Weight, state_of, waiting
from broker.status.rates import Rates

LINK = PageLink(title=Sentence("Now"), path="/", icon="now", right=Right.STATUS)
MOST_NODES = 40  # that are shown; the troubled ones first

HEALTH: Mapping[Health, tuple[str, Sentence]] = {
    "ok": ("ok", Sentence("All well")),
    "degraded": ("warn", Sentence("Needs attention")),
    "down": ("bad", Sentence("Down")),
}
TONES = {Weight.NOTE: "", Weight.DEGRADED: "warn", Weight.DOWN: "bad"}
STATES = {
    NodeState.DOWN: ("bad", Sentence("down")),
    NodeState.LATE: ("warn", Sentence("waits too long")),
    NodeState.HELD: ("warn", Sentence("held")),
    NodeState.WORKING: ("ok", Sentence("working")),
    NodeState.WELL: ("ok", Sentence("in contact")),
    NodeState.QUIET: ("", Sentence("quiet")),
    NodeState.NEW: ("", Sentence("no contact yet")),
    NodeState.CLOSED: ("ok", Sentence("waits for its time")),
    NodeState.PAUSED: ("warn", Sentence("paused")),
    NodeState.DISABLED: ("", Sentence("disabled")),
    NodeState.BLOCKED: ("", Sentence("blocked")),
}
LISTS = {
    NeedCause.HELD_JOBS: "/holds",
    NeedCause.PAUSED: "/queue",
    NeedCause.HELD_OBJECTS: "/holds/objects",
    NeedCause.KNOCKING: "/nodes/knocking",
    NeedCause.REFUSED: "/messages",
    NeedCause.PERFORMED: "/performed",
}  # the pages that list what waits
EXAMS = (  # of the day: their names, and the statuses that belong together
    (Sentence("planned"), ("SCHEDULED", "ARRIVED", "READY")),
    (Sentence("in progress"), ("STARTED",)),
    (Sentence("completed"), ("COMPLETED",)),
    (Sentence("called off"), ("CANCELED", "DISCONTINUED")),
)
PLOTS: tuple[tuple[Sentence, Mapping[str, Sentence]], ...] = (
    (
        Sentence("Orders and queries by the minute"),
        {"orders": Sentence("orders"), "queries": Sentence("queries")},
    ),
    (
        Sentence("Objects by the minute"),
        {"objects_in": Sentence("incoming"), "objects_out": Sentence("outgoing")},
    ),
)


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of the broker for the top bar of every page."""

    tone: str
    word: Sentence


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node in words. `work`: what waits for it, and why it does; `queue`: the address where that stands."""

    fact: NodeFact
    tone: str
    state: Sentence
    work: list[Sentence]
    queue: str
    query: float | None
    image: float | None
    path: str


@dataclass(frozen=True, slots=True)
class NeedRow:
    """What a person is needed for. `path`: its list, empty while there is no such page; `command` lists it too."""

    fact: NeedFact
    things: Sentence
    what: Sentence
    command: str
    path: str


@dataclass(frozen=True, slots=True)
class DiskRow:
    """A disk in words; `used`: its used share, in percent."""

    fact: DiskFact
    used: int
    forecast: Sentence


@dataclass(frozen=True, slots=True)
class PlotRow:
    """A plot of some counters; `hour`: the same in the last hour, for who has no script."""

    title: Sentence
    keys: tuple[str, ...]
    names: tuple[Sentence, ...]
    hour: list[tuple[Sentence, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NowView:
    """Everything on the page. `zone`: the name of that of the site, for the plots; empty if it has none."""

    facts: BrokerFacts
    pulse: Pulse
    findings: list[tuple[str, StatusFinding, str]]
    needs: list[NeedRow]
    nodes: list[NodeRow]
    more_nodes: int
    disks: list[DiskRow]
    exams: list[tuple[Sentence, int]]
    plots: list[PlotRow]
    zone: str


def router(source: StatusSource) -> APIRouter:
    """The routes of *Now*, and of the state in the top bar."""
    routes = page_router(Right.STATUS)

    @routes.get("/", dependencies=[shared()])
    async def page(request: Request) -> Response:
        return shell.render(request, "now", view_of(await source.status(), source, _paths(request)))

    @routes.get("/now/numbers")
    async def numbers(since: Annotated[float, Query(ge=0, le=LAST)] = 0) -> Response:
        return JSONResponse([asdict(minute) for minute in source.rates.since(since)])

    @routes.get("/pulse", dependencies=[shared()])
    async def pulse(request: Request) -> Response:
        return shell.render(request, "pulse", pulse_of(await source.status()))

    return routes


def pulse_of(status: BrokerStatus) -> Pulse:
    """The verdict for the top bar."""
    return Pulse(*HEALTH[status.verdict.health])


def _paths(request: Request) -> frozenset[str]:
    """The pages that there are."""
    return frozenset(getattr(route, "path", "") for route in request.app.routes)


def view_of(status: BrokerStatus, source: StatusSource, paths: frozenset[str]) -> NowView:
    """The page. `paths` are those of the pages that may be linked."""
    facts = status.facts
    nodes = sorted((_node(node, facts.now, paths) for node in facts.nodes), key=_order)
    known = {row.fact.name: row.queue or row.path for row in nodes}
    return NowView(
        facts=facts,
        pulse=pulse_of(status),
        findings=[(TONES[each.weight], each, known.get(each.node, "")) for each in status.verdict.findings],
        needs=[_need(need, paths, datetime.fromtimestamp(facts.now, source.zone).date()) for need in facts.needs],
        nodes=nodes[:MOST_NODES],
        more_nodes=len(nodes[MOST_NODES:]),
        disks=[_disk(disk, facts.now) for disk in facts.disks],
        exams=[(name, sum(facts.exams.get(status, 0) for status in group)) for name, group in EXAMS],
        plots=[_plot(title, series, source.rates) for title, series in PLOTS],
        zone=getattr(source.zone, "key", ""),
    )


def _plot(title: Sentence, series: Mapping[str, Sentence], rates: Rates) -> PlotRow:
    hour = [(name, round(rates.total(key, 60))) for key, name in series.items()]
    return PlotRow(title, tuple(series), tuple(series.values()), hour)


def _order(row: NodeRow) -> tuple[int, str]:
    return ("bad", "warn", "ok", "").index(row.tone), row.fact.name


def _node(node: NodeFact, now: float, paths: frozenset[str]) -> NodeRow:
    contacts = node.contacts
    return NodeRow(
        node,
        *STATES[state_of(node, now)],
        work=list(_work(node, now)),
        queue=f"/queue?{urlencode({'node': node.name})}" if "/queue" in paths and (node.lanes or node.paused) else "",
        query=contacts.get(ContactKind.QUERY),
        image=contacts.get(ContactKind.IMAGE),
        path=f"/nodes/{quote(node.name)}" if "/nodes" in paths and node.kind else "",
    )


def _work(node: NodeFact, now: float) -> list[Sentence]:
    """Why a node is down and when it is tried again, what waits for it and since when."""
    found = []
    for lane in node.lanes:
        if lane.failures:
            values = {"at": Instant(lane.since), "span": Lasting(now - lane.since), "why": reason(lane.error)}
            found.append(Sentence("down since %(at)s (%(span)s): %(why)s", values))
            if lane.next_try > now:
                found.append(Sentence("next try in %(span)s", {"span": Lasting(lane.next_try - now)}))
        if lane.waiting and lane.oldest is not None:
            told = {"n": waiting(lane), "work": work_of(lane.lane.kind), "span": Lasting(now - lane.oldest)}
            found.append(Sentence("%(work)s: %(n)s waiting, the oldest for %(span)s", told))
        if lane.held:
            found.append(Sentence("%(work)s: %(n)s held", {"n": lane.held, "work": work_of(lane.lane.kind)}))
    return found


def _need(need: NeedFact, paths: frozenset[str], today: date) -> NeedRow:
    path = LISTS.get(need.cause, "")
    filters = {
        NeedCause.HELD_JOBS: {"lane": need.lane, "error": need.code},
        NeedCause.PAUSED: {"node": need.node},
        NeedCause.HELD_OBJECTS: {"cause": need.code},
        NeedCause.REFUSED: {"state": "open", "since": today.isoformat()},
        NeedCause.PERFORMED: {"attention": "waiting"},
    }
    query = f"?{urlencode(filters[need.cause])}" if need.cause in filters else ""
    return NeedRow(
        need, _things(need.cause, need.count), need.what, command_of(need), path + query if path in paths else ""
    )


def _things(cause: NeedCause, n: int) -> Sentence:
    """What `n` things of a cause are called beside their number."""
    match cause:
        case NeedCause.HELD_JOBS:
            return counted("delivery held", "deliveries held", n)
        case NeedCause.PAUSED:
            return counted("destination paused", "destinations paused", n)
        case NeedCause.HELD_OBJECTS:
            return counted("object held", "objects held", n)
        case NeedCause.PERFORMED:
            return counted("performed step waits", "performed steps wait", n)
        case NeedCause.REFUSED:
            return counted("message refused today", "messages refused today", n)
        case NeedCause.KNOCKING:
            return counted("device knocks", "devices knock", n)


def _disk(disk: DiskFact, now: float) -> DiskRow:
    used = 100 - round(100 * disk.free / disk.size) if disk.size else 100
    full_at = disk.forecast.full_at
    if not disk.forecast.known:
        text = Sentence("how fast it fills is not known yet")
    elif full_at is None:
        text = Sentence("not full within 30 days at the rate of the last hours and days")
    else:
        text = Sentence("full at %(at)s, in %(span)s", {"at": Instant(full_at), "span": Lasting(full_at - now)})
    return DiskRow(disk, used, text)
