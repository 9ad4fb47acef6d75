"""Builds the HTTP application: health, metrics and status; REST; pages with their static files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from broker import __version__
from broker.admin import problems
from broker.admin.access import Access
from broker.admin.callers import Callers
from broker.admin.forwarded import Forwarded, TrustedProxies
from broker.admin.headers import Correlated, Hardened
from broker.admin.openapi.document import DescribedApp
from broker.admin.routers import add_routes
from broker.admin.sharing import Sharing
from broker.admin.status import StatusSource
from broker.admin.web import errors
from broker.admin.web.shell import Shell, watched
from broker.audit.book import AuditBook
from broker.settings.sections import LimitsSection


class ReadyView(BaseModel):
    """Whether the broker serves, and what a person should look at."""

    status: Literal["ok", "degraded", "down"]
    problems: list[str]


def create_app(
    source: StatusSource,
    routers: Sequence[APIRouter] = (),
    *,
    shell: Shell,
    callers: Callers,
    proxies: TrustedProxies,
    limits: LimitsSection,
    audit: AuditBook,
) -> FastAPI:
    """Build the application. `admin.access` lets only callers who are known reach most of what `routers` serve.

    `shell` draws the pages. `callers` knows who calls, `proxies` may say from
    where. `limits`: of requests. `audit` takes rows of what routes show.
    """
    app = DescribedApp(
        title="Worklist broker",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name the host that the caller made up
    )
    app.state.shell, app.state.audit, app.state.sharing = shell, audit, Sharing(watched)
    problems.handle(app, errors.answer)
    app.add_middleware(Access, callers=callers, limits=limits, answer=errors.answer)
    app.add_middleware(Hardened)
    app.add_middleware(Forwarded, proxies=proxies)
    app.add_middleware(Correlated)
    app.add_route("/static/{name}", shell.assets.answer)
    _health(app, source)
    for router in routers:
        add_routes(app, router)
    return app


def _health(app: FastAPI, source: StatusSource) -> None:
    @app.get("/health/live", response_class=PlainTextResponse, tags=["health"])
    async def live() -> str:
        """Answer that the process runs."""
        return "ok\n"

    @app.get(
        "/health/ready",
        tags=["health"],
        responses={200: {"model": ReadyView}, 503: {"model": ReadyView, "description": "It is down"}},
    )
    async def ready() -> JSONResponse:
        """Answer 200 if every listener accepts and the worklist answers; `degraded` if a person should look."""
        status = await source.status()
        health, now = status.verdict.health, status.facts.now
        problems = [finding.text.english(source.zone, now) for finding in status.verdict.findings]
        return JSONResponse({"status": health, "problems": problems}, status_code=503 if health == "down" else 200)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["health"])
    def metrics() -> Response:
        """Export Prometheus metrics."""
        return Response(generate_latest(source.metrics), media_type=CONTENT_TYPE_LATEST)
