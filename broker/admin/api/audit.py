"""Serves `/api/v1/audit`: who did or saw what, when and from where. Reading it leaves a row there too."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin import audit_answers
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows
from broker.audit import actions, export
from broker.model.audit import AuditSelection, ExportForm
from broker.store.audit import trail
from broker.store.db import newest
from broker.store.db.database import Database

_PLAIN = r"^[^\x00-\x1f\x7f]*$"


class AuditFilters(BaseModel):
    """Which rows: all that is given must fit."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    actor: Annotated[
        str,
        Field(max_length=500, pattern=_PLAIN, description="`user:anna`; with a colon at the end all of a kind"),
    ] = ""
    action: Annotated[
        str,
        Field(max_length=100, pattern=_PLAIN, description="One of `/audit/actions`; ending in a dot: all of a kind"),
    ] = ""
    kind: Annotated[str, Field(max_length=40, pattern=_PLAIN, description="Kind of the object: `order`, `mpps` …")] = ""
    object_id: Annotated[RowNumber | None, Field(description="Our own number of the object")] = None
    patient: Annotated[RowNumber | None, Field(description="Our own number of the patient")] = None
    since: Annotated[Moment | None, Field(description="Not before (s since the epoch)")] = None
    until: Annotated[Moment | None, Field(description="Before")] = None


class AuditQuery(AuditFilters):
    """Which rows, and which page of them."""

    after: Annotated[
        str, Field(max_length=40, pattern=rf"^({newest.PLACE})?$", description="`after` of the page before")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class _OfPatient(BaseModel):
    """Whom it concerns, by an identifier: it belongs into no URL."""

    PatientID: Annotated[str, Field(max_length=250, pattern=_PLAIN)] = ""
    IssuerOfPatientID: Annotated[str, Field(max_length=64, pattern=_PLAIN)] = ""


class AuditSearchBody(AuditQuery, _OfPatient):
    """Which rows, also by an identifier of the patient, and which page of them."""


class AuditExportBody(AuditFilters, _OfPatient):
    """Which rows, also by an identifier of the patient, and in which form."""

    form: ExportForm = ExportForm.CSV


class AuditExportQuery(AuditFilters):
    """Which rows, and in which form."""

    form: ExportForm = ExportForm.CSV


_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, in the form that was asked for",
        "content": {kind: {"schema": {"type": "string"}} for kind in ("text/csv", "application/jsonl")},
    }
}


class AuditView(BaseModel):
    """A row. `at` in s since the epoch; `patient`: our own number of whom it concerns."""

    id: int
    at: float
    actor: str
    address: str
    action: str
    kind: str
    object_id: int
    patient: int | None
    detail: dict[str, Any]


class AuditActionView(BaseModel):
    """An action by which rows are found, and its words. One with a dot at its end means all of a kind."""

    action: str
    words: str


class AuditPageView(BaseModel):
    """Rows, the newest first. A page may be short; only one without `after` is the last."""

    rows: list[AuditView]
    after: str | None


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/audit, for auditors."""
    routes = admin_router("/api/v1/audit", Right.AUDIT, tags=["audit"])

    @routes.get("", dependencies=[shows("audit")])
    def listed(request: Request, query: Annotated[AuditQuery, Query()]) -> AuditPageView:
        """List rows of the audit trail, the newest first."""
        return _page(context, request, query)

    @routes.get("/actions", dependencies=[SHOWS_NOTHING])
    def known() -> list[AuditActionView]:
        """List the actions of the audit trail in words, those of a kind together."""
        return [AuditActionView(action=action, words=words) for action, words in actions.in_english()]

    @routes.post("/search", dependencies=[shows("audit")])
    def search(request: Request, body: AuditSearchBody) -> AuditPageView:
        """List rows, also by an identifier of the patient."""
        return _page(context, request, body)

    @routes.get(
        "/export",
        dependencies=[shows("audit", "exported")],
        response_class=StreamingResponse,
        responses=_EXPORTED,
    )
    def exported(request: Request, query: Annotated[AuditExportQuery, Query()]) -> StreamingResponse:
        """Export rows as CSV or JSON lines, the newest first."""
        return _export(context, request, query, query.form)

    @routes.post(
        "/export",
        dependencies=[shows("audit", "exported")],
        response_class=StreamingResponse,
        responses=_EXPORTED,
    )
    def export_found(request: Request, body: AuditExportBody) -> StreamingResponse:
        """Export rows, also by an identifier of the patient."""
        return _export(context, request, body, body.form)

    return routes


def selection_of(database: Database, filters: AuditFilters) -> AuditSelection:
    """What filters mean. An identifier that no patient has means no rows. Raises Problem, StoreUnavailable."""
    patients: tuple[int, ...] | None = None if filters.patient is None else (filters.patient,)
    if isinstance(filters, _OfPatient) and (filters.PatientID or filters.IssuerOfPatientID):
        if not filters.PatientID:
            raise Problem(422, "IssuerOfPatientID goes with PatientID")
        found = database.read(trail.patients, filters.PatientID, filters.IssuerOfPatientID).result()
        patients = found if patients is None else tuple(row for row in found if row in patients)
    return AuditSelection(
        actor=filters.actor,
        action=filters.action,
        kind=filters.kind,
        object_id=filters.object_id,
        patients=patients,
        since=filters.since,
        until=filters.until,
    )


def _page(context: AdminContext, request: Request, query: AuditQuery) -> AuditPageView:
    selection, after = selection_of(context.database, query), newest.place_of(query.after)
    page = audit_answers.page(context, request, selection, _given(query), after, query.limit)
    rows = [AuditView.model_validate(export.document(row)) for row in page.rows]
    return AuditPageView(rows=rows, after=None if page.after is None else newest.place_text(page.after))


def _export(context: AdminContext, request: Request, filters: AuditFilters, form: ExportForm) -> StreamingResponse:
    return audit_answers.file(context, request, selection_of(context.database, filters), _given(filters), form)


def _given(filters: AuditFilters) -> set[str]:
    """Names of the filters that are set."""
    return {name for name in filters.model_fields_set if getattr(filters, name)} - {"after", "limit", "form"}
