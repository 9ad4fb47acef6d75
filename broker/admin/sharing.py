"""Draws a live region once for all who watch it.

Open pages ask for the same region again and again. A route with `shared` among its dependencies is run once in so many
seconds for all who may see the same in the same language; the others get the same bytes. Only questions of a page that
is left open are answered so (`web.shell.watched`): who opens a page, filters it or changes something sees it as it is.
After each change by a page nothing of before is given out any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.params import Depends as Dependency

MOST = 64  # regions that are kept
LARGEST = 256 * 1024  # bytes of one
_Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class Shared:
    """Says among the dependencies of a route that all who may see the same are shown the same."""

    def __init__(self, fresh: float) -> None:
        """`fresh`: seconds for which what was drawn is shown."""
        self.fresh = fresh

    async def __call__(self) -> None:
        """Do nothing: the route looks for it."""


def shared(fresh: float = 2.0) -> Dependency:
    """A dependency of a route whose live regions are drawn once in `fresh` seconds for all who watch them."""
    found: Dependency = Depends(Shared(fresh))
    return found


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An answer, and until when it is given (s of the clock)."""

    response: Response
    until: float


class Sharing:
    """The live regions of one application that were drawn just now. For the event loop only."""

    def __init__(
        self, watched: Callable[[Request], Hashable | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`watched`: what the answer to a question of an open page depends on; None for another request.

        `clock` gives seconds.
        """
        self._watched = watched
        self._clock = clock
        self._drawn: dict[Hashable, _Drawn] = {}
        self._drawing: dict[Hashable, asyncio.Task[Response]] = {}

    async def answer(self, request: Request, handle: _Handle, fresh: float) -> Response:
        """What `handle` answers to a request, or has answered to another one that asked for the same `fresh` s ago."""
        key = self._watched(request)
        if key is None:
            return await handle(request)
        drawn = self._drawn.get(key)
        if drawn is not None and self._clock() < drawn.until:
            return _copy(drawn.response)
        task = self._drawing.get(key)
        if task is None:
            task = self._drawing[key] = asyncio.create_task(self._draw(key, request, handle, fresh))
        return _copy(await asyncio.shield(task))

    def forget(self) -> None:
        """Give out nothing more of what was drawn up to now, or is being drawn: something has changed."""
        self._drawn.clear()
        self._drawing.clear()

    async def _draw(self, key: Hashable, request: Request, handle: _Handle, fresh: float) -> Response:
        task = asyncio.current_task()
        try:
            response = await handle(request)
            good = response.status_code == 200 and len(response.body) <= LARGEST
            if good and self._drawing.get(key) is task:
                self._keep(key, _Drawn(response, self._clock() + fresh))
            return response
        finally:
            if self._drawing.get(key) is task:
                del self._drawing[key]

    def _keep(self, key: Hashable, drawn: _Drawn) -> None:
        self._drawn.pop(key, None)
        if len(self._drawn) >= MOST:
            del self._drawn[next(iter(self._drawn))]  # the oldest
        self._drawn[key] = drawn


def _copy(response: Response) -> Response:
    """The same answer for one more caller: middleware adds to the headers of each."""
    copy = Response(response.body, response.status_code)
    copy.raw_headers = list(response.raw_headers)
    return copy
