"""Completes the OpenAPI document: the framework knows neither how requests are refused nor what a body looks like."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from broker.admin.openapi.examples import EXAMPLES
from broker.admin.problems import MEDIA_TYPE, PATH_LENGTH

Document = dict[str, Any]
REFUSALS = {
    400: "The request cannot be read: no JSON, or a text with NUL",
    401: "Nobody knows the caller",
    403: "The caller may not do this",
    404: "There is nothing of this name or number",
    408: "The body did not arrive in time",
    409: "What is stored does not allow it",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "Something cannot be used; the errors name the places",
    429: "The caller asks too often",
    500: "Something went wrong in the broker, whose log has the reference",
    503: "Passing trouble: send it again",
    507: "The disk of the broker is full",
}
_HEADERS = {
    401: {"WWW-Authenticate": "How to say who calls (RFC 6750)"},
    429: {"Retry-After": "Seconds"},
    503: {"Retry-After": "Seconds"},
    507: {"Retry-After": "Seconds"},
}
_EVERYWHERE = (400, 413, 429, 500)  # `admin.access` and `admin.problems` answer these for all paths
_OF_REST = (401, 403, 404, 503, 507)
_PROBLEM: Document = {
    "type": "object",
    "description": "A refusal (RFC 9457). Texts name fields, never their values.",
    "required": ["title", "status"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "description": "The status in words"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "reference": {"type": "string", "maxLength": 12, "description": "The `correlation` of its lines in the log"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "text"],
                "additionalProperties": False,
                "properties": {"path": {"type": "string", "maxLength": PATH_LENGTH}, "text": {"type": "string"}},
            },
        },
    },
    "examples": [
        {
            "title": "Unprocessable Content",
            "status": 422,
            "detail": "The request cannot be used as it is",
            "reference": "5f0c9a1be27d",
            "errors": [{"path": "role", "text": "Field required"}],
        }
    ],
}


class DescribedApp(FastAPI):
    """An application whose OpenAPI document says all that an operation may answer, and shows a body for each."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._describing = threading.Lock()
        self._described: Document | None = None

    def openapi(self) -> Document:
        """The document; it is built once."""
        with self._describing:
            if self._described is None:
                self._described = _completed(super().openapi())
            return self._described


def _completed(document: Document) -> Document:
    components = document.setdefault("components", {})
    schemas: Document = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # what the framework would answer
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    components["responses"] = {_name(status): _refusal(status, text) for status, text in REFUSALS.items()}
    for name in EXAMPLES.keys() & schemas.keys():
        schemas[name]["examples"] = [EXAMPLES[name]]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return document


def _complete(path: str, method: str, operation: Document) -> None:
    """Add the refusals that all operations of a kind share, and the body of those that a route names itself."""
    responses: Document = operation["responses"]
    if _is_of_framework(responses.get("422")):
        del responses["422"]
    for number, answer in responses.items():
        if int(number) >= HTTPStatus.BAD_REQUEST:
            answer.setdefault("content", _content())
    for status in _shared(path, method, operation):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{_name(status)}"})
    operation["responses"] = dict(sorted(responses.items()))


def _shared(path: str, method: str, operation: Document) -> Iterator[int]:
    yield from _EVERYWHERE
    if path.startswith("/api/"):
        yield from _OF_REST
        if method != "get":
            yield 409
    if "requestBody" in operation:
        yield from (408, 415)
    if "requestBody" in operation or "parameters" in operation:
        yield 422


def _is_of_framework(answer: Document | None) -> bool:
    return answer is not None and "HTTPValidationError" in str(answer.get("content"))


def _name(status: int) -> str:
    """The name of a shared refusal. The words of a status differ between versions of Python."""
    return f"Refusal{status}"


def _refusal(status: int, text: str) -> Document:
    headers = {
        name: {"description": words, "required": True, "schema": {"type": "string"}}
        for name, words in _HEADERS.get(status, {}).items()
    }
    return {"description": text, "content": _content(), **({"headers": headers} if headers else {})}


def _content() -> Document:
    return {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
