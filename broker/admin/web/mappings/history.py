"""The history of one mapping profile: its versions, what differs between two of them, and the way back to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.web import forms, shell
from broker.admin.web.mappings.words import missing, path_of, refusal
from broker.admin.web.nodes.words import signature
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.orders.mapping_versions import ProfileDifference
from broker.store.configurations import Publication
from broker.versions.in_force import Conflict

SIZE = 20  # versions of one page
LARGEST = 2**31 - 1  # number of a version


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingHistory:
    """Versions, newest first. `following`: from which the next page goes on, -1 for none.

    `compared`: the versions that a person chose, else the one in force and that before it.
    """

    name: str
    versions: Sequence[Publication]
    newest: int
    following: int
    before: str
    after: str
    compared: ProfileDifference | None
    problem: Sentence | None = None


def router(context: AdminContext) -> APIRouter:
    """The routes of the history."""
    routes = page_router(Right.STATUS)

    @routes.get("/mappings/{name}/history")
    def page(request: Request, name: str) -> Response:
        return shell.render(request, "mapping_history", _view(context, request, name))

    @routes.post("/mappings/{name}/rollback", dependencies=[NEEDS[Right.MAPPINGS]])
    async def rollback(request: Request, name: str) -> Response:
        form = await forms.read(request)
        number, newest = _number(form.get("version")), _number(form.get("newest"))
        if number is None:
            raise Problem(422, "Which version is to be in force again?")
        signed = signature(request, form)

        def story() -> Response:
            try:
                context.mappings.export(name, number)
            except ConfigurationError:
                raise missing() from None
            try:
                made = context.mappings.rollback(
                    name, number, signed.actor, expected=newest, reason=signed.reason, address=signed.address
                )
            except Conflict:
                problem = Sentence("Somebody else was faster: look at the versions again. Nothing was changed.")
                return shell.render(request, "mapping_history", _view(context, request, name, problem), 409)
            except (BadContent, ConfigurationError) as error:
                return shell.render(request, "mapping_history", _view(context, request, name, refusal(error)), 409)
            values = {"name": name, "old": number, "new": made}
            return shell.go(path_of(name), Sentence("%(name)s: version %(old)s is in force again, as %(new)s.", values))

        return await run_in_threadpool(story)

    return routes


def _number(text: str) -> int | None:
    """A number of a version; None for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _view(context: AdminContext, request: Request, name: str, problem: Sentence | None = None) -> MappingHistory:
    """Raises StoreUnavailable."""
    try:
        every = context.mappings.history(name)
    except ConfigurationError:
        raise missing() from None
    query = request.query_params
    begin = _number(query.get("begin", ""))
    shown = [one for one in every if one.version <= (LARGEST if begin is None else begin)]
    before, after = query.get("from", "")[:9], query.get("to", "")[:9]
    compared = None
    try:
        compared = context.mappings.difference(name, _number(before), _number(after))
    except ConfigurationError:
        problem = problem or Sentence("There is no such version.")
    return MappingHistory(
        name=name,
        versions=shown[:SIZE],
        newest=every[0].version,
        following=shown[SIZE].version if len(shown) > SIZE else -1,
        before=str(compared.before) if compared else before,
        after=str(compared.after) if compared else after,
        compared=compared,
        problem=problem,
    )
