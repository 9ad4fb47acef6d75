"""The start page: doors, nodes, counts and rules at a glance, without anything about a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.overview import Health, Overview, StatusSource
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence

LINK = PageLink(title=Sentence("Now"), path="/", icon="now", right=Right.STATUS)

HEALTH = {"ok": Sentence("All well"), "degraded": Sentence("Degraded"), "down": Sentence("Down")}
STATES = {  # of nodes and listeners
    "listening": ("ok", Sentence("listening")),
    "reachable": ("ok", Sentence("reachable")),
    "idle": ("", Sentence("idle")),
    "waiting": ("warn", Sentence("waiting")),
    "not reachable": ("bad", Sentence("not reachable")),
    "disabled": ("warn", Sentence("disabled")),
    "blocked": ("bad", Sentence("blocked")),
    "closed": ("bad", Sentence("closed")),
}


@dataclass(frozen=True, slots=True)
class Glance:
    """The broker at a glance. `figures`: name, number, what it goes with, and whether a person is needed."""

    overview: Overview
    health: Sentence
    figures: list[tuple[Sentence, int, Sentence, bool]]
    states: Mapping[str, tuple[str, Sentence]]


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of the broker for the top bar of every page."""

    health: Health
    word: Sentence


def router(status: StatusSource) -> APIRouter:
    """The routes of the start page, and of the state in the top bar."""
    routes = page_router(Right.STATUS)

    @routes.get("/")
    async def page(request: Request) -> Response:
        overview = await status.overview()
        return shell.render(request, "start", Glance(overview, HEALTH[overview.health], _figures(overview), STATES))

    @routes.get("/pulse")
    async def pulse(request: Request) -> Response:
        health, _ = await status.readiness()
        return shell.render(request, "pulse", Pulse(health, HEALTH[health]))

    return routes


def _figures(view: Overview) -> list[tuple[Sentence, int, Sentence, bool]]:
    steps, messages, queue = view.worklist, view.messages, view.queue
    listed = sum(steps.get(status, 0) for status in ("SCHEDULED", "ARRIVED", "READY"))
    ended = steps.get("CANCELED", 0) + steps.get("DISCONTINUED", 0)
    accepted = messages.get("AA", 0) + messages.get("CA", 0)
    refused = sum(messages.values()) - accepted
    unrouted, held = view.instances.get("held", 0), queue.get("held", 0)
    waiting = queue.get("ready", 0) + queue.get("leased", 0)
    person = Sentence("need a person")
    return [
        (Sentence("on the worklist"), listed, Sentence("%(n)s cancelled or discontinued", {"n": ended}), False),
        (Sentence("messages accepted"), accepted, Sentence("%(n)s refused, in 24 hours", {"n": refused}), False),
        (
            Sentence("objects received"),
            sum(view.instances.values()),
            Sentence("%(n)s held without a route", {"n": unrouted}),
            unrouted > 0,
        ),
        (Sentence("deliveries waiting"), waiting, Sentence("%(n)s done", {"n": queue.get("done", 0)}), False),
        (Sentence("deliveries held"), held, person, held > 0),
        (Sentence("performed steps"), view.performed_waiting, person, view.performed_waiting > 0),
        (Sentence("devices knocking"), view.knocking, Sentence("unknown callers"), view.knocking > 0),
    ]
