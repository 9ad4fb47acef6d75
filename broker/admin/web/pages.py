"""Lists the pages. Those with a `LINK` stand in the navigation, in this order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter

from broker.admin.context import AdminContext
from broker.admin.status import StatusSource
from broker.admin.web import audit, configuration, held_objects, holds, now, search
from broker.admin.web.accounts import me, oidc_door, own_factor, second_step, sign_in, tokens, users
from broker.admin.web.exams import changing, emergency, merging, printing
from broker.admin.web.exams import detail as exam
from broker.admin.web.exams import form as exam_form
from broker.admin.web.exams import overview as exams
from broker.admin.web.help import api_docs, conformance, guides
from broker.admin.web.mappings import detail as mapping
from broker.admin.web.mappings import draft as mapping_draft
from broker.admin.web.mappings import history as mapping_history
from broker.admin.web.mappings import overview as mappings
from broker.admin.web.messages import dealing, feedback, journal, trying
from broker.admin.web.messages import detail as message_detail
from broker.admin.web.nodes import detail, form, history, knocking, overview
from broker.admin.web.performed import detail as performed_step
from broker.admin.web.performed import overview as performed
from broker.admin.web.queue import page as queue
from broker.admin.web.rules import draft as rule_draft
from broker.admin.web.rules import editor as rule_editor
from broker.admin.web.rules import explained as rule_explained
from broker.admin.web.rules import history as rule_history
from broker.admin.web.rules import overview as rules
from broker.admin.web.rules import trying as rule_try
from broker.admin.web.search import Finder
from broker.admin.web.shell import PageLink
from broker.admin.web.studies import detail as study
from broker.admin.web.studies import overview as studies
from broker.admin.web.upkeep import retention
from broker.admin.web.worklist import device as worklist_device
from broker.admin.web.worklist import overview as worklist
from broker.admin.web.worklist import unseen

# after the start page; that of one node comes last of the nodes: its address has a name where theirs have words
PAGES = (
    exams,
    exam,
    changing,
    exam_form,
    emergency,
    merging,
    printing,
    worklist,
    worklist_device,
    unseen,
    performed,
    performed_step,
    journal,
    message_detail,
    dealing,
    feedback,
    trying,
    mappings,
    mapping_draft,  # before one profile: its words are no names
    mapping_history,
    mapping,
    rules,
    rule_draft,
    rule_editor,
    rule_try,
    rule_explained,
    rule_history,
    overview,
    knocking,
    history,
    form,
    detail,
    queue,
    studies,
    study,
    held_objects,
    holds,
    audit,
    users,
    tokens,
    configuration,
    retention,
    guides,
    api_docs,
    conformance,
    sign_in,
    oidc_door,
    second_step,
    me,
    own_factor,
)


def makers(context: AdminContext, status: StatusSource) -> list[Callable[[], APIRouter]]:
    """What makes the routes of each page, in the order in which they are asked."""
    pages = [partial(page.router, context) for page in PAGES]
    return [partial(now.router, status), *pages, lambda: search.router(_finders(context))]


def routers(context: AdminContext, status: StatusSource) -> list[APIRouter]:
    """The routes of all pages."""
    return [make() for make in makers(context, status)]


def links() -> list[PageLink]:
    """The pages of the navigation."""
    return [page.LINK for page in (now, *PAGES) if hasattr(page, "LINK")]


def _finders(context: AdminContext) -> list[Finder]:
    """What the search asks, in the order of its results."""
    return [
        search.page_finder(links()),
        exams.finder(context),
        overview.finder(context),
        mappings.finder(context),
        rules.finder(context),
        search.guide_finder(),
    ]
