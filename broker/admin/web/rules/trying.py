"""The page on which a file or a study is tried by the rules in force or by a draft: where would it go, and why.

A try writes nothing. Of a large file the browser sends the beginning alone, which holds what rules test.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.rules.marking import MarkedRule, marked, marked_level
from broker.admin.web.rules.words import URGENCY, number_of, outcome_words
from broker.admin.web.words import Sentence
from broker.dicom.dataset import part10
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.rule_drafts import NoSuchDraft, RuleDrafts, readable
from broker.routing.header import BASE_FIELDS
from broker.routing.levels.trying import TriedLevel, TriedObject, TriedStudy, try_study
from broker.routing.order_facts import MATCHING_FIELDS, needs_order, order_facts
from broker.routing.rejudging import element_facts
from broker.routing.rules.evaluate import Facts, as_facts
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.parsing import check_facts
from broker.routing.rules.ruleset import Level, RuleSet, Urgency, fields_of
from broker.routing.rules.tag_paths import NoSuchField
from broker.routing.rules.tracing import trace
from broker.status.causes import reason as cause_words
from broker.store.drafts.rule_drafts import RuleDraft

OBJECTS, GROUPS = 500, 10  # of a study that are judged; different results that are shown
MOST_FACTS = 100
_URGENCIES = {urgency.level: URGENCY[urgency] for urgency in Urgency}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedGroup:
    """Objects of one device with the same result. `deliveries`: node, how urgent, whether it waits for a person.

    `notices`: the nodes that are told, each by which rule.
    """

    device: str
    objects: int
    outcome: Sentence
    why: Sentence | None
    deliveries: Sequence[tuple[str, Sentence, bool]]
    notices: Sequence[tuple[str, str]]
    rules: Sequence[MarkedRule]


@dataclass(frozen=True, slots=True)
class TriedLevelView:
    """The judgement of a complete series or study: what it is about, why it failed, and the rules of its level."""

    title: Sentence
    error: Sentence | None
    rules: Sequence[MarkedRule]


@dataclass(frozen=True, slots=True, kw_only=True)
class TryRulesView:
    """The form, and what was found. `untold`: objects of which too little is kept; `beginning`: of a file only that."""

    drafts: Sequence[RuleDraft]
    draft: int
    study: str = ""
    facts: str = ""
    groups: Sequence[TriedGroup] = ()
    levels: Sequence[TriedLevelView] = ()
    untold: int = 0
    beginning: bool = False
    errors: FieldErrors


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.SITE), _TryPage(context)

    @routes.get("/rules/try")
    def empty(request: Request) -> Response:
        return page.draw(request, page.view(number_of(request.query_params.get("draft", ""))))

    @routes.post("/rules/try", dependencies=[NEEDS[Right.PATIENTS], shows("study", "tried")])
    async def tried(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.tried, request, form)

    return routes


class _TryPage:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._drafts = RuleDrafts(context.database, context.site)

    def view(self, draft: int) -> TryRulesView:
        """The empty form."""
        return TryRulesView(drafts=self._drafts.all(), draft=draft, errors={})

    def draw(self, request: Request, view: TryRulesView, status: int = 200) -> Response:
        """The page."""
        return shell.render(request, "rule_try", view, status)

    def tried(self, request: Request, form: FormFields) -> Response:
        """Judge what was sent."""
        view = self.view(number_of(form.get("draft")))
        view = replace(view, study=form.get("study")[:64], facts=form.typed("facts").replace("\r\n", "\n"))
        try:
            rules, given = self._rules(view.draft), _given(view.facts)
            if data := form.get("file"):
                beginning = number_of(form.get("size")) > len(data) * 3 // 4 + 2
                objects = [("", self._of_file(data, rules, beginning=beginning), True)]
                view = replace(view, beginning=beginning)
            elif view.study:
                objects = self._of_study(view.study, rules)
            elif given:
                objects = [("", self._now(), True)]
            else:
                raise _Wrong("study", Sentence("Choose a file, name a study, or write facts."))
        except _Wrong as error:
            viewing_of(request).nothing()
            return self.draw(request, replace(view, errors={error.field: error.words}), 422)
        viewing_of(request).many(len(objects))
        whole = {name: values for name, values in given.items() if name.startswith(("study.", "series."))}
        own = {name: values for name, values in given.items() if name not in whole}
        judged = [{**facts, **own} for _, facts, read in objects if read]
        tried = try_study(rules, judged, self._order if needs_order(fields_of(rules)) else None, whole)
        groups = _grouped(rules, tried, [device for device, _, read in objects if read])
        levels = [_level(rules, one) for one in tried.levels[:GROUPS]]
        return self.draw(request, replace(view, groups=groups, levels=levels, untold=len(objects) - len(judged)))

    def _rules(self, draft: int) -> RuleSet:
        try:
            return readable(self._drafts.one(draft).document) if draft else self._context.site.value.rules
        except NoSuchDraft:
            raise _Wrong("draft", Sentence("There is no such draft any more.")) from None

    def _of_study(self, study: str, rules: RuleSet) -> list[tuple[str, Facts, bool]]:
        found = self._context.held.study_facts(study, rules, OBJECTS)
        if not found:
            raise _Wrong("study", Sentence("No object of this study is known."))
        return [(held.calling_ae, facts, read) for held, facts, read in found]

    def _of_file(self, text: str, rules: RuleSet, *, beginning: bool) -> Facts:
        fields = fields_of(rules) | set(BASE_FIELDS) | MATCHING_FIELDS
        try:
            found = _elements(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), fields, beginning=beginning)
        except (binascii.Error, ValueError):
            raise _Wrong("file", Sentence("This is no DICOM file.")) from None
        except BadContent as error:
            words = {"words": str(error)[:300]}
            raise _Wrong("file", Sentence("The file cannot be read: %(words)s", words)) from None
        return self._now() | found

    def _now(self) -> dict[str, Any]:
        now = datetime.now(self._context.settings.zone()).replace(tzinfo=None)
        return {"time.local": (now.isoformat(timespec="seconds"),)}

    def _order(self, facts: Facts) -> Facts:
        """The facts of the order of an object, as the door finds it."""
        found: Facts = self._context.database.read(order_facts, facts).result()
        return found


class _Wrong(Exception):
    """What is wrong with a field of the form."""

    def __init__(self, field: str, words: Sentence) -> None:
        super().__init__()
        self.field, self.words = field, words


def _elements(data: bytes, fields: frozenset[str], *, beginning: bool) -> dict[str, Any]:
    """The facts of a file, or of the `beginning` of one. Raises BadContent, ValueError for what is no DICOM file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tried"
        path.write_bytes(data)
        header = part10.read(path)
    if header is None:
        raise ValueError
    return dict(element_facts(data[header.offset :], header.transfer_syntax, fields, beginning=beginning))


