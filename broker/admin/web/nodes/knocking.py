"""The page of devices that called and were not let in: what they want; admit with a profile, block, forget."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.sharing import shared
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.listing import Asked, Column, Filter, Listing, Table
from broker.admin.web.nodes.form import told
from broker.admin.web.nodes.words import path_of, refusal, signature
from broker.admin.web.words import Sentence
from broker.dicom import uids
from broker.errors import BadContent, ConfigurationError
from broker.site import admitting
from broker.site.admitting import Newcomer
from broker.site.nodes import NodeMistakes
from broker.worklist.explain.strangers import Stranger, strangers

WANTS: Mapping[str, Sentence] = {
    "verification": Sentence("verification"),
    "worklist": Sentence("worklist"),
    "performed procedure step": Sentence("performed procedure step"),
    "storage": Sentence("storage of images"),
    "other": Sentence("something else"),
}
TABLE = Table(
    path="/nodes/knocking",
    region="knocks",
    title=Sentence("Devices that knock"),
    columns=(
        Column(name="title", title=Sentence("AE title")),
        Column(name="address", title=Sentence("Address")),
        Column(name="why", title=Sentence("Why it is refused")),
        Column(name="last", title=Sentence("Last call")),
        Column(name="count", title=Sentence("Calls"), numeric=True),
        Column(name="wants", title=Sentence("What it wants")),
        Column(name="do", title=Sentence("Decide")),
    ),
    filters=(Filter(name="q", title=Sentence("Search"), kind="search", hint=Sentence("AE title or address")),),
    size=25,
)
_ANSWERS = ("name", "like", "any_address", "reason")  # fields of the question that admits


@dataclass(frozen=True, slots=True, kw_only=True)
class KnocksView:
    """The devices, and nodes whose profiles may be taken over.

    `open`: AE title and address of the question that was not answered well, with its values and what is wrong.
    """

    listing: Listing[Stranger]
    profiles: Sequence[tuple[str, str]]
    wants: Mapping[str, Sentence]
    ours: str
    open: tuple[str, str] = ("", "")
    values: Mapping[str, str]
    errors: FieldErrors
    problem: Sentence | None = None

    @property
    def blank(self) -> Mapping[str, str]:
        """The values of a question that was not answered yet."""
        return dict.fromkeys(_ANSWERS, "")

    @staticmethod
    def id_of(stranger: Stranger) -> str:
        """What the controls of a device are called: the same as long as it knocks."""
        text = f"{stranger.knock.ae_title}|{stranger.knock.address}"
        return f"k{hashlib.blake2b(text.encode(), digest_size=5).hexdigest()}"

    @staticmethod
    def name_of(uid: str) -> str:
        """The name of a SOP class."""
        return uids.name_of(uid)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router(Right.STATUS)
    needs = [NEEDS[Right.SITE]]

    @routes.get("/nodes/knocking", dependencies=[shared()])
    def page(request: Request) -> Response:
        return shell.render(request, "knocking", _view(context, request))

    @routes.post("/nodes/knocking/admit", dependencies=needs)
    async def admit(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_enter, context, request, form, blocked=False)

    @routes.post("/nodes/knocking/block", dependencies=needs)
    async def block(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_enter, context, request, form, blocked=True)

    @routes.post("/nodes/knocking/forget", dependencies=needs)
    async def forget(request: Request) -> Response:
        form = await forms.read(request)
        title, address = form.get("ae_title"), form.get("address")

        def story() -> Response:
            context.write_behind()
            admitting.forget(context.database, title, address, signature(request, form))
            words = Sentence("%(title)s was taken off the list. It comes back when it calls again.", {"title": title})
            return shell.go("/nodes/knocking", words)

        return await run_in_threadpool(story)

    return routes


def _enter(context: AdminContext, request: Request, form: FormFields, *, blocked: bool) -> Response:
    """Let a device in, or block it."""
    newcomer = Newcomer(
        form.get("ae_title"),
        form.get("address"),
        form.get("name"),
        bound=blocked or not form.get("any_address"),
        like=form.get("like"),
        blocked=blocked,
    )
    context.write_behind()
    try:
        admitted = admitting.admit(context.site, newcomer, signature(request, form))
    except NodeMistakes as error:
        errors = {one.key.partition(".")[0]: told(one.words) for one in error.mistakes}
        return shell.render(request, "knocking", _view(context, request, form, errors), 422)
    except (BadContent, ConfigurationError) as error:
        return shell.render(request, "knocking", _view(context, request, form, problem=refusal(error)), 409)
    values = {"title": newcomer.ae_title, "address": newcomer.address}
    if blocked:
        words = Sentence("%(title)s from %(address)s is blocked. It stands among the nodes.", values)
        return shell.go("/nodes/knocking", words)
    words = Sentence("%(title)s is let in from now on, without a restart.", values)
    return shell.go(path_of(admitted.node.name), words)


def _view(
    context: AdminContext,
    request: Request,
    form: FormFields | None = None,
    errors: FieldErrors | None = None,
    problem: Sentence | None = None,
) -> KnocksView:
    context.write_behind()
    asked = TABLE.ask(request.query_params)
    found = strangers(context.database, context.directory, context.contacts.all())
    found = [one for one in found if _matches(one, asked)]
    begin = int(asked.after) if asked.after.isdecimal() else 0
    places = {id(one): number for number, one in enumerate(found, 1)}
    values = {key: form.get(key) for key in _ANSWERS} if form is not None else {}
    return KnocksView(
        listing=asked.filled(found[begin : begin + TABLE.size + 1], len(found), lambda one: str(places[id(one)])),
        profiles=[(node.name, node.name) for node in context.directory.nodes if node.device is not None],
        wants=WANTS,
        ours=context.settings.dicom.ae_title,
        open=(form.get("ae_title"), form.get("address")) if form is not None and errors else ("", ""),
        values=values,
        errors=errors or {},
        problem=problem,
    )


def _matches(stranger: Stranger, asked: Asked) -> bool:
    text = asked.values.get("q", "").casefold()
    return any(text in part.casefold() for part in (stranger.knock.ae_title, stranger.knock.address))
