"""The page of what a device sees now: the answer to its last query, or to keys that a person types.

Keys may name a patient. So they are sent in a body, and stand in no address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydicom.datadict import keyword_for_tag

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.exams import words as exam_words
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.nodes.words import STATES
from broker.admin.web.words import Sentence
from broker.admin.web.worklist import words
from broker.dicom.dataset.read import BadElement
from broker.errors import BadContent
from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.site.tables.roles import ACTIVE
from broker.worklist.explain import recall, sight
from broker.worklist.explain.sight import DeviceSight, SeenExam, SightGround
from broker.worklist.explain.verdict import Asking
from broker.worklist.query import keys as query_keys
from broker.worklist.query.attributes import START_DATE, START_TIME, STATIONS, STEP_SEQUENCE

SHOWN = 25  # answers of the page
LONGEST = 64  # characters of a key
FIELDS: Mapping[str, str] = {  # of the form, and the keys that they are
    "date": START_DATE,
    "station": STATIONS,
    "modality": "Modality",
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "accession": "AccessionNumber",
}
Name = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
NameOrNone = Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLine:
    """An answer in words. `attributes`: what the device is told, by the path of each; none that is empty."""

    exam: SeenExam
    name: str
    time: str
    what: str
    station: str
    accession: str
    attributes: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedKeys:
    """What a person typed, and what is wrong with it. `accession`: of an exam that is looked for in vain."""

    values: Mapping[str, str]
    errors: FieldErrors
    missing: FieldErrors
    accession: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SightPage:
    """What a device sees. `state`: of a node that is not served. `number`: which of its queries is answered."""

    name: str
    path: str
    state: tuple[str, Sentence] | None
    sight: DeviceSight
    number: int
    wanted: str
    changed: Mapping[str, str]  # keys as the profile changes them; empty if it changes none
    end: tuple[str, Sentence]
    lines: Sequence[SeenLine]
    typed: TypedKeys

    @staticmethod
    def keys(asking: Asking) -> str:
        """What a query asked for."""
        return asking.wanted()

    @staticmethod
    def end_of(asking: Asking) -> tuple[str, Sentence]:
        """How a query ended."""
        return words.end_of(asking.status)


_NOTHING_TYPED = TypedKeys(values={}, errors={}, missing={})


class DevicePages:
    """Draws what a device sees."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._ground = SightGround(directory=context.directory, settings=context.settings, secret=context.secret)

    def show(
        self,
        request: Request,
        name: str,
        *,
        number: int = 1,
        typed: query_keys.Query | None = None,
        form: TypedKeys = _NOTHING_TYPED,
        status: int = 200,
    ) -> Response:
        """The page as things are now (blocking)."""
        self._context.write_behind()
        look = self._context.database.read(
            sight.look, name.strip(), typed, self._ground, number=number, limit=SHOWN
        ).result()
        viewing = viewing_of(request)
        given = [FIELDS[field] for field, value in form.values.items() if value and field in FIELDS]
        viewing.many(len(look.exams), given)
        viewing.more["device"] = look.caller.node or look.caller.ae_title
        return shell.render(request, "worklist_device", _view(look, number, form), status)

    def ask(self, request: Request, name: str, form: FormFields) -> Response:
        """The answer to the keys of a form."""
        values = {field: form.get(field) for field in FIELDS}
        too_long = Sentence("At most %(n)s characters.", {"n": LONGEST})
        long = {field: too_long for field, value in values.items() if len(value) > LONGEST}
        if long:
            typed = TypedKeys(values=values, errors=long, missing={})
            return self.show(request, name, form=typed, status=422)
        try:
            query = sight.typed_query({FIELDS[field]: _key(field, value) for field, value in values.items()})
        except BadContent as error:
            keyword = keyword_for_tag(error.tag) if isinstance(error, BadElement) else ""
            field = next((field for field, key in FIELDS.items() if key == keyword), "date")
            wrong = {field: Sentence("A device would be refused for this: %(why)s.", {"why": str(error)})}
            return self.show(request, name, form=TypedKeys(values=values, errors=wrong, missing={}), status=422)
        return self.show(request, name, typed=query, form=TypedKeys(values=values, errors={}, missing={}))

    def why(self, request: Request, name: str, form: FormFields) -> Response:
        """The way to why an exam is not there."""
        accession = form.get("missing")[: LONGEST + 1]
        exams = []
        if accession:
            page = self._context.database.read(finding.find, ExamWish(number=accession), None, 20).result()
            exams = [line for line in page.lines if accession in (line.accession, line.placer, line.filler)]
        if exams:
            viewing_of(request).nothing()  # the page that it leads to shows it
            device = words.path_of(name.strip()).partition("=")[2]
            return shell.go(f"/exams/{exams[0].order}/why?device={device}")
        wrong = Sentence("Type an accession number or an order number.")
        if accession:
            wrong = Sentence("No exam has this number. It may stand in a message that was refused.")
        typed = TypedKeys(values={}, errors={}, missing={"missing": wrong}, accession=accession)
        return self.show(request, name, form=typed, status=422)