def _given(text: str) -> Facts:
    """Facts that were typed, one a line: FIELD=VALUE; a field may stand several times. Raises _Wrong."""
    found: dict[str, list[Any]] = {}
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > MOST_FACTS:
        raise _Wrong("facts", Sentence("At most %(n)s facts.", {"n": MOST_FACTS}))
    for line in lines:
        name, sign, value = line.strip().partition("=")
        try:
            if not sign:
                raise ValueError
            number = kind_of(name.strip()) in (FieldKind.NUMBER, FieldKind.ITEMS)
            found.setdefault(name.strip(), []).append(float(value) if number else value.strip())
            check_facts({name.strip(): found[name.strip()]}, "facts")
        except (NoSuchField, ConfigurationError, ValueError):
            raise _Wrong("facts", Sentence("This is no fact: %(line)s", {"line": line[:100]})) from None
    return as_facts(found)


def _grouped(rules: RuleSet, tried: TriedStudy, devices: Sequence[str]) -> list[TriedGroup]:
    """What becomes of objects, those alike together: the same device, the same result of each test."""
    groups: dict[tuple[str, Any], tuple[TriedObject, int]] = {}
    for device, one in zip(devices, tried.objects, strict=True):
        key = device, (one.action, one.reason, one.deliveries, one.own.outcomes, _told(one))
        first, count = groups.get(key, (one, 0))
        groups[key] = first, count + 1
    return [_group(rules, device, one, count) for (device, _), (one, count) in list(groups.items())[:GROUPS]]


def _group(rules: RuleSet, device: str, one: TriedObject, count: int) -> TriedGroup:
    return TriedGroup(
        device=device or _one(one.facts, "assoc.calling_ae"),
        objects=count,
        outcome=outcome_words(one.action.value, [delivery.node for delivery in one.deliveries]),
        why=cause_words(one.reason) if one.reason else None,
        deliveries=[(delivery.node, _URGENCIES[delivery.priority], delivery.held) for delivery in one.deliveries],
        notices=_told(one),
        rules=marked(rules, trace(rules, one.facts)),
    )


def _told(one: TriedObject) -> tuple[tuple[str, str], ...]:
    return tuple((notice.node, notice.rule.name) for notice in one.notices)


def _level(rules: RuleSet, one: TriedLevel) -> TriedLevelView:
    title = Sentence("The study, once it is complete")
    if one.level is Level.SERIES:
        title = Sentence("Series %(series)s, once it is complete", {"series": one.series})
    error = cause_words(one.decision.error) if one.decision.error else None
    return TriedLevelView(title, error, marked_level(rules, one.trace))


def _one(facts: Mapping[str, Sequence[Any]], name: str) -> str:
    return str(next(iter(facts.get(name, ())), ""))
