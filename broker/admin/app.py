"""Builds the HTTP application: health, metrics, status and the start page, open to all; REST for admins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from broker import __version__
from broker.admin import problems
from broker.admin.access import Access
from broker.admin.callers import Callers, KnownTokens
from broker.admin.overview import Overview, StatusSource
from broker.admin.routers import add_routes
from broker.settings.sections import LimitsSection

_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(
    source: StatusSource,
    routers: Sequence[APIRouter] = (),
    *,
    token: str = "",
    tokens: KnownTokens,
    limits: LimitsSection,
) -> FastAPI:
    """Build the application. `admin.access` lets only admins reach what `routers` serve.

    `token`: bearer token with the admin role, empty for none. `tokens` knows API tokens. `limits`: of requests.
    """
    app = FastAPI(
        title="Worklist broker",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name the host that the caller made up
    )
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    problems.handle(app)
    app.add_middleware(Access, callers=Callers(token, tokens), limits=limits)
    _harden(app)
    _health(app, source)
    _overview(app, source)
    _docs(app)
    for router in routers:
        add_routes(app, router)
    return app


def _harden(app: FastAPI) -> None:
    """Set headers on every answer that forbid scripts, framing and caching."""

    @app.middleware("http")
    async def harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _health(app: FastAPI, source: StatusSource) -> None:
    @app.get("/health/live", response_class=PlainTextResponse, tags=["health"])
    async def live() -> str:
        """Answer that the process runs."""
        return "ok\n"

    @app.get("/health/ready", tags=["health"])
    async def ready() -> JSONResponse:
        """Answer 200 if every listener accepts and the worklist answers; `degraded` if database or worker fail."""
        health, problems = await source.readiness()
        return JSONResponse({"status": health, "problems": problems}, status_code=503 if health == "down" else 200)

    @app.get("/metrics", tags=["health"])
    def metrics() -> Response:
        """Export Prometheus metrics."""
        return Response(generate_latest(source.metrics), media_type=CONTENT_TYPE_LATEST)


def _docs(app: FastAPI) -> None:
    rendered = cache(lambda: JSONResponse(app.openapi()).body)

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> Response:  # no coroutine: it takes half a second the first time
        return Response(rendered(), media_type="application/json")


def _overview(app: FastAPI, source: StatusSource) -> None:
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates.filters["duration"] = _duration

    @app.get("/api/v1/status", tags=["status"])
    async def status() -> Overview:
        """Show the broker at a glance."""
        return await source.overview()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return templates.get_template("overview.html").render(view=await source.overview())


def _duration(seconds: int) -> str:
    """Uptime for people: the two largest units."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((i for i, (value, _) in enumerate(parts) if value), 3)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2])
