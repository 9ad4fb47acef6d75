"""The page of the DICOM conformance statement, and the same as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.conformance import markdown, web_text
from broker.conformance.building import statement_now
from broker.conformance.statement import StatementSection

_FILE = "conformance-statement"


@dataclass(frozen=True, slots=True)
class ConformancePage:
    """The statement as HTML, whose texts are escaped; its chapters for links."""

    chapters: Sequence[StatementSection]
    cover: Markup
    body: Markup


def router(context: AdminContext) -> APIRouter:
    """The routes, for everybody who is signed in. The statement is made at each request, in a thread."""
    routes = page_router()

    @routes.get("/conformance")
    def page(request: Request) -> Response:
        statement = statement_now(context.settings, context.directory.nodes)
        cover, body = Markup(web_text.cover(statement)), Markup(web_text.body(statement, folded=True))  # noqa: S704
        return shell.render(request, "conformance", ConformancePage(statement.sections, cover, body))

    @routes.get("/conformance/html")
    def as_html() -> Response:
        return _file(web_text.write(statement_now(context.settings, context.directory.nodes)), "html")

    @routes.get("/conformance/markdown")
    def as_markdown() -> Response:
        return _file(markdown.write(statement_now(context.settings, context.directory.nodes)), "md")

    return routes


def _file(text: str, ending: str) -> Response:
    """A file to be kept. As HTML of this site it would have no style, which the content security policy forbids."""
    name = f'attachment; filename="{_FILE}.{ending}"'
    return Response(text, media_type="application/octet-stream", headers={"Content-Disposition": name})
