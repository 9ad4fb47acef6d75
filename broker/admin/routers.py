"""Makes the routers of REST and of pages: each route names the rights that its caller needs, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.params import Depends as Dependency
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin import viewing
from broker.admin.bodies import BodyRoute
from broker.admin.problems import Problem
from broker.admin.same_origin import SAFE
from broker.admin.sharing import Shared, Sharing
from broker.admin.viewing import Shows

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


def shown_by(route: Route) -> Shows | None:
    """What a route says that it shows of patients; None if it says nothing."""
    return next((one.dependency for one in route.dependencies if isinstance(one.dependency, Shows)), None)


class Route(BodyRoute):
    """A route for callers with all rights that it names; others get 403, whatever they sent.

    What it shows of patients leaves a row in the audit trail. What it changes is seen by all who watch.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which is not reached by who may not. Raises TypeError for a route that hides what it shows."""
        handle, needed, shown = super().get_route_handler(), rights_of(self), shown_by(self)
        if needed & viewing.WATCHED and shown is None:
            raise TypeError(f"{self.path} needs one of `admin.viewing.shows` among its dependencies, or SHOWS_NOTHING")
        fresh = next((one.dependency.fresh for one in self.dependencies if isinstance(one.dependency, Shared)), None)
        if fresh is not None and shown is not None:
            raise TypeError(f"{self.path} shows patients, so each view of it is drawn for itself")
        changes = (
            not SAFE.issuperset(self.methods or ()) and not self.include_in_schema
        )  # of a page: people look at what they did

        async def watched(request: Request) -> Response:
            if shown is None or not shown.kind:
                return await handle(request)
            seen = viewing.begin(request, shown)
            response = await handle(request)
            viewing.end(request, response, seen)
            return response

        async def let_in(request: Request) -> Response:
            if missing := needed - request.state.rights:
                caller, peer = request.state.actor, request.state.address
                telemetry.logger().warning("web.refused", reason="right", caller=caller, peer=peer, path=self.path)
                raise Problem(403, f"This needs the right `{min(missing)}`")
            sharing: Sharing = request.app.state.sharing
            if fresh is not None:
                return await sharing.answer(request, handle, fresh)
            try:
                return await watched(request)
            finally:
                if changes:
                    sharing.forget()

        return let_in


def admin_router(prefix: str, right: Right | None, **more: Any) -> APIRouter:
    """A router for routes under `prefix` that all need a right; without one, for every caller who is known.

    `more`: as `APIRouter` has it.
    """
    needs = [Security(_BEARER)] if right is None else [Security(_BEARER), NEEDS[right]]
    return APIRouter(prefix=prefix, route_class=Route, dependencies=needs, **more)


def page_router(right: Right | None = None) -> APIRouter:
    """A router for pages that all need a right; without one, for whoever `access.py` lets in. OpenAPI names no page."""
    needs = [] if right is None else [NEEDS[right]]
    return APIRouter(
        route_class=Route, dependencies=needs, include_in_schema=False, default_response_class=HTMLResponse
    )


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Let the application serve the routes of `router` as they are. `include_router` would build each a second time."""
    app.router.routes.extend(router.routes)
