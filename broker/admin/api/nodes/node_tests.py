"""Serves tests of nodes over REST: run one, see the last ones, and the state of the node's lanes beside."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.delivery.probe.node_probe import ProbeUnderWay
from broker.delivery.probe.outcome import step_of
from broker.model.wording import in_english
from broker.store import lanes, node_tests
from broker.store.lanes import LaneReport
from broker.store.node_tests import StoredTest

Name = Annotated[str, Path(max_length=64)]


class NodeTestBody(BaseModel):
    """`resume`: if all is well, send what waits for the node now, whatever its lanes wait for."""

    resume: bool = False


class ProbeContextView(BaseModel):
    """A SOP class with a transfer syntax that a node has to take, and whether it does.

    `instead`: the transfer syntax into which it is converted for a node that does not; empty if it cannot be.
    """

    sop_class: str
    transfer_syntax: str
    taken: bool
    instead: str = ""


class NodeTestStepView(BaseModel):
    """One step of a test: what happened in words, and the next thing to do. `duration` in s."""

    name: str
    outcome: Literal["good", "warning", "bad", "skipped"]
    duration: float
    words: str
    advice: str
    contexts: list[ProbeContextView]


class LaneReportView(BaseModel):
    """A lane of the node: what waits, and since when it fails. Times in s since the epoch, 0 for none.

    A count of 10,001 means “more than 10,000”.
    """

    name: str
    waiting: int
    held: int
    failures: int
    since: float
    next_try: float
    last_error: str


class NodeTestView(BaseModel):
    """A test of a node. `at` in s since the epoch, `duration` in s."""

    at: float
    actor: str
    good: bool
    duration: float
    steps: list[NodeTestStepView]


class NodeTestedView(NodeTestView):
    """A test that has just ended, with the lanes of the node beside. `resumed`: what waits is sent now."""

    lanes: list[LaneReportView]
    resumed: bool = Field(default=False)


def router(context: AdminContext) -> APIRouter:
    """Routes of tests, under /api/v1/nodes."""
    routes = admin_router("/api/v1/nodes", Right.STATUS, tags=["nodes"])

    @routes.get("/{name}/tests")
    def history(name: Name) -> list[NodeTestView]:
        """List the last tests of a node, the newest first."""
        return [tested_view(one) for one in context.database.read(node_tests.of, name).result()]

    @routes.post(
        "/{name}/test",
        dependencies=[NEEDS[Right.WORK]],
        responses={404: {"description": "No such node"}, 409: {"description": "It is being tested"}},
    )
    async def probe(name: Name, request: Request, body: NodeTestBody | None = None) -> NodeTestedView:
        """Test a node from where the broker stands, at most a minute long. Nothing of its queue changes."""
        node = context.directory.node(name)
        if node is None:
            raise Problem(404, "There is no node of this name")
        try:
            run = context.tester.begin(node, request.state.actor, resume=bool(body and body.resume))
        except ProbeUnderWay as error:
            raise Problem(409, str(error)) from None
        done = await asyncio.shield(run.ended)
        reports = await asyncio.wrap_future(context.database.read(lanes.reports_of_node, name))
        shown = [lane_view(one) for one in reports]
        return NodeTestedView(**tested_view(done).model_dump(), lanes=shown, resumed=run.resumed)

    return routes


def lane_view(report: LaneReport) -> LaneReportView:
    """A lane as REST shows it."""
    return LaneReportView(
        name=report.name,
        waiting=report.waiting,
        held=report.held,
        failures=report.failures,
        since=report.since,
        next_try=report.open_until,
        last_error=report.last_error,
    )


def tested_view(test: StoredTest) -> NodeTestView:
    """A stored test in English."""
    steps = [step_of(document) for document in test.steps]
    return NodeTestView(
        at=test.at,
        actor=test.actor,
        good=test.good,
        duration=test.duration,
        steps=[
            NodeTestStepView(
                name=step.name,
                outcome=step.outcome.value,
                duration=step.duration,
                words=in_english(step.words),
                advice=in_english(step.advice) if step.advice is not None else "",
                contexts=[
                    ProbeContextView(
                        sop_class=row.sop_class,
                        transfer_syntax=row.transfer_syntax,
                        taken=row.taken,
                        instead=row.instead,
                    )
                    for row in step.rows
                ],
            )
            for step in steps
        ],
    )
