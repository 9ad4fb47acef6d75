"""Why a device shows an exam or not, for REST and commands; `worklist.explain.verdict` judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, tzinfo
from functools import partial

from sqlalchemy import Connection

from broker.admin.worklist import CheckView, DeviceView, ExplainBody, ExplanationView, QueryView, StepView
from broker.settings import Settings
from broker.site.device import DEFAULT
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.store import knocks
from broker.store.db.database import Database
from broker.store.orders import orders_find
from broker.store.worklist import device_queries, worklist_steps
from broker.store.worklist.device_queries import Asked
from broker.store.worklist.worklist import search
from broker.store.worklist.worklist_steps import StepRow
from broker.worklist.explain import recall, verdict
from broker.worklist.explain.verdict import Asking, Caller, Ground, Step, Verdict
from broker.worklist.query.attributes import START_DATE, START_TIME, STATIONS, STATUS, STEP_SEQUENCE
from broker.worklist.query.match import items, matches, values
from broker.worklist.query.plan import plan
from broker.worklist.query.query import Query
from broker.worklist.query.timezone import in_offset

ORDERS, STEPS = 20, 50  # explained at once
CANDIDATES = 20_000  # of a search, looked through for the place of a step
PAGE = 500


class ExplainDesk:
    """`admin.worklist.Desk` on a database."""

    def __init__(
        self, database: Database, directory: Directory, settings: Settings, secret: bytes, fresh: Callable[[], None]
    ) -> None:
        """`secret` keyed the hashes of queries; `fresh` writes down what devices asked just now."""
        self._database = database
        self._directory = directory
        self._settings = settings
        self._secret = secret
        self._fresh = fresh

    def explain(self, body: ExplainBody) -> ExplanationView:
        """Why a device shows an exam or not. Raises StoreUnavailable."""
        self._fresh()
        return self._database.read(self._explain, body).result()

    def _explain(self, connection: Connection, body: ExplainBody) -> ExplanationView:
        zone = self._settings.zone()
        caller, asked = self._caller(connection, body.device)
        steps = [one for one in _steps(connection, body) if body.step in (None, one.row)]
        ground = Ground(
            datetime.now(zone),
            zone,
            self._settings.worklist.max_answers,
            self._settings.worklist.charset,
            self._secret,
            recall.fingerprint(self._secret),
            partial(_place, connection, zone),
        )
        askings = _askings(asked) or [verdict.supposed(caller.ae_title)]
        views = [_step(one, caller, askings, ground) for one in steps]
        last = max((one.last_at for one in asked), default=None)
        device = DeviceView(
            ae_title=caller.ae_title,
            node=caller.node,
            accepted=bool(caller.node) or caller.accepted,
            knocking=sum(knock.count for knock in caller.knocks),
            last_asked=verdict.clock(last, zone) if last is not None else None,
        )
        shown, reason = _together(views, body)
        return ExplanationView(device=device, shown=shown, reason=reason, steps=views)

    def _caller(self, connection: Connection, device: str) -> tuple[Caller, list[Asked]]:
        """Who is meant: a node by its name or AE title, else an AE title that is no node's."""
        node = _node(self._directory, device)
        title = node.ae_title if node is not None else device.strip(" ")
        accepted = self._settings.dicom.accept == "any"
        profile = (node.device if node is not None else None) or DEFAULT
        device_of = self._directory.device
        knocked = tuple(one for one in knocks.all_of(connection, title) if device_of(title, one.address) is None)
        asked = device_queries.of(connection, title)
        return Caller(title, node.name if node is not None else "", accepted, profile, knocked), asked


def _node(directory: Directory, device: str) -> Node | None:
    nodes = [node for node in directory.nodes if node.kind == "dicom"]
    for wanted, fold in ((device, str), (device.lower(), str.lower)):
        for name in ("name", "ae_title"):
            for node in nodes:
                if fold(getattr(node, name)) == wanted:
                    return node
    return None


def _steps(connection: Connection, body: ExplainBody) -> list[StepRow]:
    if body.AccessionNumber is not None:
        orders = orders_find.find(connection, {"AccessionNumber": body.AccessionNumber}, 0, ORDERS)
    else:
        order = body.order if body.step is None else worklist_steps.order_of(connection, body.step)
        orders = [order] if order is not None else []
    return worklist_steps.of_orders(connection, orders, STEPS) if orders else []


def _askings(asked: Sequence[Asked]) -> list[Asking]:
    """The queries of a device, from all its addresses, the last first."""
    entries = [entry for one in asked for entry in one.queries]
    entries.sort(key=lambda entry: -float(entry["at"]))
    return [
        Asking(
            recall.decode(entry["asked"]) if entry["asked"] is not None else None,
            entry["at"],
            entry["times"],
            entry["count"],
            entry["status"],
            entry["comment"],
        )
        for entry in entries[:20]
    ]


def _place(connection: Connection, zone: tzinfo, query: Query, row: int) -> int | None:
    """How many answers come before a step, by the search and the matcher of the door; see `Ground`."""
    criteria = plan(query)
    after: tuple[str, int] | None = None
    before = looked = 0
    while looked < CANDIDATES:
        page = search(connection, criteria, after, PAGE)
        for one in page:
            if one.id == row:
                return before
            before += matches(in_offset(one.document(), zone, query.offset), query)
        if len(page) < PAGE:
            return -1
        looked += len(page)
        after = (page[-1].start_at, page[-1].id)
    return None


def _step(one: StepRow, caller: Caller, askings: Sequence[Asking], ground: Ground) -> StepView:
    step = Step(one.row, one.answer, one.came_at, one.changed_at)
    verdicts = [verdict.judge(step, caller, asking, ground) for asking in askings]
    shown, reason = verdict.conclude(step, caller, verdicts, ground)
    item = next(iter(items(one.answer, STEP_SEQUENCE)), {})
    return StepView(
        order=one.order,
        step=one.row,
        ScheduledProcedureStepID="".join(values(item, "ScheduledProcedureStepID")),
        Modality="".join(values(item, "Modality")),
        ScheduledStationAETitle=values(item, STATIONS),
        start=" ".join([*values(item, START_DATE), *values(item, START_TIME)]),
        status="".join(values(item, STATUS)),
        came_at=verdict.clock(one.came_at, ground.zone),
        changed_at=verdict.clock(one.changed_at, ground.zone),
        shown=shown,
        reason=reason,
        queries=[_query(found, ground) for found in verdicts],
    )


def _query(found: Verdict, ground: Ground) -> QueryView:
    asking = found.asking
    return QueryView(
        at=verdict.clock(asking.at, ground.zone) if asking.at is not None else None,
        times=asking.times,
        count=asking.count,
        status=asking.status,
        comment=asking.comment,
        keys=recall.keys(asking.recalled) if asking.recalled is not None else {},
        shown=found.shown,
        reason=found.reason,
        checks=[CheckView(**asdict(check)) for check in found.checks],
    )


def _together(views: Sequence[StepView], body: ExplainBody) -> tuple[bool | None, str]:
    """The answer for the whole exam: shown if any of its steps is."""
    if not views:
        what = "accession number" if body.AccessionNumber is not None else "number"
        return False, f"no {'step' if body.step is not None else 'order'} has this {what}"
    best = next((one for one in views if one.shown), None) or next(
        (one for one in views if one.shown is None), views[0]
    )
    return best.shown, best.reason
