"""Holds `/api/v1/status` as values, and says where the web gets it: states and counts without patient data."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import tzinfo
from enum import Enum
from typing import Any

from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from broker.model.wording import Sentence
from broker.status.causes import reason
from broker.status.facts import NeedCause, NeedFact
from broker.status.judging import BrokerStatus, Health
from broker.status.node_judging import state_of
from broker.status.rates import Rates

LAST = 4_102_444_800  # seconds since the epoch that anybody may ask for: the year 2100


@dataclass(frozen=True, slots=True)
class StatusSource:
    """Where the web gets the state of the broker and its metrics. `zone`: of the site, for times in sentences."""

    status: Callable[[], Awaitable[BrokerStatus]]
    metrics: Collector
    rates: Rates
    zone: tzinfo


class StatusFindingView(BaseModel):
    """Something that a person should know, in words. `weight`: 0 a note, 1 degraded, 2 down. Times in s since 1970."""

    weight: int
    text: str
    since: float | None
    node: str


class StatusListenerView(BaseModel):
    """A listener of the broker."""

    name: str
    address: str
    open: bool


class StatusDatabaseView(BaseModel):
    """The database. `size` in bytes; `counted_at`: when what waits was counted last; `stale`: it cannot be counted.

    `behind`: it lacks rows that it had.
    """

    kind: str
    reachable: bool
    writable: bool
    damaged: bool
    behind: bool
    size: int
    written_at: float | None
    counted_at: float | None
    stale: bool


class ForecastView(BaseModel):
    """When a disk is full, null for not within 30 days; `known` is false while too little is known."""

    known: bool
    full_at: float | None
    rate: float = Field(description="Bytes a second")


class StatusDiskView(BaseModel):
    """A file system and what stands on it, in bytes. Below `mark` free bytes images are refused."""

    holds: list[str]
    size: int
    free: int
    mark: int
    room: int = Field(description="0 takes all; 1 refuses large images, 2 all images, 3 orders too")
    forecast: ForecastView


class StatusLaneView(BaseModel):
    """The work of one kind for a node. A count of 10,001 means “more than 10,000”.

    `failures` in a row `since` a time, the last one by `error` (`why` in words); `next_try`: when it is tried again.
    """

    name: str
    waiting: int
    held: int
    oldest: float | None
    failures: int
    since: float
    next_try: float
    error: str
    why: str


class StatusNodeView(BaseModel):
    """A system of the site, its work, and when it was last in contact. `state`: down, late, held, working, well,
    quiet (for more than a day), closed (outside of its send windows), paused or new.
    """

    name: str
    kind: str
    title: str
    address: str
    roles: list[str]
    state: str
    last_in: float | None
    last_out: float | None
    contacts: dict[str, float] = Field(description="The last one of each kind")
    rests: str = Field(description="disabled or blocked by a person, else empty")
    paused: str = Field(description="paused or draining by a person, else empty")
    paused_at: float | None
    closed_until: float | None = Field(
        description="Objects wait for its send window until then; null: it is open, or none comes within a year"
    )
    goes_to: str = Field(description="The destination that gets its objects while it is away, else empty")
    lanes: list[StatusLaneView]


class StatusSenderView(BaseModel):
    """An application that sends HL7. `expected`: messages that usually come in such a time; null: not known yet."""

    name: str
    last_at: float
    messages: int
    expected: float | None
    silent: bool


class CertificateView(BaseModel):
    """A certificate of ours."""

    place: str
    ends_at: float


class StatusDutyView(BaseModel):
    """The last run of a duty of housekeeping: when, how long (s), and how often in a row it failed.

    `deleted`: how many rows or files it deleted; null for what deletes none.
    """

    name: str
    last_at: float
    seconds: float
    failures: int
    error: str
    deleted: int | None = None


class StatusBackupView(BaseModel):
    """The last good backup, how long it took (s), and the code of one that failed since. Times: 0 for never.

    `proven_at`: when it was read again and found good; `restored`: its database was also restored for a trial.
    `daily`: the broker makes one each day by itself.
    """

    good_at: float
    seconds: float
    folder: str
    proven_at: float
    restored: bool
    daily: bool
    failed_at: float
    failed: str


class NeedView(BaseModel):
    """Things of one cause that wait for a person. `more`: there may be more than `count`. `command` lists them.

    `what` says in words why they wait, `code` as it is stored.
    """

    cause: str
    lane: str
    node: str
    count: int
    more: bool
    what: str
    code: str
    oldest: float | None
    latest: float | None
    command: str


class TrafficView(BaseModel):
    """HL7 messages of the last 15 minutes; times in the last hour in which one handler held the event loop."""

    accepted: float
    refused: float
    stalls: float


class StatusView(BaseModel):
    """How the broker is, why, and all that is known of it; no patient data. Times in seconds since the epoch."""

    health: Health
    findings: list[StatusFindingView]
    needs: list[NeedView]
    version: str
    now: float
    started_at: float
    listeners: list[StatusListenerView]
    database: StatusDatabaseView
    disks: list[StatusDiskView]
    nodes: list[StatusNodeView]
    senders: list[StatusSenderView]
    certificates: list[CertificateView]
    duties: list[StatusDutyView]
    backup: StatusBackupView | None = Field(default=None, description="Null: none was made, and none is made by itself")
    last_backup: float | None = Field(default=None, description="When the last good backup began")
    exams: dict[str, int] = Field(description="Of today, by status")
    traffic: TrafficView


def view_of(status: BrokerStatus, zone: tzinfo) -> StatusView:
    """The status with its sentences in English, times in them on the clock of `zone`."""
    facts, now = status.facts, status.facts.now
    document = _plain(facts, zone, now)
    for node, shown in zip(facts.nodes, document["nodes"], strict=True):
        shown["state"] = state_of(node, now).value
        if node.closed_until == math.inf:
            shown["closed_until"] = None
        for lane, row in zip(node.lanes, shown["lanes"], strict=True):
            row["name"] = lane.lane.name
            row["why"] = reason(lane.error).english(zone, now) if lane.error else ""
    for need, shown in zip(facts.needs, document["needs"], strict=True):
        shown["command"] = command_of(need)
    findings = _plain(status.verdict.findings, zone, now)
    document["last_backup"] = (facts.backup.good_at or None) if facts.backup else None
    return StatusView.model_validate({**document, "health": status.verdict.health, "findings": findings})


def command_of(need: NeedFact) -> str:
    """The command that lists what waits; empty if there is none yet."""
    if need.cause is NeedCause.HELD_JOBS:
        return f"broker queue held --lane {need.lane}"
    return _COMMANDS.get(need.cause, "")


_COMMANDS = {
    NeedCause.PAUSED: "broker queue summary",
    NeedCause.PERFORMED: "broker mpps list --waiting",
    NeedCause.REFUSED: "broker messages list --refused --since today",
    NeedCause.KNOCKING: "broker nodes knocking",
}


def _plain(value: Any, zone: tzinfo, now: float) -> Any:
    """A value of `status` as JSON has it."""
    if isinstance(value, Sentence):
        return value.english(zone, now)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), zone, now) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(each, zone, now) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each, zone, now) for each in value]
    return value
