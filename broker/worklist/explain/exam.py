"""Explains why a device shows an exam or not: finds its steps and the queries of the device, `verdict` judges them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice

from sqlalchemy import Connection

from broker.orders.core.identifiers import SHORT, short_form
from broker.settings import Settings
from broker.site.device import DEFAULT
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.site.tables.roles import ACTIVE, State
from broker.store import knocks
from broker.store.orders import search as order_search
from broker.store.worklist import device_queries
from broker.store.worklist import steps as worklist_steps
from broker.store.worklist.candidates import Criteria, Found, search
from broker.store.worklist.device_queries import DeviceQueries
from broker.store.worklist.steps import StepRow
from broker.worklist.explain import recall, verdict
from broker.worklist.explain.verdict import AnswerPlace, Asking, Caller, ExplainedStep, Ground, Verdict
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches
from broker.worklist.query.timezone import in_offset

ORDERS, STEPS = 20, 50  # explained at once
CANDIDATES = 20_000  # of a search, looked through for the place of a step
PAGE, BARE = 500, 5000  # read at once, with documents and without


@dataclass(frozen=True, slots=True)
class Exam:
    """Which exam is meant: by exactly one of accession number, order (row) and step (row)."""

    accession: str | None = None
    order: int | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """Whether the device shows a step (None: cannot be told), the first reason, and its queries, the last first."""

    row: StepRow
    shown: bool | None
    reason: str
    queries: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class ExamVerdict:
    """Whether the device shows the exam: it does if it shows any of its steps. Without steps there is no such exam.

    `last_asked`: when the device queried last, in s since the epoch.
    """

    caller: Caller
    last_asked: float | None
    shown: bool | None
    reason: str
    steps: tuple[StepVerdict, ...]


def explain_exam(
    connection: Connection,
    exam: Exam,
    device: str,
    directory: Directory,
    settings: Settings,
    secret: bytes,
    *,
    deep: bool = True,
) -> ExamVerdict:
    """Why a device (name of a node, or AE title) shows an exam or not. `secret` keyed the hashes of queries.

    Not `deep`: without the place of its steps among all answers, which is looked for in the whole worklist.
    """
    zone = settings.zone()
    caller, asked = caller_of(connection, device, directory, accepts_any=settings.dicom.accept == "any")
    steps = [step for step in _steps(connection, exam) if exam.step in (None, step.row)]
    ground = Ground(
        datetime.now(zone),
        zone,
        settings.worklist.max_answers,
        settings.worklist.charset,
        secret,
        recall.fingerprint(secret),
        _Places(connection, zone) if deep else lambda *_: None,
    )
    askings = askings_of(asked) or [verdict.supposed(caller.ae_title)]
    verdicts = tuple(_step(step, caller, askings, ground) for step in steps)
    shown, reason = _together(verdicts, exam)
    return ExamVerdict(caller, max((one.last_at for one in asked), default=None), shown, reason, verdicts)


def caller_of(
    connection: Connection, device: str, directory: Directory, *, accepts_any: bool
) -> tuple[Caller, list[DeviceQueries]]:
    """Who is meant: a node by its name or AE title, else an AE title that is no node's; and what it asked."""
    node = _node(directory, device)
    title = node.ae_title if node is not None else device.strip(" ")
    profile = (node.device if node is not None else None) or DEFAULT
    knocked = tuple(
        knock for knock in knocks.all_of(connection, title) if directory.device(title, knock.address) is None
    )
    asked = device_queries.of(connection, title)
    state: State = node.state if node is not None else ACTIVE
    name = node.name if node is not None else ""
    return Caller(title, name, accepts_any, profile, knocked, state), asked


def _node(directory: Directory, device: str) -> Node | None:
    nodes = [node for node in directory.nodes if node.kind == "dicom"]
    for wanted, fold in ((device, str), (device.lower(), str.lower)):
        for name in ("name", "ae_title"):
            for node in nodes:
                if fold(getattr(node, name)) == wanted:
                    return node
    return None


