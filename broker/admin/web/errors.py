"""Answers refusals and failures: browsers get a page in plain words with the next step, programs problem+json."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from broker.admin import problems
from broker.admin.problems import Problem
from broker.admin.web import shell
from broker.admin.web.words import Sentence

_PROGRAMS = ("/api/v1/", "/health/", "/metrics", "/static/")  # paths that no person opens


@dataclass(frozen=True, slots=True)
class ProblemPage:
    """What happened, in words, and what to do next. `detail` is in English, and may be empty."""

    status: int
    title: Sentence
    next_step: Sentence
    detail: str


_WORDS = {
    401: (
        Sentence("You are signed out"),
        Sentence("You are signed out. Sign in again in another tab: what you typed here stays."),
    ),
    403: (
        Sentence("You may not do this"),
        Sentence("Your role does not include it. An administrator can change your role."),
    ),
    404: (
        Sentence("There is no such page"),
        Sentence("It may have been removed, or the address has a typing error. Use the navigation or the search."),
    ),
    405: (
        Sentence("There is no such page"),
        Sentence("It may have been removed, or the address has a typing error. Use the navigation or the search."),
    ),
    422: (
        Sentence("This cannot be used as it is"),
        Sentence("Go back, correct it and send it again. Nothing was changed."),
    ),
    429: (Sentence("Too many requests"), Sentence("Wait a few seconds, then load the page again.")),
    503: (
        Sentence("The broker cannot answer now"),
        Sentence("The database is away or busy. Load the page again in a minute; modalities are still served."),
    ),
    507: (
        Sentence("The disk of the broker is full"),
        Sentence("Nothing was changed. Free space on the disk of the broker, then try again."),
    ),
}
_REFUSED = (Sentence("The broker refused this request"), Sentence("Go back and try again. Nothing was changed."))
_FAILED = (
    Sentence("Something went wrong in the broker"),
    Sentence("Load the page again. If it happens again, tell whoever runs the broker the reference below."),
)


def answer(request: Request, problem: Problem) -> Response:
    """A refusal as a page or as a problem document, by what the caller reads."""
    if not for_people(request):
        return problems.answer(request, problem)
    title, step = _WORDS.get(problem.status, _FAILED if problem.status >= 500 else _REFUSED)
    detail = "" if problem.status == 401 else problem.detail  # it speaks to programs
    view = ProblemPage(problem.status, title, step, detail)
    response = shell.render(request, shell.PROBLEM, view, problem.status)
    response.headers.update(problem.headers)
    return response


def for_people(request: Request) -> bool:
    """Whether a browser shows the answer to a person."""
    return not request.url.path.startswith(_PROGRAMS) and "text/html" in request.headers.get("accept", "")
