"""Holds the start page and `/api/v1/status` as values: counts and states without patient data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from prometheus_client.registry import Collector
from pydantic import BaseModel

Health = Literal["ok", "degraded", "down"]


class ListenerView(BaseModel):
    """A listener of the broker."""

    name: str
    address: str
    state: Literal["listening", "closed"]


class NodeStatus(BaseModel):
    """A system of the site and the work waiting for it."""

    name: str
    kind: str
    title: str
    address: str
    roles: list[str]
    waiting: int
    held: int
    done: int
    state: str
    last_error: str


class Overview(BaseModel):
    """The broker at a glance; counts only, no patient data."""

    version: str
    uptime_seconds: int
    health: Health
    problems: list[str]
    listeners: list[ListenerView]
    nodes: list[NodeStatus]
    worklist: dict[str, int]
    messages: dict[str, int]  # by answer, of the last 24 hours
    instances: dict[str, int]
    queue: dict[str, int]
    knocking: int
    performed_waiting: int  # MPPS that a person must look at
    rules: list[str]
    rules_version: int
    default_action: str


@dataclass(frozen=True, slots=True)
class StatusSource:
    """Where the web gets health, overview and metrics: `service.health` and the workers answer."""

    overview: Callable[[], Awaitable[Overview]]
    readiness: Callable[[], Awaitable[tuple[Health, list[str]]]]
    metrics: Collector
