"""The editor of a mapping profile: check a draft, see what it would change, try a message by it, put it in force.

The form is all the state there is: each answer holds the draft as it was typed, whatever went wrong. Nothing is stored
before it is published.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.mappings.words import EFFECTS, ENDS, HOW, NO_REASON, missing, path_of, quoted, refusal
from broker.admin.web.messages.feedback import REASON
from broker.admin.web.messages.trying import DifferenceGroup, groups_of
from broker.admin.web.nodes.words import signature
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.orders.interfaces import chosen, interfaces_of
from broker.orders.journal.anatomy import value_text
from broker.orders.mapping.book import DEFAULT
from broker.orders.mapping.completing import completions
from broker.orders.mapping.provenance import OriginKind, ValueOrigin
from broker.orders.mapping_versions import ExamplesFailed
from broker.orders.trying import preview
from broker.orders.trying.changes import DAYS, DraftChanges, DraftEffect, TrialBusy, TriedMessage
from broker.orders.trying.draft import DraftCheck
from broker.orders.trying.explanation import Explanation, explain
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.store.configurations import Publication
from broker.versions.in_force import Conflict
from broker.versions.text_difference import DiffLine, text_difference

MOST_DIFFERENCES = 20  # attributes that are shown of one message
BEGINNING = """name = ""
description = ""
extends = "ihe"

