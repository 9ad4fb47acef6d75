"""Notes in the audit trail what the answer to a request shows of patients: one row for each request.

An answer that shows several people side by side is a row for each of them, so that each is found by the patient.

A route that asks for a right in WATCHED names what it shows by one of `SHOWS`, or SHOWS_NOTHING; without that it cannot
be built. What the route itself knows goes into the row: the caller, the number in its path, the filters of its query.
The handler adds what only it knows (`viewing_of`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fastapi import Depends, Request, Response
from fastapi.params import Depends as Dependency
from starlette.responses import AsyncContentStream, StreamingResponse

from broker.accounts.roles import Right
from broker.audit.book import AuditBook
from broker.model.audit import AuditRecord
from broker.model.order import Document

WATCHED = frozenset({Right.PATIENTS, Right.MESSAGES, Right.AUDIT})
_PAGING = frozenset({"limit", "after", "before", "form", "find"})  # of a query; all else says what was looked for


class Shows:
    """Names among the dependencies of a route what it shows: `kind` is that of the object, empty for nothing."""

    def __init__(self, kind: str, verb: str = "") -> None:
        """`verb`: of the action, if it is another than `viewed` (one object) or `listed`."""
        self.kind, self.verb = kind, verb

    async def __call__(self) -> None:
        """Do nothing: the route notes what was shown once the answer is there."""


def shows(kind: str, verb: str = "") -> Dependency:
    """A dependency of a route that shows objects of a kind."""
    found: Dependency = Depends(Shows(kind, verb))
    return found


SHOWS_NOTHING = shows("")


@dataclass(slots=True)
class Viewing:
    """What the answer to one request shows. `others`: patients beside `patient`. `drawn`: it is the route's page."""

    kind: str
    verb: str
    object_id: int = 0
    patient: int | None = None
    count: int | None = None
    filters: list[str] = field(default_factory=list)
    more: Document = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    drawn: bool = False
    silent: bool = False  # no row is due

    def one(self, object_id: int, patient: int | None = None) -> None:
        """It shows one object, by our own number, which is not in the path."""
        self.object_id, self.patient = object_id, patient

    def many(self, count: int, filters: Iterable[str] = ()) -> None:
        """It shows so many objects, found by filters of these names; their values are not noted."""
        self.count = count
        self.filters += filters

    def people(self, patients: Iterable[int]) -> None:
        """It shows these patients (rows) side by side."""
        rows = list(dict.fromkeys(patients))
        self.patient, self.others = rows[0] if rows else None, rows[1:]

    def changed(self) -> None:
        """It shows what the request has changed. The change has its own audit row."""
        self.silent = True

    def nothing(self) -> None:
        """It shows nothing of patients after all."""
        self.silent = True


def viewing_of(request: Request) -> Viewing:
    """What the answer to a request is going to show, for the handler to complete."""
    viewing: Viewing = request.state.viewing
    return viewing


def begin(request: Request, shown: Shows) -> Viewing:
    """Make ready to note what will be shown. Raises AuditFull: nothing may be shown."""
    _book(request).check_room()
    viewing = request.state.viewing = Viewing(shown.kind, shown.verb)
    return viewing


def end(request: Request, response: Response, viewing: Viewing) -> None:
    """Note what an answer shows; of one that is still being made once it ends.

    A refusal shows nothing, unless it is the page again with what is wrong beside its fields.
    """
    if viewing.silent or (response.status_code >= 300 and not viewing.drawn):
        return
    if isinstance(response, StreamingResponse):
        response.body_iterator = _watched(request, response.body_iterator, viewing)
    else:
        _note(request, viewing)


async def _watched(request: Request, parts: AsyncContentStream, viewing: Viewing) -> AsyncContentStream:
    try:
        async for part in parts:
            yield part
    finally:
        _note(request, viewing)


def _note(request: Request, viewing: Viewing) -> None:
    """One row, and one more for each patient beside the first."""
    record = _record(request, viewing)
    _book(request).add(record)
    for other in viewing.others:
        _book(request).add(replace(record, patient=other, detail={**record.detail, "beside": viewing.patient}))


def drawn(request: Request) -> None:
    """Say that the answer is a page which shows what the route shows, also if it tells that something is wrong."""
    viewing: Viewing | None = getattr(request.state, "viewing", None)
    if viewing is not None:
        viewing.drawn = True


def _record(request: Request, viewing: Viewing) -> AuditRecord:
    numbers = (value for value in request.path_params.values() if str(value).isdigit())
    object_id = viewing.object_id or int(next(numbers, 0))
    filters = [name for name, value in request.query_params.items() if value and name not in _PAGING]
    detail: Document = {"route": f"{request.method} {request.scope['route'].path}"}
    if names := sorted({*filters, *viewing.filters}):
        detail["filters"] = names
    if viewing.count is not None:
        detail["count"] = viewing.count
    verb = viewing.verb or ("viewed" if object_id else "listed")
    return AuditRecord(
        at=time.time(),
        actor=request.state.actor,
        action=f"{viewing.kind}.{verb}",
        kind=viewing.kind,
        object_id=object_id,
        detail={**detail, **viewing.more},
        address=request.state.address,
        patient=viewing.patient,
    )


def _book(request: Request) -> AuditBook:
    book: AuditBook = request.app.state.audit
    return book
