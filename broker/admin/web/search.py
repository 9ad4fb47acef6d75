"""Searches by what a person types: pages, guides, and what the finders of other pages know.

What is typed may name a patient. So the form of the top bar sends it in a body, which no history of addresses keeps;
`/search?q=` is for links that we write. A search that shows patients leaves one row in the audit trail: each finder
names the right on what it finds, and what it shows of patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from broker.accounts.roles import Right
from broker.admin.routers import page_router
from broker.admin.viewing import WATCHED, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.help.guides import sections_with
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Language, Sentence, counted

LONGEST = 200  # characters that are looked for
MOST = 50  # hits of one finder
SUGGESTED = 8  # hits under the search box
ANYTHING = "patient"  # kind of the audit row of a search that shows several kinds of objects


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """Something that was found. `kind` says what it is; `detail` is a line about it, which may be empty."""

    title: str
    path: str
    kind: Sentence
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: casefolded words, all of which must be there, by a caller with rights, in its language.

    `text`: as it was typed.
    """

    words: tuple[str, ...]
    rights: frozenset[Right]
    language: Language
    text: str

    def in_text(self, *texts: str) -> bool:
        """All words stand in some texts."""
        joined = " ".join(texts).casefold()
        return all(word in joined for word in self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Asks one page: `find` gives hits, the best first (blocking). Only callers with `right` ask it; None for all.

    `shows`: the kind of object that a hit shows of a patient, for the audit trail; empty for nothing of patients.
    """

    find: Callable[[Wanted], Sequence[SearchHit]]
    right: Right | None
    shows: str = ""

    def __post_init__(self) -> None:
        """Raise TypeError for a finder that hides what it shows."""
        if self.right in WATCHED and not self.shows:
            raise TypeError(f"a finder for callers with the right {self.right} says what it shows of patients")


@dataclass(frozen=True, slots=True)
class SearchView:
    """What was found for a text."""

    text: str
    hits: Sequence[SearchHit]
    summary: Sentence


def router(finders: Sequence[Finder]) -> APIRouter:
    """The routes of the search. `finders` are asked in their order."""
    routes, watched = page_router(), [shows(ANYTHING)]

    @routes.get("/search", dependencies=watched)
    def page(request: Request) -> Response:
        return _results(request, request.query_params.get("q", ""), finders)

    @routes.post("/search", dependencies=watched)
    async def search(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_results, request, form.get("q"), finders)

    @routes.post("/search/suggestions", dependencies=watched)
    async def suggestions(request: Request) -> Response:
        form = await forms.read(request)
        hits = await run_in_threadpool(_hits, request, form.get("q"), finders, SUGGESTED)
        words = shell.language(request)
        return JSONResponse([_suggestion(hit, words) for hit in hits])

    return routes


def _results(request: Request, text: str, finders: Sequence[Finder]) -> Response:
    hits = _hits(request, text, finders)
    summary = counted("%(n)s result for “%(text)s”", "%(n)s results for “%(text)s”", len(hits), text=text[:LONGEST])
    return shell.render(request, "search", SearchView(text, hits, summary))


def _hits(request: Request, text: str, finders: Sequence[Finder], most: int | None = None) -> list[SearchHit]:
    """What is found, at most `most`. What it shows of patients is noted for the audit trail."""
    words, rights = tuple(text[:LONGEST].casefold().split()), request.state.rights
    wanted = Wanted(words, rights, shell.language(request), " ".join(text[:LONGEST].split()))
    asked = [finder for finder in finders if finder.right is None or finder.right in rights] if words else []
    found = [(finder.shows, hit) for finder in asked for hit in list(finder.find(wanted))[:MOST]][:most]
    kinds = [kind for kind, _ in found if kind]
    if kinds:
        viewing_of(request).many(len(kinds), ["q"])
        viewing_of(request).kind = kinds[0] if len(set(kinds)) == 1 else ANYTHING
    else:
        viewing_of(request).nothing()
    return [hit for _, hit in found]


def _suggestion(hit: SearchHit, words: Language) -> dict[str, Any]:
    """What `type-ahead.js` shows in one line."""
    return {"text": hit.title, "note": words.say(hit.kind), "path": hit.path}


def page_finder(links: Sequence[PageLink]) -> Finder:
    """Find pages of the navigation by their titles, in English too."""

    def find(wanted: Wanted) -> list[SearchHit]:
        return [
            SearchHit(title=wanted.language.say(link.title), path=link.path, kind=Sentence("page"))
            for link in links
            if link.is_for(wanted.rights) and wanted.in_text(wanted.language.say(link.title), link.title.text)
        ]

    return Finder(find=find, right=None)


def guide_finder() -> Finder:
    """Find sections of the guides."""
    return Finder(find=_sections, right=None)


def _sections(wanted: Wanted) -> list[SearchHit]:
    return [
        SearchHit(
            title=section.heading, path=section.path, kind=Sentence("guide"), detail=section.excerpt(wanted.words)
        )
        for section in sections_with(wanted.words)
    ]