[senders]
match = [{ application = "", facility = "" }]
"""


@dataclass(frozen=True, slots=True)
class EffectRow:
    """A message that would not do what it does now: what differs, and how many differences are not shown."""

    effect: TriedMessage
    tone: str
    word: Sentence
    groups: Sequence[DifferenceGroup]
    more: int


@dataclass(frozen=True, slots=True)
class ChangesView:
    """What a draft would change. `counts`: words and numbers; `end`: why older messages were left out.

    `only_new`: some change what a new message would make, and nothing that is stored.
    """

    found: DraftChanges
    rows: Sequence[EffectRow]
    counts: Sequence[tuple[Sentence, int]]
    end: Sentence | None
    only_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRow:
    """An attribute of a message that was tried, with where it comes from."""

    keyword: str
    value: str
    path: str
    how: Sentence
    raw: str
    note: str


@dataclass(frozen=True, slots=True)
class OvertakenView:
    """The version that somebody published meanwhile, and how the draft differs from it."""

    publication: Publication
    places: Sequence[Sequence[DiffLine]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftView:
    """The form, and what was found about the draft. `name` is empty for a new profile.

    `seen`: the version that the draft was made of. `lines`: those that something is wrong with, by their numbers.
    `parts`: titles with the attributes of the message that was tried.
    """

    name: str
    seen: int
    text: str
    check: DraftCheck | None = None
    lines: Mapping[int, str]
    changes: ChangesView | None = None
    message: str = ""
    listener: str = ""
    listeners: Sequence[str]
    tried: Explanation | None = None
    parts: Sequence[tuple[str, Sequence[OriginRow]]] = ()
    overtaken: OvertakenView | None = None
    problem: Sentence | None = None
    errors: FieldErrors
    reason: str = ""


def router(context: AdminContext) -> APIRouter:
    """The routes of the editor."""
    routes, page = page_router(Right.MAPPINGS), _DraftPage(context)

    @routes.get("/mappings/add")
    def empty(request: Request) -> Response:
        return page.draw(request, page.view("", 0, BEGINNING))

    @routes.get("/mappings/{name}/edit")
    def filled(request: Request, name: str) -> Response:
        try:
            text, seen = context.mappings.export(name), context.mappings.history(name)[0].version
        except ConfigurationError:
            raise missing() from None
        return page.draw(request, page.view(name, seen, text))

    @routes.post("/mappings/draft/check")
    async def check(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.check, request, form)

    @routes.post("/mappings/draft/changes", dependencies=[shows("message", "replayed")])
    async def changes(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.changes, request, form)

    @routes.post("/mappings/draft/try", dependencies=[NEEDS[Right.MESSAGES], SHOWS_NOTHING])
    async def tried(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.tried, request, form)

    @routes.post("/mappings/draft/publish")
    async def publish(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.publish, request, form)

    @routes.post("/mappings/draft/suggestions")
    async def suggestions(request: Request) -> Response:
        form = await forms.read(request)
        found = completions(form.get("table"), form.typed("line"))
        return JSONResponse([{"text": one.text, "over": one.over, "note": one.note} for one in found])

    return routes


class _DraftPage:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def view(self, name: str, seen: int, text: str) -> DraftView:
        """The form with a text."""
        listeners = list(interfaces_of(self._context.settings, self._context.directory.knows_sender))
        return DraftView(name=name, seen=seen, text=text, lines={}, listeners=listeners, errors={})

    def draw(self, request: Request, view: DraftView, status: int = 200) -> Response:
        """The page, with the lines that something is wrong with."""
        lines = quoted(view.text, view.check) if view.check else {}
        return shell.render(request, "mapping_draft", replace(view, lines=lines), status)

    def _sent(self, form: FormFields) -> DraftView:
        """The form as it was sent. A browser ends lines by CR LF."""
        seen = form.get("seen")
        view = self.view(
            form.get("name")[:64],
            int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else 0,
            form.typed("text").replace("\r\n", "\n"),
        )
        message = form.typed("message").replace("\r\n", "\n")
        return replace(view, message=message, listener=form.get("listener"), reason=form.get("reason"))

    def _checked(self, form: FormFields) -> DraftView:
        """The form with all that is wrong with the draft."""
        view = self._sent(form)
        try:
            return replace(view, check=self._context.mappings.draft(view.text, view.name))
        except ConfigurationError as error:  # of another profile, which is in force
            return replace(view, check=DraftCheck(), problem=refusal(error))

    def check(self, request: Request, form: FormFields) -> Response:
        """What is wrong, and what the examples come to."""
        view = self._checked(form)
        return self.draw(request, view, 422 if view.problem or (view.check and view.check.wrong) else 200)

    def changes(self, request: Request, form: FormFields) -> Response:
        """Which messages of the last days would change something else."""
        view = self._checked(form)
        if view.problem or view.check is None or view.check.mistakes:
            viewing_of(request).nothing()
            return self.draw(request, view, 422)
        bench = self._context.bench(request, ProfileChoice())
        try:
            found = self._context.mappings.changes(view.text, bench, time.time() - DAYS * 86_400)
        except TrialBusy:
            problem = Sentence("Another draft is being tried on the messages just now. Try again in some seconds.")
            return self.draw(request, replace(view, problem=problem), 409)
        viewing_of(request).many(found.looked)
        return self.draw(request, replace(view, changes=_changes(found)))

    def tried(self, request: Request, form: FormFields) -> Response:
        """What would become of a message that was pasted. It is stored nowhere."""
        view = self._checked(form)
        if view.problem or view.check is None or view.check.mistakes:
            return self.draw(request, view, 422)
        if not view.message.strip():
            errors = {"message": Sentence("Paste a message, one segment per line.")}
            return self.draw(request, replace(view, errors=errors), 422)
        settings, mappings = self._context.settings, self._context.mappings
        interfaces = interfaces_of(settings, self._context.directory.knows_sender)
        interface = chosen(interfaces, view.listener if view.listener in interfaces else "")
        draft = ProfileChoice(toml=view.text)
        raw = preview.as_bytes(view.message)
        texts = mappings.texts()
        profile = choose(draft, mappings.book, texts, raw, interface.profile or DEFAULT, interface.tolerance)
        raw = preview.as_bytes(view.message, profile.reading.charset)
        station = settings.worklist.default_station
        tried = explain(raw, profile, settings.zone(), interface=interface, default_station=station)
        parts = [(part.title, [_origin(row) for row in part.rows]) for part in tried.parts]
        return self.draw(request, replace(view, tried=tried, parts=parts))

    def publish(self, request: Request, form: FormFields) -> Response:
        """Put the draft in force, unless something is wrong or somebody else was faster."""
        view = self._checked(form)
        if view.problem or view.check is None or view.check.wrong:
            return self.draw(request, view, 422)
        if len(view.reason) not in REASON:
            return self.draw(request, replace(view, errors={"reason": NO_REASON}), 422)
        if view.check.unchanged:
            return shell.go(path_of(view.check.name), Sentence("It is in force just so: there is no new version."))
        signed = signature(request, form)
        try:
            name, version = self._context.mappings.publish(
                view.text, signed.actor, expected=view.seen, reason=signed.reason, address=signed.address
            )
        except Conflict:
            return self.draw(request, self._overtaken(view, view.check.name), 409)
        except (ExamplesFailed, BadContent, ConfigurationError) as error:
            return self.draw(request, replace(view, problem=refusal(error)), 422)
        values = {"name": name, "version": version}
        return shell.go(path_of(name), Sentence("%(name)s: version %(version)s is in force.", values))

    def _overtaken(self, view: DraftView, name: str) -> DraftView:
        """The draft beside the version that was published meanwhile, which it is seen to replace from now on."""
        newest = self._context.mappings.history(name)[0]
        places = text_difference(self._context.mappings.export(name, newest.version), view.text)
        return replace(view, seen=newest.version, overtaken=OvertakenView(newest, places))


def _changes(found: DraftChanges) -> ChangesView:
    rows = []
    for one in found.messages:
        tone, word = EFFECTS[one.effect]
        groups = groups_of(one.differences[:MOST_DIFFERENCES])
        rows.append(EffectRow(one, tone, word, groups, max(0, len(one.differences) - MOST_DIFFERENCES)))
    counts = [(EFFECTS[effect][1], found.counts[effect]) for effect in DraftEffect if found.counts.get(effect)]
    return ChangesView(found, rows, counts, ENDS.get(found.end), bool(found.counts.get(DraftEffect.ONLY_NEW)))


def _origin(row: ValueOrigin) -> OriginRow:
    return OriginRow(
        keyword=row.keyword,
        value=value_text(row.value) or "–",
        path=f"{row.path} ({row.location})" if row.path else "",
        how=HOW[row.how],
        raw=row.raw if row.how is OriginKind.TABLE else "",
        note=row.note,
    )
