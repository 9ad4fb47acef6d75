"""Makes the routers of REST and of pages: each route names the rights that its caller needs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.params import Depends as Dependency
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

from broker.accounts.roles import Right
from broker.admin.bodies import BodyRoute
from broker.admin.problems import Problem

_BEARER = HTTPBearer(auto_error=False, description="An API token (`broker tokens`), or `[web] admin_token`")


class Needs:
    """Names a right among the dependencies of a route."""

    def __init__(self, right: Right) -> None:
        self.right = right

    async def __call__(self) -> None:
        """Do nothing: the route asks for the right before anything of the request is read."""


NEEDS: dict[Right, Dependency] = {right: Depends(Needs(right)) for right in Right}


def rights_of(route: Route) -> frozenset[Right]:
    """The rights that a route names."""
    return frozenset(one.dependency.right for one in route.dependencies if isinstance(one.dependency, Needs))


class Route(BodyRoute):
    """A route for callers with all rights that it names; others get 403, whatever they sent."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which is not reached by who may not."""
        handle, needed = super().get_route_handler(), rights_of(self)

        async def let_in(request: Request) -> Response:
            if missing := needed - request.state.rights:
                raise Problem(403, f"This needs the right `{min(missing)}`")
            return await handle(request)

        return let_in


def admin_router(prefix: str, right: Right, **more: Any) -> APIRouter:
    """A router for routes under `prefix` that all need a right. `more`: as `APIRouter` has it."""
    return APIRouter(prefix=prefix, route_class=Route, dependencies=[Security(_BEARER), NEEDS[right]], **more)


def page_router(right: Right | None = None) -> APIRouter:
    """A router for pages that all need a right; without one, for whoever `access.py` lets in. OpenAPI names no page."""
    needs = [] if right is None else [NEEDS[right]]
    return APIRouter(
        route_class=Route, dependencies=needs, include_in_schema=False, default_response_class=HTMLResponse
    )


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Let the application serve the routes of `router` as they are. `include_router` would build each a second time."""
    app.router.routes.extend(router.routes)