def router(context: AdminContext) -> APIRouter:
    """The routes of what a device sees."""
    routes, pages = page_router(Right.PATIENTS), DevicePages(context)

    @routes.get("/worklist/device", dependencies=[shows("order")])
    def page(request: Request, name: NameOrNone = "", query: Annotated[int, Query(ge=1, le=20)] = 1) -> Response:
        if not name:
            return shell.go("/worklist")  # all of them
        return pages.show(request, name, number=query)

    @routes.post("/worklist/device", dependencies=[shows("order")])
    async def ask(request: Request, name: Name) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(pages.ask, request, name, form)

    @routes.post("/worklist/device/why", dependencies=[shows("order")])
    async def why(request: Request, name: Name) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(pages.why, request, name, form)

    return routes


def _key(field: str, value: str) -> str:
    """A value as a device sends it: a date without what people write between its parts."""
    return value.replace("-", "") if field == "date" else value


def _view(look: DeviceSight, number: int, form: TypedKeys) -> SightPage:
    caller = look.caller
    name = caller.node or caller.ae_title
    asked = {} if look.asking.recalled is None else recall.keys(look.asking.recalled)
    return SightPage(
        name=name,
        path=words.path_of(name),
        state=STATES[caller.state] if caller.state != ACTIVE else None,
        sight=look,
        number=number,
        wanted=look.asking.wanted(),
        changed=look.served if dict(look.served) != asked else {},
        end=words.end_of(look.status),
        lines=[_line(one) for one in look.exams],
        typed=form,
    )


def _line(seen: SeenExam) -> SeenLine:
    document: Mapping[str, Any] = seen.document
    step: Mapping[str, Any] = next(iter(document.get(STEP_SEQUENCE) or ()), {})
    day = _text(step, START_DATE)
    what = (_text(step, "Modality"), _text(document, "RequestedProcedureDescription"))
    return SeenLine(
        exam=seen,
        name=exam_words.person(_text(document, "PatientName")),
        time=exam_words.clock_of(f"{day}{_text(step, START_TIME)[:6]:0<6}" if day else ""),
        what=" ".join(filter(None, what)),
        station=_text(step, STATIONS),
        accession=_text(document, "AccessionNumber"),
        attributes=[one for one in _flat(document) if one[1]],
    )


def _text(document: Mapping[str, Any], keyword: str) -> str:
    value = document.get(keyword) or ""
    return ", ".join(value) if isinstance(value, list) else str(value)


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every attribute with its path, those of items behind that of their sequence."""
    for keyword, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for place, item in enumerate(value, 1):
                yield from _flat(item, f"{before}{keyword}[{place}] ")
        elif isinstance(value, list):
            yield f"{before}{keyword}", "\\".join(value)
        else:
            yield f"{before}{keyword}", value
