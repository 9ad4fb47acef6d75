"""All that can be looked at: each page, each list of REST, with each filter, its last page, and each search.

It is made of the routes of the application, so that no new page or list is forgotten. A parameter gets what `_values`
has under its name, else what its type allows.
"""

from __future__ import annotations

import re
import sys
import time
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import urlencode

from fastapi import APIRouter

from broker.admin.routers import Route
from broker.admin.web.listing import Filter, Table

_AROUND = {"QZPAT1": "P", "PL1": "O", "FI1": "F", "RP1": "R", "2.999.7.1": "2.25.8"}


@dataclass(frozen=True, slots=True)
class Look:
    """A request that changes nothing. `body` of JSON, `form` of a page."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None

    def __str__(self) -> str:
        given = self.body or self.form
        return f"{self.method} {self.path}" + (f" {given}" if given else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A database with exams 0 to `count` - 1, each with texts that end in its number, and rows numbered from 1.

    `around`: it was filled by `store.history.around`, which has other texts.
    """

    count: int
    around: bool = False
    started: float = field(default_factory=time.time)

    @property
    def middle(self) -> int:
        """The number of an exam in the middle."""
        return max(1, self.count // 2)

    def named(self, mark: str) -> str:
        """What stands in the place of a text of the first order in the exam in the middle."""
        if self.around:
            return f"{_AROUND.get(mark, mark)}{self.middle}"
        return f"{mark}{self.middle}" if self.count > 1 else mark


def _values(filled: Filled) -> dict[str, Any]:
    """What parameters of a name get, whatever their route."""
    middle, far = filled.middle, max(1, filled.count // 100)
    return {
        "row": middle, "id": middle, "order": middle, "step": middle, "number": 1, "version": 1, "user": 1,
        "retired": middle + 1, "study": f"2.25.8{middle // 20}",
        "name": "pacs", "node": "pacs", "device": "CT01", "limit": 200, "lane": "deliver:pacs", "since": 1.0,
        "until": 2e9, "sender": "RIS", "party": "RIS", "message_type": "OMI", "answer": "AE", "before": far,
        "actor": "user:7", "person": "user:7", "action": "order.viewed", "kind": "order", "object_id": middle,
        "object": f"order:{middle}", "patient": middle, "q": filled.named("A1"), "linking": "linked",
        "status": "COMPLETED", "finding": "101", "everybody": "true", "form": "csv", "from": 1, "to": 1,
        "day": "20300312", "place": "new",
        "AccessionNumber": filled.named("A1"), "PatientID": filled.named("QZPAT1"),
        "RequestedProcedureID": filled.named("RP1"), "StudyInstanceUID": filled.named("2.999.7.1"),
        "PlacerOrderNumberImagingServiceRequest": filled.named("PL1"),
        "FillerOrderNumberImagingServiceRequest": filled.named("FI1"), "IssuerOfPatientID": "HOSPITAL",
    }  # fmt: skip


def _last(filled: Filled) -> dict[str, Any]:
    """The keys behind which the last pages begin, by route."""
    far = max(1, filled.count - 20)
    place = f"{filled.started - 80_000:.1f}:{far}"
    oldest = f"{filled.started - 60 * 86_400 + 100:.1f}:9"  # as `store.history` has them
    return {
        "/audit": place, "/api/v1/audit": place, "/api/v1/audit/search": place,
        "/holds": f"{filled.started - 80_000:.1f}:1:{far}", "/api/v1/orders/search": far,
        "/queue": far, "/studies": oldest, "/api/v1/studies": oldest, "/api/v1/studies/find": oldest,
        "/worklist/unseen": f"3..20300312000000.{far}",
        "/api/v1/worklist/unseen": f"3..20300312000000.{far}",
    }  # fmt: skip


def looks(routers: Iterable[APIRouter], filled: Filled) -> list[Look]:
    """Everything to look at, by the routes of the application."""
    routes = [route for one in routers for route in one.routes if isinstance(route, Route)]
    tables = {table.path: table for table in all_tables()}
    found = [look for route in routes for look in _of(route, tables.get(route.path.removesuffix("/find")), filled)]
    return list({str(look): look for look in found}.values())


def _of(route: Route, table: Table | None, filled: Filled) -> Iterator[Look]:
    values, last = _values(filled), _last(filled).get(route.path)
    if route.path.endswith("/find"):
        values |= _found(filled)
    if "/studies" in route.path:
        values |= {"patient": filled.named("QZPAT1"), "accession": filled.named("A1"), "id": filled.middle // 20 + 1}
    path = re.sub(r"{(\w+)(?::\w+)?}", lambda match: str(_inside(route.path, match[1], values)), route.path)
    if route.methods == {"GET"}:
        queries = list(_queries(route, table, values))
        queries += [{"after": last}] if last is not None else []
        for query in queries:
            yield Look("GET", f"{path}?{urlencode(query)}" if query else path)
    elif table is not None and route.path.endswith("/find"):
        yield from (Look("POST", path, form={one.name: str(_of_filter(one, values))}) for one in table.filters)
    elif route.path.endswith("/worklist/ask"):
        yield Look("POST", path, {"device": values["device"]})
        keys = {"PatientID": filled.named("QZPAT1"), "PatientName": "MULLER*", "Modality": "CT"}
        yield from (Look("POST", path, {"device": "pacs", "keys": {name: value}}) for name, value in keys.items())
    elif route.path == "/rules/explain":  # the page: either in one field
        yield Look("POST", path, form={"wanted": str(values["study"])})
        yield Look("POST", path, form={"wanted": str(values["AccessionNumber"])})
    elif route.path.endswith("/rules/explain"):  # a study or an order, not both
        yield Look("POST", path, {"study": values["study"]})
        yield Look("POST", path, {"accession": values["AccessionNumber"]})
    elif route.path == "/worklist/device":
        yield Look("POST", f"{path}?name=CT01", form={"modality": "CT"})
        yield Look("POST", f"{path}?name=CT01", form={"accession": filled.named("A1")})
    elif route.path.rpartition("/")[2] in ("search", "find", "suggestions", "explain"):
        yield from _posted(route, path, filled, values, last)


def _found(filled: Filled) -> dict[str, Any]:
    """What exams are found by."""
    return {
        "name": "muller", "number": filled.named("A1"), "patient_id": filled.named("QZPAT1"), "station": "CT01",
        "born": "19760229", "day": "20300312",
    }  # fmt: skip


def _inside(path: str, name: str, values: Mapping[str, Any]) -> Any:
    """The value of a parameter in a path."""
    special = {"/api/v1/mappings": "ihe", "/mappings": "ihe", "/help": "operate"}
    return next((value for start, value in special.items() if path.startswith(start)), values.get(name, "none"))


def _queries(route: Route, table: Table | None, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A query for each filter alone; where a route needs some of them, with those."""
    if table is not None:
        yield {}
        for one in table.filters:
            yield {one.name: _of_filter(one, values)}
        for column in table.columns:
            if column.sortable:
                yield {"sort": f"-{column.name}"}
        return
    given = {name: _of_type(name, kind, values) for name, kind, _ in _parameters(route)}
    needed = {name: given[name] for name, _, required in _parameters(route) if required}
    more = [name for name in given if name not in needed and name != "after"]
    if not needed or not more:
        yield needed
    for name in more:
        yield {**needed, name: given[name]}


def _parameters(route: Route) -> Iterator[tuple[str, Any, bool]]:
    """Name, type and need of each parameter of the query, also of one that is a model."""
    for parameter in route.dependant.query_params:
        kind = parameter.field_info.annotation
        if fields := getattr(kind, "model_fields", None):
            for name, info in fields.items():
                yield name, info.annotation, info.is_required()
        else:
            yield parameter.alias, kind, parameter.field_info.is_required()


def _of_filter(one: Filter, values: Mapping[str, Any]) -> Any:
    if one.kind == "choice":
        return one.choices[-1][0]
    return "2026-03-12" if one.kind == "date" else values.get(one.name, "a1")


def _of_type(name: str, kind: Any, values: Mapping[str, Any]) -> Any:
    """A value of a parameter: by its name, or any that its type allows."""
    choices = [each for part in _parts(kind) if get_origin(part) is Literal for each in get_args(part)]
    if choices:
        return values[name] if values.get(name) in choices else choices[-1]
    if bool in _parts(kind):
        return "true"
    return str(values.get(name, "a1")) if str in _parts(kind) else values.get(name, 1)


def _parts(kind: Any) -> list[Any]:
    """The types that a parameter may have."""
    if get_origin(kind) in (Union, types.UnionType):
        return [part for each in get_args(kind) for part in _parts(each)]
    return [get_args(kind)[0]] if hasattr(kind, "__metadata__") else [kind]


def _posted(route: Route, path: str, filled: Filled, values: Mapping[str, Any], last: Any) -> Iterator[Look]:
    """Searches: what is looked for stands in a body, since it may name a patient."""
    if route.body_field is None:
        for text in (filled.named("A1"), filled.named("QZPAT1"), "Müll", "Müller^K", "muller", "pacs", "zzz-nothing"):
            yield Look("POST", path, form={"q": text})
        return
    fields = route.body_field.field_info.annotation.model_fields  # type: ignore[union-attr]
    if {"device", "step"} <= fields.keys():
        for name in ("AccessionNumber", "order", "step"):
            yield Look("POST", path, {"device": "CT01", name: values[name]})
        return
    given = {name: _of_type(name, info.annotation, values) for name, info in fields.items()}
    needed = {name: given[name] for name, info in fields.items() if info.is_required()}
    yield Look("POST", path, needed)
    for name, value in given.items():
        if name == "IssuerOfPatientID":
            yield Look("POST", path, {**needed, name: value, "PatientID": values["PatientID"]})
        elif name != "after":
            yield Look("POST", path, {**needed, name: value})
    if "after" in fields and last is not None:
        yield Look("POST", path, {**needed, "after": last})


def all_tables() -> Sequence[Table]:
    """The tables of all pages; the routes have loaded their modules."""
    modules = [module for name, module in sys.modules.items() if name.startswith("broker.admin.web.")]
    return list(
        {id(value): value for one in modules for value in vars(one).values() if isinstance(value, Table)}.values()
    )
