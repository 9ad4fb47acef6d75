"""Serves `/api/v1/worklist/devices` and `/ask`: who asks for a worklist, and what a device sees now."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from pydicom.datadict import keyword_for_tag

from broker.accounts.roles import Right
from broker.admin.api.worklist.explaining import Name
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.dicom.dataset.read import BadElement
from broker.errors import BadContent
from broker.model.wording import in_english
from broker.worklist.explain import recall, sight
from broker.worklist.explain.devices import AskingDevice, devices
from broker.worklist.explain.sight import DeviceSight, SightGround
from broker.worklist.explain.verdict import Asking
from broker.worklist.query.keys import Query

_Key = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class AskKeys(BaseModel):
    """Keys as a device sends them; an empty one is anything. Dates are `YYYYMMDD` or a range `YYYYMMDD-YYYYMMDD`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    ScheduledStationAETitle: _Key = ""
    ScheduledProcedureStepStartDate: _Key = ""
    Modality: _Key = ""
    PatientName: _Key = ""
    PatientID: _Key = ""
    AccessionNumber: _Key = ""


class AskBody(BaseModel):
    """Which device, and what is asked in its place: these `keys`, without them a query that it asked itself."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    device: Name
    keys: AskKeys | None = None
    query: int = Field(1, ge=1, le=20, description="Which of its queries, counted from the last one")
    limit: int = Field(50, ge=1, le=sight.MOST_SHOWN, description="Answers that are shown")


class LastQuery(BaseModel):
    """A query that a device made `times`, last `at` (s since the epoch), and what it got. Values of patients left out.

    `status`: the final one, in hexadecimal digits.
    """

    at: float | None
    times: int
    count: int
    status: str
    comment: str
    keys: dict[str, str]


class AskingDeviceView(BaseModel):
    """A device: `node` is empty for one that is none. `last`: null if it never asked."""

    name: str
    node: str
    ae_title: str
    state: str
    stations: list[str] = Field(description="Further AE titles whose exams it sees as its own")
    calls: int
    last: LastQuery | None


class SeenExamView(BaseModel):
    """An answer: our own numbers of its order and step, and what the device is told, by keyword."""

    order: int
    step: int
    answer: dict[str, Any]


class SightView(BaseModel):
    """What a device sees now. `which`: the query is one that it asked, would ask (it never did), or a typed one.

    `served`: the keys as its profile changes them. `refusal`: why it is not let in, empty if it is. `count` answers
    would be sent before the final `status` (hexadecimal digits), of which the first stand in `exams`. With an empty
    `status` the list is long, and was not looked through to its end: see `findings`.
    """

    device: str
    node: str
    ae_title: str
    which: Literal["asked", "supposed", "typed"]
    query: LastQuery
    served: dict[str, str]
    refusal: str
    count: int
    status: str
    comment: str
    findings: list[str]
    exams: list[SeenExamView]


def router(context: AdminContext) -> APIRouter:
    """Routes of looking at worklists in place of devices."""
    routes = admin_router("/api/v1/worklist", Right.PATIENTS, tags=["worklist"])
    ground = SightGround(directory=context.directory, settings=context.settings, secret=context.secret)

    @routes.get("/devices", dependencies=[SHOWS_NOTHING])
    def listed() -> list[AskingDeviceView]:
        """List the devices that ask for worklists, each with its last query."""
        context.write_behind()
        return [_device(one) for one in context.database.read(devices, context.directory).result()]

    @routes.post("/ask", dependencies=[shows("order")])
    def ask(request: Request, body: AskBody) -> SightView:
        """Ask for a worklist in place of a device: the answers, status and findings that it would get now."""
        context.write_behind()
        keys = body.keys.model_dump() if body.keys is not None else None
        typed = _typed(keys) if keys is not None else None
        found = context.database.read(
            sight.look, body.device, typed, ground, number=body.query, limit=body.limit
        ).result()
        viewing = viewing_of(request)
        viewing.many(len(found.exams), [name for name, value in (keys or {}).items() if value])
        viewing.more["device"] = found.caller.node or found.caller.ae_title
        return _sight(found)

    return routes


def _typed(keys: dict[str, str]) -> Query:
    """Raises Problem: a key cannot be read."""
    try:
        return sight.typed_query(keys)
    except BadContent as error:
        name = keyword_for_tag(error.tag) if isinstance(error, BadElement) else ""
        raise Problem(
            422, "Keys cannot be used", [FieldError(f"keys.{name}" if name else "keys", str(error))]
        ) from None


def _query(asking: Asking) -> LastQuery:
    return LastQuery(
        at=asking.at,
        times=asking.times,
        count=asking.count,
        status=asking.status,
        comment=asking.comment,
        keys=recall.keys(asking.recalled) if asking.recalled is not None else {},
    )


def _device(device: AskingDevice) -> AskingDeviceView:
    return AskingDeviceView(
        name=device.name,
        node=device.node,
        ae_title=device.ae_title,
        state=device.state,
        stations=sorted(device.stations),
        calls=device.calls,
        last=_query(device.last) if device.last is not None else None,
    )


def _sight(found: DeviceSight) -> SightView:
    caller = found.caller
    return SightView(
        device=caller.node or caller.ae_title,
        node=caller.node,
        ae_title=caller.ae_title,
        which=found.which,
        query=_query(found.asking),
        served=dict(found.served),
        refusal=found.refusal,
        count=found.count,
        status=found.status,
        comment=found.comment,
        findings=[in_english(one) for one in found.findings],
        exams=[SeenExamView(order=one.order, step=one.step, answer=dict(one.document)) for one in found.exams],
    )
