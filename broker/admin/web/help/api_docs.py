"""Describes REST: the OpenAPI document for programs, and the same as a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from broker.admin.context import AdminContext
from broker.admin.openapi.document import REFUSALS
from broker.admin.routers import page_router
from broker.admin.web import errors, shell

_SCHEMA = "#/components/schemas/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDescription:
    """A parameter or a property. `place`: query, path, header, or nothing. `schema`: the name of one, for a link."""

    name: str
    kind: str
    schema: str
    required: bool
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDescription:
    """A method of a path. `summary` is its first sentence, `body` what it takes (`example`: as JSON), `answers` what
    comes by status, but for the refusals that all operations share."""

    anchor: str
    method: str
    path: str
    summary: str
    text: str
    parameters: Sequence[FieldDescription]
    body: FieldDescription | None
    example: str
    answers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """All operations by noun, the refusals that they share by status, and the schemas that they name."""

    nouns: Mapping[str, Sequence[OperationDescription]]
    refusals: Sequence[tuple[str, str]]
    schemas: Mapping[str, Sequence[FieldDescription]]


def router(context: AdminContext) -> APIRouter:
    """The routes of the description. It is built at the first request, in a thread: that takes half a second."""
    routes = page_router()
    document = cache(lambda app: JSONResponse(app.openapi()).body)
    described = cache(_described)

    @routes.get("/api/openapi.json")
    def openapi(request: Request) -> Response:
        return Response(document(request.app), media_type="application/json")

    @routes.get("/api/docs")
    def docs(request: Request) -> Response:
        if not errors.for_people(request):
            return openapi(request)
        return shell.render(request, "api_docs", described(request.app))

    return routes


def _described(app: FastAPI) -> ApiDescription:
    document = app.openapi()
    nouns: dict[str, list[OperationDescription]] = {}
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            noun = (operation.get("tags") or [""])[0]
            nouns.setdefault(noun, []).append(_operation(method, path, operation, schemas))
    shown = {name: list(_properties(schema)) for name, schema in sorted(schemas.items())}
    refusals = [(str(status), text) for status, text in REFUSALS.items()]
    return ApiDescription(nouns, refusals, shown)


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> OperationDescription:
    content = operation.get("requestBody", {}).get("content", {})
    body = next((_field("", one["schema"], True) for one in content.values() if "schema" in one), None)
    examples = schemas[body.schema].get("examples", ()) if body is not None and body.schema in schemas else ()
    summary, _, text = operation.get("description", "").partition("\n")
    return OperationDescription(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=summary,
        text=text.strip(),
        parameters=[
            _field(one["name"], one["schema"], one.get("required", False), one["in"], one.get("description", ""))
            for one in operation.get("parameters", ())
        ],
        body=body,
        example=json.dumps(examples[0], indent=2, ensure_ascii=False) if examples else "",
        answers=[
            (status, answer["description"]) for status, answer in operation["responses"].items() if "$ref" not in answer
        ],
    )


def _properties(schema: Mapping[str, Any]) -> Iterator[FieldDescription]:
    """The properties of a schema; for one without, its values or its kind."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield _field(name, inner, name in required)
    if "properties" not in schema:
        yield _field("", schema, True)


def _field(name: str, schema: Mapping[str, Any], required: bool, place: str = "", text: str = "") -> FieldDescription:
    kind, inner = _kind(schema)
    words = text or schema.get("description", "")
    if "default" in schema and schema["default"] not in (None, ""):
        words = f"{words} Default: {json.dumps(schema['default'])}.".strip()
    return FieldDescription(name=name, kind=kind, schema=inner, required=required, place=place, text=words)


def _kind(schema: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of a value in a few words, and the schema that it names, if it names one."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_SCHEMA)
        return name, name
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = [_kind(one) for one in schema[several]]
            return " | ".join(kind for kind, _ in kinds), next((name for _, name in kinds if name), "")
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")])), ""
    if schema.get("type") == "array":
        kind, name = _kind(schema.get("items", {}))
        return f"list of {kind}", name
    kind = " ".join(filter(None, (schema.get("format", ""), schema.get("type", "any"))))
    limits = {"minimum": "≥ {}", "maximum": "≤ {}", "maxLength": "up to {} characters", "pattern": "like {}"}
    return ", ".join([kind, *(text.format(schema[key]) for key, text in limits.items() if key in schema)]), ""
