"""The page *Queue*: destinations by the age of what waits, and the jobs, with what can be done with both.

Three regions are live: `queue` (the destinations, and what can be done with one node), `queue_plot` (the last hours)
and `jobs`. What REST and `broker queue` do is done by the same functions. Who may see no patients sees the jobs without
what they send.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.holds import REASON
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import CAP, NOTHING, Asked, Listing, Picked
from broker.admin.web.queue import lanes, told, waiting
from broker.admin.web.queue.lanes import AGES, QueueLane, QueueNode
from broker.admin.web.queue.plot import QueueHistory, history_of
from broker.admin.web.queue.waiting import QueueLine, table_for
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.delivery.rerouting import reroute
from broker.queue import holds
from broker.queue.steering import QueueSteering, Steering, now_by
from broker.routing.held_work import OtherCount
from broker.routing.site import destinations
from broker.status.lane_keeps import kept_of
from broker.store.holds.held_jobs import HeldFilter
from broker.store.lanes import reports_of_node
from broker.store.queued import waiting_jobs
from broker.store.queued.waiting_jobs import Waits

LINK = PageLink(title=Sentence("Queue"), path="/queue", icon="queue", right=Right.STATUS)
_CHANGED = Sentence("The list has changed meanwhile: look again. Nothing was changed.")
_NEWER = Sentence(
    "Of some of these a newer version was sent. Tried again, the older one goes over it. Nothing was changed. The page"
    " Holds lets you try them again all the same."
)
_SAY_WHY = Sentence("Say why, in 3 to 500 characters.")
Act = Callable[[Sequence[int], Steering], Sentence]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSlip:
    """Why nothing was changed, and what was typed and picked. `question`: the one that is asked again."""

    question: str = ""
    problem: Sentence | None = None
    errors: forms.FieldErrors = field(default_factory=dict)
    reason: str = ""
    to: str = ""
    picked: Picked = NOTHING

    def errors_of(self, question: str) -> forms.FieldErrors:
        """What is wrong in the form of a question."""
        return self.errors if self.question == question else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """The page. Of a region that is not asked for, `lanes` or `listing` is None.

    `until` (s since the epoch): “all that match” means jobs that were there then. `forgotten`: the address holds a
    search that cannot be read here.
    """

    asked: Asked
    lanes: Sequence[QueueLane] | None
    node: QueueNode | None
    history: QueueHistory | None
    listing: Listing[QueueLine] | None
    ages: Sequence[Sentence]
    cap: int
    waits: Waits
    until: float
    nodes: Sequence[tuple[str, str]]
    may_work: bool
    forgotten: bool
    slip: QueueSlip


class _Page:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._database = context.database
        self._queue = QueueSteering(context.database, context.wake)
        self._seal = FilterSeal(context.secret)

    def show(self, request: Request, slip: QueueSlip | None = None, status: int = 200) -> Response:
        """Draw the page, or the region that is asked for."""
        asked, forgotten = self._ask(request)
        region, now, node = request.headers.get(shell.REGION_HEADER), time.time(), asked.values.get("node", "")
        shown = None
        found = None
        if region not in ("jobs", "queue_plot"):
            found = self._database.read(lanes.state, now).result()
            shown = lanes.lanes_of(self._context, found, node)
        view = QueueView(
            asked=asked,
            lanes=shown,
            node=lanes.node_of(self._context, found, shown, node) if node and found and shown is not None else None,
            history=history_of(self._context.lane_rates.minutes(node)) if region not in ("jobs", "queue") else None,
            listing=self._listing(request, asked) if region not in ("queue", "queue_plot") else None,
            ages=AGES,
            cap=CAP,
            waits=waiting.waits_of(asked.values),
            until=now,
            nodes=[(name, name) for name in sorted(destinations(self._context.site.value))],
            may_work=Right.WORK in request.state.rights,
            forgotten=forgotten,
            slip=slip or QueueSlip(),
        )
        if view.listing is None:
            viewing_of(request).nothing()
        return shell.render(request, "queue", view, status)

    def find(self, request: Request, form: forms.FormFields) -> Response:
        """Go to the list with filters, of which the private ones are sealed."""
        table = table_for(patients=Right.PATIENTS in request.state.rights)
        return shell.go(self._seal.address(table, form, request.state.actor))

    def retry(self, request: Request, form: forms.FormFields) -> Response:
        """Try picked jobs at once; of held ones, as if for the first time."""

        def tried(rows: Sequence[int], who: Steering) -> Sentence:
            if waiting.waits_of(self._ask(request)[0].values) == "held":
                return told.released(self._release(rows, who))
            done = self._queue.retry(rows, who)
            return told.retried(*kept_of(done, self._context.keeping(done.lanes)))

        return self._change(request, form, tried)

    def discard(self, request: Request, form: forms.FormFields) -> Response:
        """Give picked jobs up."""

        def given_up(rows: Sequence[int], who: Steering) -> Sentence:
            return told.given_up(self._queue.discard(rows, who), len(set(rows)))

        return self._change(request, form, given_up, "discard")

    def reroute(self, request: Request, form: forms.FormFields) -> Response:
        """Let another destination have what picked jobs send."""
        to, known = form.get("to"), destinations(self._context.site.value)

        def moved(rows: Sequence[int], who: Steering) -> Sentence:
            return told.rerouted(reroute(self._database, rows, to, known, who, self._context.wake), to)

        errors = {} if to in known else {"to": Sentence("Choose a destination.")}
        return self._change(request, form, moved, "reroute", errors)

    def steer(self, request: Request, form: forms.FormFields, name: str, deed: str) -> Response:
        """Try all that waits for a node at once, or pause, drain or resume it."""
        reason = form.get("reason")
        if deed != "retry" and deed not in told.STEERED:
            raise Problem(404, "")
        if deed != "resume" and self._context.directory.node(name) is None:
            raise Problem(404, "There is no node of this name")
        if deed != "retry" and len(reason) not in REASON:
            return self.show(request, QueueSlip(question=deed, errors={"reason": _SAY_WHY}, reason=reason), 422)
        who, values = now_by(request.state.actor, request.state.address, reason), {"node": name}
        if deed == "retry":
            self._queue.retry_node(name, who)
            busy = self._database.read(reports_of_node, name).result()
            keeps = self._context.keeping(one.name for one in busy if one.waiting)
            return shell.go(self._ask(request)[0].link(), told.node_retried(name, keeps))
        if not self._steered(name, deed, who):
            problem = replace(told.SO_ALREADY[deed], values=values)
            return self.show(request, QueueSlip(question=deed, problem=problem), 409)
        return shell.go(self._ask(request)[0].link(), replace(told.STEERED[deed], values=values))

    def release(self, request: Request, form: forms.FormFields, name: str) -> Response:
        """Try all that is held for a node again, if it is no more than a person saw."""
        expected = forms.row_number(form.get("every"))
        before = _moment(form.get("until"))
        rows = self._database.read(
            waiting_jobs.rows, HeldFilter(node=name, before=before), "held", 0, min(expected, CAP) + 1
        ).result()
        if len(rows) > expected:
            return self.show(request, QueueSlip(question="release", problem=_CHANGED), 409)
        who = now_by(request.state.actor, request.state.address)
        try:
            done = self._release(rows[:CAP], who)
        except holds.NewerSent:
            return self.show(request, QueueSlip(question="release", problem=_NEWER), 409)
        return shell.go(self._ask(request)[0].link(), told.released(done))

    def _ask(self, request: Request) -> tuple[Asked, bool]:
        """What is asked for, and whether its sealed filters cannot be read."""
        return self._seal.asked(table_for(patients=Right.PATIENTS in request.state.rights), request)

    def _listing(self, request: Request, asked: Asked) -> Listing[QueueLine]:
        patients, size = Right.PATIENTS in request.state.rights, asked.table.size
        after = forms.row_number(asked.after)
        rows, total = self._database.read(waiting.look, asked.values, after, size + 1).result()
        if patients:
            viewing_of(request).many(len(rows), asked.values)
        else:
            viewing_of(request).nothing()
        found = [waiting.line(*row, patients=patients) for row in rows]
        return asked.filled(found, total, lambda one: str(one.job.id))

    def _change(
        self,
        request: Request,
        form: forms.FormFields,
        act: Act,
        question: str = "",
        errors: dict[str, Sentence] | None = None,
    ) -> Response:
        """Do something with the jobs that are meant, and go back to the list; or say why not."""
        asked, forgotten = self._ask(request)
        picked, reason = asked.table.picked(form, asked), form.get("reason")
        wrong = dict(errors or {})
        if question and len(reason) not in REASON:
            wrong["reason"] = _SAY_WHY
        scope = "-all" if form.get("scope") else ""
        slip = QueueSlip(
            question=f"{question or 'retry'}{scope}", errors=wrong, reason=reason, to=form.get("to"), picked=picked
        )
        if wrong:
            return self.show(request, slip, 422)
        problem, status = Sentence("Pick the rows first. Nothing was changed."), 422
        if not picked.is_empty:
            try:
                rows = self._rows(asked, picked, _moment(form.get("until")), forgotten=forgotten)
                return shell.go(asked.link(), act(rows, now_by(request.state.actor, request.state.address, reason)))
            except OtherCount:
                problem, status = _CHANGED, 409
            except holds.NewerSent:
                problem, status = _NEWER, 409
        return self.show(request, QueueSlip(problem=problem, picked=picked), status)

    def _rows(self, asked: Asked, picked: Picked, before: float, *, forgotten: bool) -> Sequence[int]:
        """The rows that are meant; of very many that match, the first CAP. Raises OtherCount."""
        if picked.expected is None:
            return [row for key in picked.keys if (row := forms.row_number(key))]
        if forgotten or asked.errors:  # what matched when a person saw it is not known
            raise OtherCount
        wanted, most = waiting.filter_of(asked.values, before), min(picked.expected, CAP)
        rows = self._database.read(waiting_jobs.rows, wanted, waiting.waits_of(asked.values), 0, most + 1).result()
        if len(rows) > picked.expected:
            raise OtherCount
        return rows[:most]

    def _release(self, rows: Sequence[int], who: Steering) -> int:
        def end(connection: Connection, row: int) -> bool:
            return holds.release(connection, row, who.actor, who.at, who.address)

        done = self._database.execute(holds.end_all, lambda _: rows, end)
        self._context.wake()
        return done

    def _steered(self, name: str, deed: str, who: Steering) -> bool:
        if deed == "resume":
            return self._queue.resume(name, who)
        return self._queue.pause(name, who, drain=deed == "drain")


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.STATUS), _Page(context)
    works = [NEEDS[Right.WORK], shows("objects")]

    @routes.get("/queue", dependencies=[shows("objects")])
    def show(request: Request) -> Response:
        return page.show(request)

    @routes.post("/queue/find")
    async def find(request: Request) -> Response:
        return page.find(request, await forms.read(request))

    @routes.post("/queue/retry", dependencies=works)
    async def retry(request: Request) -> Response:
        return await asyncio.to_thread(page.retry, request, await forms.read(request))

    @routes.post("/queue/discard", dependencies=works)
    async def discard(request: Request) -> Response:
        return await asyncio.to_thread(page.discard, request, await forms.read(request))

    @routes.post("/queue/reroute", dependencies=works)
    async def send_elsewhere(request: Request) -> Response:
        return await asyncio.to_thread(page.reroute, request, await forms.read(request))

    @routes.post("/queue/nodes/{name}/release", dependencies=works)
    async def release(request: Request, name: str) -> Response:
        return await asyncio.to_thread(page.release, request, await forms.read(request), name)

    @routes.post("/queue/nodes/{name}/{deed}", dependencies=works)
    async def steer(request: Request, name: str, deed: str) -> Response:
        return await asyncio.to_thread(page.steer, request, await forms.read(request), name, deed)

    return routes


def _moment(text: str) -> float:
    """A time that a form brought (s since the epoch); the beginning of all time for none."""
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0
