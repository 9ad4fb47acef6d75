"""The page on which a stored message is tried again: what would become of it now, by the mapping in force or a draft.

A try writes nothing. To process it again needs a reason, and does what the try says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.messages.feedback import REASON
from broker.admin.web.words import Sentence
from broker.errors import ConfigurationError
from broker.model.message import MessageRecord, MessageSelection
from broker.orders.journal.anatomy import value_text
from broker.orders.trying.profile_choice import ProfileChoice
from broker.orders.trying.replay import ItemDifference, Replayed
from broker.orders.trying.replay import replay as run_again
from broker.store.orders import messages

Row = Annotated[int, Path(ge=1, lt=1 << 63)]
MOST_DIFFERENCES = 500


@dataclass(frozen=True, slots=True)
class DifferenceGroup:
    """What would differ in one worklist entry: keywords with the text before and after, None for absent.

    `step` by our own row, 0 for a new one.
    """

    step: int
    rows: Sequence[tuple[str, str | None, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TryView:
    """A message with what would become of it. `tried` is None where it cannot be run: `problem` says why.

    `draft` and `profile`: the mapping that was chosen; `profiles`: those in force.
    """

    record: MessageRecord
    tried: Replayed | None
    groups: list[DifferenceGroup]
    more: int
    profiles: list[str]
    profile: str
    draft: str
    problem: Sentence | None
    errors: forms.FieldErrors
    reason: str


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.MESSAGES), _TryPage(context)
    seen = [NEEDS[Right.MAPPINGS], shows("message", "tried")]

    @routes.get("/messages/{row:int}/try", dependencies=seen)
    def show(request: Request, row: Row) -> Response:
        return page.show(request, row, ProfileChoice())

    @routes.post("/messages/{row:int}/try", dependencies=seen)
    async def tried(request: Request, row: Row) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.show, request, row, _choice(form))

    @routes.post("/messages/{row}/apply", dependencies=seen)
    async def apply(request: Request, row: Row) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.apply, request, row, _choice(form), form.get("reason"))

    return routes


def _choice(form: forms.FormFields) -> ProfileChoice:
    """A draft counts more than a name."""
    draft = form.typed("draft")
    return ProfileChoice(toml=draft) if draft.strip() else ProfileChoice(form.get("profile")[:64])


class _TryPage:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def show(
        self,
        request: Request,
        row: int,
        choice: ProfileChoice,
        errors: forms.FieldErrors | None = None,
        reason: str = "",
    ) -> Response:
        """Draw what would become of a message."""
        record: MessageRecord | None = self._context.database.read(messages.load_record, row).result()
        if record is None:
            raise Problem(404, "No such message")
        tried, problem, wrong = None, None, dict(errors or {})
        try:
            tried = self._run(request, row, choice, write=False)
        except ConfigurationError as error:
            wrong["draft" if choice.toml else "profile"] = Sentence("%(why)s", {"why": str(error)})
        if tried is None and not wrong:
            problem = Sentence("Only the beginning of this message was kept: it cannot be tried.")
        viewing_of(request).one(row)
        rows = tried.differences[:MOST_DIFFERENCES] if tried else ()
        view = TryView(
            record=record,
            tried=tried,
            groups=groups_of(rows),
            more=len(tried.differences) - len(rows) if tried else 0,
            profiles=[profile.name for profile in self._context.mappings.in_force()],
            profile=choice.name,
            draft=choice.toml,
            problem=problem,
            errors=wrong,
            reason=reason,
        )
        return shell.render(request, "message_try", view, 422 if wrong else 200)

    def apply(self, request: Request, row: int, choice: ProfileChoice, reason: str) -> Response:
        """Process a message again, and go to it; or say why not."""
        if len(reason) not in REASON:
            wrong = {"reason": Sentence("Say why, in 3 to 500 characters.")}
            return self.show(request, row, choice, wrong, reason)
        try:
            done = self._run(request, row, choice, write=True, reason=reason)
        except ConfigurationError:
            return self.show(request, row, choice, reason=reason)
        viewing_of(request).one(row)
        if done is None:
            raise Problem(404, "No such message")
        self._context.wake()
        if done.code == "AA":
            return shell.go(f"/messages/{row}", Sentence("It was processed again, and applied."))
        refused = Sentence("It was processed again, and refused again (%(code)s).", {"code": done.code})
        return shell.go(f"/messages/{row}", refused)

    def _run(
        self, request: Request, row: int, choice: ProfileChoice, *, write: bool, reason: str = ""
    ) -> Replayed | None:
        """Run a message as the door would. Raises ConfigurationError for a mapping that cannot be used."""
        bench = self._context.bench(request, choice, reason=reason)
        found = run_again(self._context.database, MessageSelection(rows=(row,)), bench, write=write)
        return found[0] if found else None


def groups_of(rows: Sequence[ItemDifference]) -> list[DifferenceGroup]:
    """Differences by the worklist entry that they are of."""
    steps = dict.fromkeys(row.step for row in rows)
    return [DifferenceGroup(step, [_line(row) for row in rows if row.step == step]) for step in steps]


def _line(row: ItemDifference) -> tuple[str, str | None, str | None]:
    before, after = (None if value is None else value_text(value) for value in (row.before, row.after))
    return row.keyword, before, after
