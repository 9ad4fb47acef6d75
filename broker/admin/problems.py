"""Answers refusals as `application/problem+json` (RFC 9457). Texts name fields, never their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from broker import correlation, telemetry
from broker.errors import StoreFull, Unavailable
from broker.queue.holds import NewerSent

MEDIA_TYPE = "application/problem+json"
PATH_LENGTH = 200  # characters of a field path: keys are the caller's own words
TOLD = 100  # errors of one answer
# texts of these kinds of pydantic's errors hold nothing of the input
_PLAIN = frozenset(
    {
        "missing",
        "extra_forbidden",
        "literal_error",
        "string_type",
        "int_type",
        "bool_type",
        "list_type",
        "dict_type",
        "string_too_short",
        "string_too_long",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "too_long",
        "too_short",
        "model_attributes_type",
        "json_invalid",
    }
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong at one place of the body: a path like `patient/PatientID`, and why."""

    path: str
    text: str


class Problem(Exception):
    """A refusal with its HTTP status. `detail` and the errors go to the caller: no patient data."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def document(problem: Problem) -> dict[str, Any]:
    """The members of a problem document."""
    body: dict[str, Any] = {"title": HTTPStatus(problem.status).phrase, "status": problem.status}
    if problem.detail:
        body["detail"] = problem.detail
    if problem.errors:
        body["errors"] = [{"path": _printable(error.path), "text": error.text} for error in problem.errors[:TOLD]]
    return body


def _printable(path: str) -> str:
    """A path of bounded length without halves of surrogate pairs, which JSON can name and no encoding holds."""
    return path[:PATH_LENGTH].encode("utf-8", "replace").decode("utf-8")


def answer(request: Request, problem: Problem) -> Response:
    """A problem as the answer to a request of a program."""
    body = document(problem) | ({"reference": correlation.current()} if correlation.current() else {})
    return JSONResponse(body, problem.status, problem.headers, media_type=MEDIA_TYPE)


def handle(app: FastAPI, answer: Callable[[Request, Problem], Response] = answer) -> None:
    """Answer refusals, bad requests, passing trouble and defects; 503 and 500 never name their cause.

    `answer` makes the answer of a problem. 507 says that the disk is full (RFC 4918 11.5): whoever may write may know
    it, and can act.
    """

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        return answer(request, problem)

    @app.exception_handler(NewerSent)
    async def older(request: Request, error: NewerSent) -> Response:
        return answer(request, Problem(409, f"{str(error).capitalize()} (`anyway`, or --anyway to a command)"))

    @app.exception_handler(HTTPException)
    async def no_such(request: Request, error: HTTPException) -> Response:
        return answer(request, Problem(error.status_code, "", headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(
                "/".join(str(part) for part in fault["loc"] if part != "body"),
                fault["msg"] if fault["type"] in _PLAIN else str(fault["type"]).replace("_", " "),
            )
            for fault in error.errors()
        ]
        return answer(request, Problem(422, "The request cannot be used as it is", errors))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        reference = correlation.current()
        telemetry.logger().error("web.internal_error", reference=reference, error=telemetry.describe(error))
        problem = Problem(500, f"Internal error, reference {reference}", headers={correlation.HEADER: reference})
        return answer(request, problem)

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, error: Unavailable) -> Response:
        telemetry.logger().warning("web.unavailable", error=telemetry.describe(error))
        full = isinstance(error, StoreFull)
        text = "the disk of the broker is full" if full else "passing trouble"
        retry = {"Retry-After": "60" if full else "15"}
        return answer(request, Problem(507 if full else 503, text, headers=retry))