def _steps(connection: Connection, exam: Exam) -> list[StepRow]:
    if exam.accession is not None:
        orders = order_search.find(connection, {"AccessionNumber": exam.accession}, 0, ORDERS)
        if not orders and len(exam.accession) > SHORT:  # the long form of one that was too long
            orders = order_search.find(connection, {"AccessionNumber": short_form(exam.accession)}, 0, ORDERS)
    else:
        order = exam.order if exam.step is None else worklist_steps.order_of(connection, exam.step)
        orders = [order] if order is not None else []
    return worklist_steps.of_orders(connection, orders, STEPS) if orders else []


def askings_of(asked: Sequence[DeviceQueries]) -> list[Asking]:
    """The queries of a device, from all its addresses, the last first."""
    entries = [entry for one in asked for entry in reversed(one.queries)]
    entries.sort(key=lambda entry: -float(entry["at"]))
    return [
        Asking(
            recall.decode(entry["asked"]) if entry["asked"] is not None else None,
            entry["at"],
            entry["times"],
            entry["count"],
            entry["status"],
            entry["comment"],
            entry.get("previous"),  # queries that earlier versions kept have none
        )
        for entry in entries[:20]
    ]


class _Places:
    """Finds the place of a step among the answers to a query; see `Ground`."""

    def __init__(self, connection: Connection, zone: tzinfo) -> None:
        self._connection = connection
        self._zone = zone
        self._ahead: dict[tuple[Criteria, int], int | None] = {}

    def __call__(self, query: Query, row: int, most: int) -> AnswerPlace | None:
        """By the search of the door, and where the search alone cannot say it by the matcher too."""
        criteria = search_criteria(query)
        if (criteria, row) not in self._ahead:
            self._ahead[criteria, row] = self._candidates(criteria, row)
        ahead = self._ahead[criteria, row]
        if ahead is None or ahead < most:
            return None if ahead is None else AnswerPlace(ahead, exact=False)
        rows = (one for page in self._pages(criteria, PAGE) for one in page)
        documents = (in_offset(one.document(), self._zone, query.offset) for one in islice(rows, ahead))
        return AnswerPlace(sum(matches(document, query) for document in documents))

    def _candidates(self, criteria: Criteria, row: int) -> int | None:
        """How many the search finds before a step; -1 if it does not find it, None if it looked long enough."""
        before = 0
        for page in self._pages(criteria, BARE, bare=True):
            place = next((number for number, one in enumerate(page) if one.id == row), None)
            if place is not None:
                return before + place
            before += len(page)
            if before >= CANDIDATES:
                return None
        return -1

    def _pages(self, criteria: Criteria, size: int, *, bare: bool = False) -> Iterator[list[Found]]:
        after: tuple[str, int] | None = None
        while page := search(self._connection, criteria, after, size, bare=bare):
            yield page
            if len(page) < size:
                return
            after = (page[-1].start_at, page[-1].id)


def _step(row: StepRow, caller: Caller, askings: Sequence[Asking], ground: Ground) -> StepVerdict:
    step = ExplainedStep(row.row, row.answer, row.came_at, row.changed_at)
    verdicts = tuple(verdict.judge(step, caller, asking, ground) for asking in askings)
    shown, reason = verdict.conclude(step, caller, verdicts, ground)
    return StepVerdict(row, shown, reason, verdicts)


def _together(steps: Sequence[StepVerdict], exam: Exam) -> tuple[bool | None, str]:
    """The answer for the whole exam: shown if any of its steps is."""
    if not steps:
        what = "accession number" if exam.accession is not None else "number"
        return False, f"no {'step' if exam.step is not None else 'order'} has this {what}"
    best = next((step for step in steps if step.shown), None) or next(
        (step for step in steps if step.shown is None), steps[0]
    )
    return best.shown, best.reason
