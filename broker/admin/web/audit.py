"""The page of the audit trail: who did or saw what, when and from where; with filters, pages and an export.

An identifier of a patient belongs into no address. It is sent in a body and turned into our number of the patient.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin import audit_answers
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING, shows
from broker.admin.web import forms, shell
from broker.admin.web.listing import CAP, Asked, Column, Filter, Listing, Table, midnight
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.audit import actions
from broker.model.audit import AuditRecord, AuditSelection, ExportForm
from broker.store.audit import trail
from broker.store.db import newest

LINK = PageLink(title=Sentence("Audit"), path="/audit", icon="audit", right=Right.AUDIT)
TABLE = Table(
    path="/audit",
    region="trail",
    title=Sentence("Audit trail"),
    columns=(
        Column(name="at", title=Sentence("Time")),
        Column(name="who", title=Sentence("Who")),
        Column(name="action", title=Sentence("What")),
        Column(name="object", title=Sentence("Object")),
        Column(name="more", title=Sentence("More")),
    ),
    filters=(
        Filter(name="person", title=Sentence("Who"), hint=Sentence("user:anna")),
        Filter(name="action", title=Sentence("What"), kind="group", groups=actions.groups()),
        Filter(name="object", title=Sentence("Object"), hint=Sentence("order:17")),
        Filter(name="patient", title=Sentence("Patient"), hint=Sentence("our number")),
        Filter(name="since", title=Sentence("From"), kind="date"),
        Filter(name="until", title=Sentence("To"), kind="date"),
    ),
)
_OBJECT = re.compile(r"([a-z-]{1,40})(?::(\d{1,18}))?")
_PATIENTS = re.compile(r"\d{1,18}(?:\.\d{1,18}){0,63}")
_TOLD = frozenset({"reason", "filters", "count", "route", "until"})  # of a detail, which are said in words


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """A row in words. `thing` and `object`: its kind and number; the links lead to the rows like it."""

    record: AuditRecord
    deed: Sentence | None
    thing: Sentence | None
    links: Mapping[str, str]
    reason: str
    filters: str
    count: int | None
    rest: list[tuple[str, str]]  # what else the detail says: names and values
    ends: float | None  # s since the epoch: until when what was made counts


@dataclass(frozen=True, slots=True)
class AuditTrailView:
    """The rows of one page, and where they are exported from."""

    listing: Listing[AuditLine]
    exports: Mapping[str, str]
    farther: float | None  # s since the epoch: how far back was looked, if that is not all and little was found


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router(Right.AUDIT)

    @routes.get("/audit", dependencies=[shows("audit")])
    def page(request: Request) -> Response:
        asked = _checked(TABLE.ask(request.query_params))
        selection = _selection(context, asked)
        after = newest.place_of(asked.after)
        found = audit_answers.page(context, request, selection, asked.values, after, TABLE.size)
        total, whole = context.database.read(trail.count, selection, CAP).result()
        listing = Listing(
            asked=asked,
            rows=[_line(row) for row in found.rows],
            total=total,
            next_key="" if found.after is None else newest.place_text(found.after),
            uncounted=not whole,
        )
        farther = found.after[0] if found.after is not None and len(found.rows) < TABLE.size else None
        return shell.render(request, "audit", AuditTrailView(listing, _exports(asked), farther))

    @routes.get("/audit/export", dependencies=[shows("audit", "exported")])
    def export(request: Request) -> Response:
        asked = _checked(TABLE.ask(request.query_params))
        form = ExportForm.JSON_LINES if request.query_params.get("form") == ExportForm.JSON_LINES else ExportForm.CSV
        return audit_answers.file(context, request, _selection(context, asked), asked.values, form)

    @routes.post("/audit/patient", dependencies=[SHOWS_NOTHING])
    async def patient(request: Request) -> Response:
        fields = await forms.read(request)
        number, issuer = fields.get("PatientID"), fields.get("IssuerOfPatientID")
        rows = await run_in_threadpool(_patients, context, number, issuer)
        if not rows:
            return shell.go("/audit", Sentence("No patient here has this identifier."))
        return shell.go(f"/audit?{urlencode({'patient': '.'.join(map(str, rows))})}")

    return routes


def _patients(context: AdminContext, number: str, issuer: str) -> tuple[int, ...]:
    found: tuple[int, ...] = context.database.read(trail.patients, number[:250], issuer[:64]).result()
    return found


def _checked(asked: Asked) -> Asked:
    """What is asked, without what cannot be used: that is told beside its filter."""
    values, errors = dict(asked.values), dict(asked.errors)
    for name, form, told in (
        ("object", _OBJECT, Sentence("Type a kind like order, or order:17.")),
        ("patient", _PATIENTS, Sentence("Type our number of the patient, or look for an identifier below.")),
    ):
        if name in values and not form.fullmatch(values[name]):
            del values[name]
            errors[name] = told
    return replace(asked, values=values, errors=errors)


def _selection(context: AdminContext, asked: Asked) -> AuditSelection:
    values, match = asked.values, _OBJECT.fullmatch(asked.values.get("object", ""))
    kind, number = match.groups() if match else ("", None)
    patients, zone = values.get("patient"), context.settings.zone()
    return AuditSelection(
        actor=values.get("person", ""),
        action=values.get("action", ""),
        kind=kind,
        object_id=int(number) if number else None,
        patients=tuple(map(int, patients.split("."))) if patients else None,
        since=midnight(zone, values.get("since", "")),
        until=midnight(zone, values.get("until", ""), 1),
    )


def _exports(asked: Asked) -> dict[str, str]:
    return {form.value: f"/audit/export?{urlencode({**asked.values, 'form': form.value})}" for form in ExportForm}


def _value(value: object) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _link(name: str, value: str) -> str:
    """The address of the rows with one value; empty for none."""
    return f"/audit?{urlencode({name: value})}" if value else ""


def _line(record: AuditRecord) -> AuditLine:
    detail = record.detail
    links = {
        "who": _link("person", record.actor),
        "action": _link("action", record.action),
        "object": _link("object", f"{record.kind}:{record.object_id}" if record.object_id else ""),
        "patient": _link("patient", str(record.patient or "")),
    }
    ends = detail.get("until")
    rest = [(name, _value(value)) for name, value in detail.items() if name not in _TOLD and value not in ("", None)]
    return AuditLine(
        record=record,
        deed=actions.deed(record.action),
        thing=actions.THINGS.get(record.kind),
        links=links,
        reason=str(detail.get("reason", "")),
        filters=", ".join(map(str, detail.get("filters", ()))),
        count=detail.get("count"),
        rest=rest,
        ends=ends if isinstance(ends, float) else None,
    )
