"""Describes REST: the OpenAPI document."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from broker.admin.context import AdminContext
from broker.admin.routers import page_router


def router(context: AdminContext) -> APIRouter:
    """The routes of the description."""
    routes = page_router()
    document = cache(lambda app: JSONResponse(app.openapi()).body)

    @routes.get("/api/docs")
    def docs(request: Request) -> Response:  # no coroutine: it takes half a second the first time
        return Response(document(request.app), media_type="application/json")

    return routes
