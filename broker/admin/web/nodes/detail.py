"""The page of one node: state, contacts, lanes, what names it; disable, block, remove; test with history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.sharing import shared
from broker.admin.web import forms, shell
from broker.admin.web.forms import FormFields
from broker.admin.web.nodes.words import CONTACTS, ROLES, ListedNode, path_of, refusal, rows_of, signature
from broker.admin.web.words import Sentence
from broker.delivery.probe.node_probe import ProbeUnderWay
from broker.delivery.probe.outcome import ProbeStep, StepOutcome, step_of
from broker.errors import BadContent, ConfigurationError
from broker.model.contact import Contact, ContactKind
from broker.routing.references import NodeNamed, Reference, consequence, references, refuse_if_named
from broker.site import editing
from broker.site.contact_words import reason
from broker.store import node_tests
from broker.store.node_tests import StoredTest
from broker.versions.difference import masked
from broker.versions.toml import dumps

STEPS: Mapping[str, Sentence] = {
    "name": Sentence("Name"),
    "connection": Sentence("Connection"),
    "tls": Sentence("TLS"),
    "association": Sentence("Association"),
    "echo": Sentence("C-ECHO"),
    "contexts": Sentence("What it takes"),
    "mllp": Sentence("MLLP"),
    "address": Sentence("Address"),
    "time": Sentence("Duration"),
    "defect": Sentence("Defect"),
}
OUTCOMES: Mapping[StepOutcome, tuple[str, Sentence]] = {
    StepOutcome.GOOD: ("ok", Sentence("works")),
    StepOutcome.WARNING: ("warn", Sentence("look")),
    StepOutcome.BAD: ("bad", Sentence("fails")),
    StepOutcome.SKIPPED: ("", Sentence("nothing to do")),
}


@dataclass(frozen=True, slots=True)
class ShownTest:
    """A test with its steps. `first_failure`: of the steps that failed."""

    test: StoredTest
    steps: Sequence[ProbeStep]

    @property
    def first_failure(self) -> Sentence | None:
        """What failed first; None if nothing did."""
        return next((step.words for step in self.steps if step.outcome is StepOutcome.BAD), None)


@dataclass(frozen=True, slots=True)
class NodePage:
    """All that is shown of a node. `running`: the steps so far of a test under way. `problem`: why a change failed."""

    row: ListedNode
    contacts: Sequence[Contact]
    named: Sequence[Reference]
    table: str
    running: Sequence[ProbeStep] | None
    tests: Sequence[ShownTest]
    problem: Sentence | None
    words: Mapping[ContactKind, Sentence]
    roles: Mapping[str, Sentence]
    steps: Mapping[str, Sentence]
    outcomes: Mapping[StepOutcome, tuple[str, Sentence]]

    @staticmethod
    def why(contact: Contact) -> Sentence:
        """Why a contact was in vain, and what to do."""
        return reason(contact)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page of a node."""
    routes = page_router(Right.STATUS)

    @routes.get("/nodes/{name}", dependencies=[shared(0.8)])
    def page(request: Request, name: str) -> Response:
        return shell.render(request, "node", _view(context, name))

    @routes.post("/nodes/{name}/test", dependencies=[NEEDS[Right.WORK]])
    async def begin_test(request: Request, name: str) -> Response:
        form = await forms.read(request)
        node = context.directory.node(name)
        if node is None:
            raise _missing()
        try:
            context.tester.begin(node, request.state.actor, resume=bool(form.get("resume")))
        except ProbeUnderWay:
            return shell.go(path_of(name), Sentence("It is being tested already."))
        return shell.go(path_of(name))

    @routes.post("/nodes/{name}/remove", dependencies=[NEEDS[Right.SITE]])
    async def remove(request: Request, name: str) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_remove, context, request, form, name)

    @routes.post("/nodes/{name}/{word}", dependencies=[NEEDS[Right.SITE]])
    async def set_state(request: Request, name: str, word: str) -> Response:
        if word not in editing.STATES:
            raise Problem(404, "")
        form = await forms.read(request)
        return await run_in_threadpool(_set_state, context, request, form, name, word)

    return routes


def _remove(context: AdminContext, request: Request, form: FormFields, name: str) -> Response:
    rules, node = context.site.value.rules, context.directory.node(name)
    try:
        refuse_if_named(context.database, node, rules, anyway=bool(form.get("anyway")))
        editing.remove(context.site, name, signature(request, form))
    except NodeNamed as error:
        words = Sentence("It stays, since something still names it: see below.")
        if error.binding:
            words = Sentence("It stays, since rules send to it: change the rules first.")
        return shell.render(request, "node", _view(context, name, words), 409)
    except editing.NodeUnknown:
        raise _missing() from None
    except (BadContent, ConfigurationError) as error:
        return shell.render(request, "node", _view(context, name, refusal(error)), 409)
    return shell.go("/nodes", Sentence("%(name)s was removed.", {"name": name}))


def _set_state(context: AdminContext, request: Request, form: FormFields, name: str, word: str) -> Response:
    try:
        editing.set_state(context.site, name, word, signature(request, form))
    except editing.NodeUnknown:
        raise _missing() from None
    except (BadContent, ConfigurationError) as error:
        return shell.render(request, "node", _view(context, name, refusal(error)), 409)
    node = context.directory.node(name)
    return shell.go(path_of(name), consequence(context.database, node) if node is not None else None)


def _missing() -> Problem:
    return Problem(404, "There is no node of this name")


def _view(context: AdminContext, name: str, problem: Sentence | None = None) -> NodePage:
    """Raises Problem, StoreUnavailable."""
    node = context.directory.node(name)
    if node is None:
        raise _missing()
    try:
        table = editing.table_in_force(context.site, name)
    except editing.NodeUnknown:
        raise _missing() from None
    run = context.tester.running(name)
    tests = context.database.read(node_tests.of, name).result()
    contacts = context.contacts.of(name).by_kind.values()
    return NodePage(
        row=rows_of(context, [node])[0],
        contacts=sorted(contacts, key=lambda contact: -contact.at),
        named=references(context.database, node, context.site.value.rules),
        table=dumps(masked(table)),
        running=list(run.log.steps) if run is not None else None,
        tests=[ShownTest(test, [step_of(document) for document in test.steps]) for test in tests],
        problem=problem,
        words=CONTACTS,
        roles=ROLES,
        steps=STEPS,
        outcomes=OUTCOMES,
    )
