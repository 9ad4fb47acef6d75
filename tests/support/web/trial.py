"""A page that shows every part of the shell at work: regions, forms, questions, live numbers, texts to copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from jinja2 import ChoiceLoader, DictLoader

from broker.accounts.roles import Right
from broker.admin.routers import add_routes, page_router
from broker.admin.web import forms, shell
from broker.admin.web.shell import PageLink, Shell
from broker.admin.web.words import Sentence
from broker.versions.difference import ChangeKind, Difference

TEMPLATES = {
    "pages/trial.html": """{% extends "shell.html" %}
{% block title %}Trial{% endblock %}
{% block main %}
{% include "pages/_trial.html" %}
{% include "pages/_live.html" %}
{% endblock %}""",
    "pages/_trial.html": """{% from "parts/basic.html" import changes, copyable, tabs %}
{% from "parts/fields.html" import field, choice, check, text_area, confirm, decide %}
<section class="panel" id="trial" data-say="{{ view.names | length }} names">
{{ tabs("Parts", [("Names", "/trial", true), ("Help", "/help", false)]) }}
<ul id="names">{% for name in view.names %}<li>{{ name }}</li>{% endfor %}</ul>
<form class="stack" method="post" action="/trial" data-swap="trial">
{{ field("name", "Name", view.typed, view.errors, hint="letters only") }}
{{ choice("kind", "Kind", [("a", "first"), ("b", "second")], "b") }}
{{ check("sure", "Really") }}
{{ text_area("why", "Reason") }}
<p class="actions"><button class="primary" id="add">Add</button></p>
</form>
{% call confirm("clear", "Clear…", "Clear all names?") %}
<p>They are gone then.</p>
<form method="post" action="/trial/clear" data-swap="trial">{{ decide("clear", "Clear") }}</form>
{% endcall %}
{{ copyable("command", "broker nodes admit CT01") }}
{{ changes(view.changes) }}
</section>""",
    "pages/_live.html": """<section class="panel" id="live" data-poll="1"><p id="asked">{{ view.asked }}</p>
<p><label>Field <input id="inside"></label></p></section>""",
}


@dataclass
class Trial:
    """What the page shows, and what was asked of it."""

    names: list[str] = field(default_factory=list)
    typed: str = ""
    errors: dict[str, Sentence] = field(default_factory=dict)
    asked: int = 0
    changes: list[Difference] = field(
        default_factory=lambda: [
            Difference(thing="node 'ct1'", kind=ChangeKind.CHANGED, key="port", before="104", after="11112"),
            Difference(thing="node 'mr1'", kind=ChangeKind.ADDED),
            Difference(thing="rule 'x'", kind=ChangeKind.MOVED, before="1", after="2"),
        ]
    )


def add_trial(app: FastAPI) -> Trial:
    """Add the page to an application, and enough links that a telephone shows "More"."""
    page: Shell = app.state.shell
    environments: dict[str, Any] = page._environments
    for environment in environments.values():
        environment.loader = ChoiceLoader([DictLoader(TEMPLATES), environment.loader])
    page.regions["trial"] = frozenset({"pages/_trial.html", "pages/_live.html"})
    page.links += tuple(
        PageLink(title=Sentence(f"Page {n}"), path=f"/page{n}", icon="nodes", right=Right.STATUS) for n in range(5)
    )
    trial = Trial()
    add_routes(app, _routes(trial))
    return trial


def _routes(trial: Trial) -> APIRouter:
    routes = page_router(Right.STATUS)

    @routes.get("/trial")
    async def show(request: Request) -> Response:
        if request.headers.get("X-Region") == "live":
            trial.asked += 1
        return shell.render(request, "trial", trial)

    @routes.post("/trial")
    async def add(request: Request) -> Response:
        name = (await forms.read(request)).get("name")
        if not name.isalpha():
            wrong = Trial(trial.names, name, {"name": Sentence("Type a date like 2026-12-31.")})
            return shell.render(request, "trial", wrong, 422)
        trial.names.append(name)
        return shell.go("/trial", Sentence("%(name)s was added.", {"name": name}))

    @routes.post("/trial/clear")
    async def clear(request: Request) -> Response:
        trial.names.clear()
        return shell.go("/trial", Sentence("All names are gone."))

    return routes
