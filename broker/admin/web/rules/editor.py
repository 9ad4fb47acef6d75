"""The editor of one rule of a draft: its condition as a tree, and what it does. The form is all the state there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.nodes.words import signature
from broker.admin.web.rules import tree as trees
from broker.admin.web.rules.catalogue import field_names, seen_values
from broker.admin.web.rules.leaf_errors import errors_of
from broker.admin.web.rules.rule_form import filled, rule_in
from broker.admin.web.rules.tree import NoForm, TreeNode
from broker.admin.web.rules.words import ACTIONS, LEVELS, URGENCY, missing, number_of, refusal
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.rule_drafts import NoSuchDraft, RuleDrafts
from broker.routing.rules.conditions import ConditionReader
from broker.routing.rules.wording import OPERATORS, condition_words
from broker.routing.site import destinations, notified, read_rules
from broker.store.drafts.rule_drafts import RuleDraft

NEW = "new"
EMPTY: Mapping[str, Any] = {"name": "", "when": {"all": [{"field": "", "value": ""}]}}
MISSING: Mapping[str, Sentence] = {
    "": Sentence("stays unknown where it is missing"),
    "true": Sentence("or is missing"),
    "false": Sentence("and is not missing"),
}
VALUES: Mapping[str, Sentence] = {
    "any": Sentence("one value"),
    "all": Sentence("each value"),
    "count": Sentence("number of values"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorView:
    """The form of a rule. `place`: its number in the draft, or `new`; `revision`: of the draft that it was made of.

    `tree` is None for a condition that no form can show: `words` says it. `focus`: the path that has it.
    """

    draft: RuleDraft
    place: str
    revision: int
    rule: Mapping[str, str]
    enabled: bool
    send: Sequence[str]
    nodes: Sequence[str]
    notify: Sequence[str]
    notified: Sequence[str]
    tree: TreeNode | None
    words: Sentence | None
    focus: str
    fields: Sequence[str]
    seen: Mapping[str, Sequence[str]]
    errors: FieldErrors
    problem: Sentence | None
    actions: Mapping[str, Sentence]
    urgency: Mapping[str, Sentence]
    levels: Mapping[str, Sentence]
    operators: Mapping[str, Sentence]
    missing: Mapping[str, Sentence]
    values: Mapping[str, Sentence]


def router(context: AdminContext) -> APIRouter:
    """The routes of the editor."""
    routes, page = page_router(Right.SITE), _Editor(context)

    @routes.get("/rules/drafts/{number:int}/rules/{place}")
    def show(request: Request, number: RowNumber, place: str) -> Response:
        draft, table = page.found(number, place)
        return page.draw(request, draft, place, _Sent(draft.revision, table))

    @routes.post("/rules/drafts/{number:int}/rules/{place}")
    async def act(request: Request, number: RowNumber, place: str) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.act, request, number, place, form)

    return routes


@dataclass(frozen=True, slots=True)
class _Sent:
    """A rule as it stands in the draft, or in the form that was sent; `revision`: of the draft that it was made of."""

    revision: int
    table: Mapping[str, Any]
    tree: TreeNode | None = None


class _Editor:
    """The editor with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._drafts = RuleDrafts(context.database, context.site)

    def found(self, number: int, place: str) -> tuple[RuleDraft, Mapping[str, Any]]:
        """A draft, and its rule at a place. Raises Problem."""
        try:
            draft = self._drafts.one(number)
        except NoSuchDraft:
            raise missing() from None
        rules = draft.document.get("rule", [])
        if place == NEW:
            return draft, EMPTY
        if not 0 < number_of(place) <= len(rules):
            raise missing()
        return draft, rules[number_of(place) - 1]

    def draw(
        self,
        request: Request,
        draft: RuleDraft,
        place: str,
        sent: _Sent,
        *,
        focus: str = "",
        errors: FieldErrors | None = None,
        problem: Sentence | None = None,
        status: int = 200,
    ) -> Response:
        """The form."""
        table, tree, words = sent.table, sent.tree, None
        if tree is None:
            try:
                tree = trees.tree_of(table["when"])
            except NoForm:
                words = condition_words(ConditionReader("").condition(table["when"]))
        names = {node.field for _, node in trees.walk(tree)} if tree is not None else set()
        view = EditorView(
            draft=draft,
            place=place,
            revision=sent.revision,
            rule=filled(table),
            enabled=table.get("enabled", True),
            send=table.get("send", []),
            nodes=sorted({*destinations(self._context.site.value), *table.get("send", [])}),
            notify=table.get("notify", []),
            notified=sorted({*notified(self._context.site.value), *table.get("notify", [])}),
            tree=tree,
            words=words,
            focus=focus,
            fields=field_names(),
            seen=seen_values(self._context.database, self._context.directory.nodes, names),
            errors=errors or {},
            problem=problem,
            actions=ACTIONS,
            urgency=URGENCY,
            levels=LEVELS,
            operators=OPERATORS,
            missing=MISSING,
            values=VALUES,
        )
        return shell.render(request, "rule_editor", view, status)

    def act(self, request: Request, number: int, place: str, form: FormFields) -> Response:
        """Do what a button says: change the tree, look at it, or keep the rule in the draft."""
        draft, before = self.found(number, place)
        typed = form.first()
        tree = trees.tree_in(lambda name: typed.get(name, "")) if f"kind:{trees.ROOT}" in typed else None
        table = rule_in(form, before, trees.condition_of(tree) if tree is not None else before["when"])
        do, sent = form.get("do"), _Sent(number_of(form.get("revision")), table, tree)
        if draft.author != request.state.actor:
            problem = Sentence("Only %(author)s changes this draft.", {"author": draft.author})
            return self.draw(request, draft, place, sent, problem=problem, status=403)
        if tree is not None and do not in ("save", "look"):
            tree, focus = trees.acted(tree, do)
            return self.draw(request, draft, place, replace(sent, tree=tree), focus=focus)
        rules = list(draft.document.get("rule", []))
        at = len(rules) if place == NEW else number_of(place) - 1
        errors = self._errors(draft, table, tree, rules[:at] + rules[at + 1 :])
        if errors or do != "save":
            return self.draw(request, draft, place, sent, errors=errors, status=422 if errors else 200)
        document = {**draft.document, "rule": [*rules[:at], table, *rules[at + 1 :]]}
        try:
            signed = signature(request, FormFields([]))  # `reason` is that of the rule
            self._drafts.keep(document, signed, expected=sent.revision, base=draft.base)
        except (BadContent, ConfigurationError) as error:
            return self.draw(request, draft, place, sent, problem=refusal(error), status=409)
        return shell.go(f"/rules/drafts/{number}?at={at + 1}", Sentence("It is kept in the draft."))

    def _errors(
        self, draft: RuleDraft, table: Mapping[str, Any], tree: TreeNode | None, others: Sequence[Mapping[str, Any]]
    ) -> dict[str, Sentence]:
        """What is wrong with the form, by its fields."""
        found = errors_of(tree) if tree is not None else {}
        if any(one["name"] == table["name"] for one in others):
            found["name"] = Sentence("Another rule has this name.")
        if found:
            return found
        document = {"rule": [table], "calendar": draft.document.get("calendar", {})}
        try:
            read_rules(self._context.site.value, document)
        except ConfigurationError as error:
            _, _, words = str(error).partition(": ")
            key, _, why = words.partition(": ")
            names = {"discard needs a reason, and has no destinations": "reason", "when": f"kind:{trees.ROOT}"}
            field = names.get(words, names.get(key, key))
            return {field: Sentence("%(words)s", {"words": (why or words)[:300]})}
        return {}
