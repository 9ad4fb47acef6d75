"""Searches by what a person types: pages, guides, and what the finders of other pages know.

What is typed may name a patient. So the form of the top bar sends it in a body, which no history of addresses keeps;
`/search?q=` is for links that we write.
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
from broker.admin.web import forms, shell
from broker.admin.web.help.guides import sections_with
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Language, Sentence, counted

LONGEST = 200  # characters that are looked for
MOST = 50  # hits of one finder
SUGGESTED = 8  # hits under the search box


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """Something that was found. `kind` says what it is; `detail` is a line about it, which may be empty."""

    title: str
    path: str
    kind: Sentence
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: casefolded words, all of which must be there, by a caller with rights, in its language."""

    words: tuple[str, ...]
    rights: frozenset[Right]
    language: Language

    def in_text(self, *texts: str) -> bool:
        """All words stand in some texts."""
        joined = " ".join(texts).casefold()
        return all(word in joined for word in self.words)


Finder = Callable[[Wanted], Sequence[SearchHit]]  # best first; blocks; gives only what the rights allow to see


@dataclass(frozen=True, slots=True)
class SearchView:
    """What was found for a text."""

    text: str
    hits: Sequence[SearchHit]
    summary: Sentence


def router(finders: Sequence[Finder]) -> APIRouter:
    """The routes of the search. `finders` are asked in their order."""
    routes = page_router()

    @routes.get("/search")
    def page(request: Request) -> Response:
        return _results(request, request.query_params.get("q", ""), finders)

    @routes.post("/search")
    async def search(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_results, request, form.get("q"), finders)

    @routes.post("/search/suggestions")
    async def suggestions(request: Request) -> Response:
        form = await forms.read(request)
        hits = await run_in_threadpool(_hits, request, form.get("q"), finders)
        words = shell.language(request)
        return JSONResponse([_suggestion(hit, words) for hit in hits[:SUGGESTED]])

    return routes


def _results(request: Request, text: str, finders: Sequence[Finder]) -> Response:
    hits = _hits(request, text, finders)
    summary = counted("%(n)s result for “%(text)s”", "%(n)s results for “%(text)s”", len(hits), text=text[:LONGEST])
    return shell.render(request, "search", SearchView(text, hits, summary))


def _hits(request: Request, text: str, finders: Sequence[Finder]) -> list[SearchHit]:
    words = tuple(text[:LONGEST].casefold().split())
    wanted = Wanted(words, request.state.rights, shell.language(request))
    return [hit for finder in finders for hit in list(finder(wanted))[:MOST]] if words else []


def _suggestion(hit: SearchHit, words: Language) -> dict[str, Any]:
    """What `type-ahead.js` shows in one line."""
    return {"text": hit.title, "note": words.say(hit.kind), "path": hit.path}


def page_finder(links: Sequence[PageLink]) -> Finder:
    """Finds pages of the navigation by their titles, in English too."""

    def find(wanted: Wanted) -> list[SearchHit]:
        return [
            SearchHit(title=wanted.language.say(link.title), path=link.path, kind=Sentence("page"))
            for link in links
            if link.is_for(wanted.rights) and wanted.in_text(wanted.language.say(link.title), link.title.text)
        ]

    return find


def guide_finder(wanted: Wanted) -> list[SearchHit]:
    """Finds sections of the guides."""
    return [
        SearchHit(
            title=section.heading, path=section.path, kind=Sentence("guide"), detail=section.excerpt(wanted.words)
        )
        for section in sections_with(wanted.words)
    ]
