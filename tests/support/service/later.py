"""Routes of an application that are built when one of them is asked for.

To build the two hundred routes of the broker takes a third of a second, and most tests ask for one or two. What a maker
of a router makes is learnt once in a process; later its routes are places with the same paths until somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any
from unittest.mock import MagicMock

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

Maker = Callable[[], APIRouter]
_learnt: dict[Hashable, tuple[Route, ...]] = {}  # paths and methods of what each maker made first


async def _nothing() -> None:
    raise AssertionError("a place was asked for an answer")


class Later(BaseRoute):
    """The place of a route whose router is not made yet."""

    def __init__(self, app: FastAPI, like: Route, make: Maker, all_of_it: list[BaseRoute]) -> None:
        """`like`: the route of another application. `all_of_it`: the places of its router."""
        self.path = like.path
        self._app, self._like, self._make, self._places = app, like, make, all_of_it

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Nothing matches; but the routes that this stands for come next, if one of them may."""
        if self._like.matches(scope)[0] is not Match.NONE:
            self.become()
        return Match.NONE, {}

    def become(self) -> None:
        """Make the routes of this place and its neighbours, if they are not made yet."""
        if not self._places:
            return
        routes = self._app.router.routes
        at, here = routes.index(self._places[0]), routes.index(self)
        made = list(self._make().routes)
        assert [getattr(one, "path", "") for one in made] == [getattr(one, "path", "") for one in self._places]
        # whoever walks along the routes stands here: what is made comes after it
        routes[at : at + len(self._places)] = [*(Past() for _ in range(here - at + 1)), *made]
        self._places.clear()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Is never asked."""
        await _nothing()


class Past(BaseRoute):
    """A place that nobody asks any more."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Nothing."""
        return Match.NONE, {}


def _learn(key: Hashable, made: Iterable[BaseRoute]) -> None:
    if all(isinstance(one, Route) for one in made):
        _learnt[key] = tuple(
            Route(one.path, _nothing, methods=list(one.methods or ())) for one in made if isinstance(one, Route)
        )


def hurry() -> None:
    """Let the brokers that are forked from this process build their routes when one is asked for."""
    from broker.admin.api import routes
    from broker.admin.web import pages
    from broker.service import broker

    waiting: list[tuple[Any, Any]] = []  # of the broker that is being built
    create = broker.create_app

    def makers(context: Any, status: Any) -> list[Maker]:
        return [*(partial(module.router, context) for module in routes.ROUTES), *pages.makers(context, status)]

    def put_off(context: Any, status: Any) -> list[APIRouter]:
        waiting.append((context, status))
        return []

    def create_later(source: Any, routers: Sequence[APIRouter], **more: Any) -> FastAPI:
        app = create(source, routers, **more)
        context, status = waiting.pop()
        add_later(app, makers(context, status), context.oidc is not None)
        return app

    for single_sign_on in (None, MagicMock()):  # it has routes of its own
        context = MagicMock(secret=b"", oidc=single_sign_on)
        for number, make in enumerate(makers(context, MagicMock())):
            _learn((number, single_sign_on is not None), make().routes)
    routes.routers, pages.routers, broker.create_app = (lambda context: []), put_off, create_later


def add_later(app: FastAPI, makers: Sequence[Maker], how: Hashable) -> None:
    """Let the application serve what the makers make. `how`: on what else it depends which routes they make."""
    describe = app.openapi

    def whole() -> dict[str, Any]:
        for place in [one for one in app.router.routes if isinstance(one, Later)]:
            place.become()
        return describe()

    app.openapi = whole  # type: ignore[method-assign]
    for number, make in enumerate(makers):
        routes = app.router.routes
        if (known := _learnt.get((number, how))) is None:
            made = list(make().routes)
            routes.extend(made)
            _learn((number, how), made)
            continue
        places: list[BaseRoute] = []
        places.extend(Later(app, like, make, places) for like in known)
        routes.extend(places)
