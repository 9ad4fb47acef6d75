"""Lists the pages. Those with a `LINK` stand in the navigation, in this order."""

from __future__ import annotations

from fastapi import APIRouter

from broker.admin.context import AdminContext
from broker.admin.overview import StatusSource
from broker.admin.web import api_docs, start
from broker.admin.web.shell import PageLink

PAGES = (api_docs,)  # after the start page


def routers(context: AdminContext, status: StatusSource) -> list[APIRouter]:
    """The routes of all pages."""
    return [start.router(status), *(page.router(context) for page in PAGES)]


def links() -> list[PageLink]:
    """The pages of the navigation."""
    return [page.LINK for page in (start, *PAGES) if hasattr(page, "LINK")]
