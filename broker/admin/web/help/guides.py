"""The guides of `config/*.md` as pages, with links between them and a search over their sections."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence

LINK = PageLink(title=Sentence("Help"), path="/help", icon="help", right=None)
GUIDES = ("connect-a-modality", "connect-a-ris", "connect-a-pacs", "operate", "reference")
_FOLDER = Path(__file__).parents[2] / "guides"  # a link to `config/`; a wheel holds the files
_EXCERPT = 160  # characters


@dataclass(frozen=True, slots=True)
class GuideSection:
    """A part of a guide from one heading to the next. `text` is plain."""

    guide: str
    anchor: str
    heading: str
    level: int
    text: str

    @property
    def path(self) -> str:
        """The address of the section."""
        return f"/help/{self.guide}#{self.anchor}"

    def excerpt(self, words: Sequence[str]) -> str:
        """The text around the first of some casefolded words."""
        places = [place for word in words if (place := self.text.casefold().find(word)) >= 0]
        start = max(0, min(places, default=0) - _EXCERPT // 3)
        cut = self.text[start : start + _EXCERPT]
        cut = (cut.partition(" ")[2] or cut) if start else cut  # no half word
        return f"{'… ' if start else ''}{cut}{' …' if start + _EXCERPT < len(self.text) else ''}"


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide in English: its HTML, which was made of our own Markdown without raw HTML."""

    name: str
    title: str
    body: Markup
    sections: tuple[GuideSection, ...]


@dataclass(frozen=True, slots=True)
class HelpView:
    """All guides."""

    guides: Sequence[Guide]


def router(context: AdminContext) -> APIRouter:
    """The routes of the guides. The first request renders all of them, in a thread."""
    routes = page_router()

    @routes.get("/help")
    def overview(request: Request) -> Response:
        return shell.render(request, "help", HelpView(guides()))

    @routes.get("/help/{name}")
    def page(request: Request, name: str) -> Response:
        found = next((guide for guide in guides() if guide.name == name), None)
        if found is None:
            raise Problem(404, "")
        return shell.render(request, "guide", found)

    return routes


@cache
def guides() -> tuple[Guide, ...]:
    """The guides, rendered once."""
    return tuple(_guide(name) for name in GUIDES)


def sections_with(words: Sequence[str]) -> list[GuideSection]:
    """The sections that hold all of some casefolded words; those that have them in their heading come first."""
    found: list[tuple[int, int, int, GuideSection]] = []
    for section in (section for guide in guides() for section in guide.sections):
        heading = section.heading.casefold()
        text = f"{heading} {section.text.casefold()}"
        if all(word in text for word in words):
            found.append((-sum(word in heading for word in words), section.level, len(found), section))
    return [section for *_, section in sorted(found, key=lambda one: one[:3])]


def _guide(name: str) -> Guide:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse((_FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    sections = _sections(name, tokens)
    title = sections[0].heading
    body = tokens[3:]  # without the title, which is that of the page
    for token in body:
        token.children = token.children and _with_links(token.children)
    rendered = RendererHTML().render(body, markdown.options, {})
    html = rendered.replace("<pre>", '<pre tabindex="0">')  # what scrolls is reached by keys
    html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return Guide(name, title, Markup(html), sections)  # noqa: S704


def _sections(name: str, tokens: Sequence[Token]) -> tuple[GuideSection, ...]:
    """Give each heading its id, as GitHub does, and collect the text below it."""
    heads: list[tuple[str, str, int, list[str]]] = []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = _plain(tokens[place + 1])
            anchor = _anchor(heading, [head[0] for head in heads])
            token.attrSet("id", anchor)
            if token.tag == "h1" and heads:  # a page has one
                token.tag = tokens[place + 2].tag = "h2"
            heads.append((anchor, heading, int(token.tag[1:]), []))
        elif token.type in ("inline", "fence") and tokens[place - 1].type != "heading_open":
            heads[-1][3].append(_plain(token))
    return tuple(GuideSection(name, anchor, heading, level, " ".join(texts)) for anchor, heading, level, texts in heads)


def _plain(token: Token) -> str:
    """The text of a token without its marks."""
    if token.children is None:
        return " ".join(token.content.split())
    return "".join(" " if inner.type == "softbreak" else inner.content for inner in token.children)


def _anchor(heading: str, taken: Sequence[str]) -> str:
    """The id of a heading: small letters, digits and hyphens; a number behind it if it was taken."""
    text = unicodedata.normalize("NFC", heading).lower()
    base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    same = [one for one in taken if one == base or re.fullmatch(rf"{re.escape(base)}-\d+", one)]
    return f"{base}-{len(same)}" if same else base


def _with_links(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of a line with links to guides as links to their pages. A link to a file stays as its text alone."""
    kept, leads = [], True
    for token in tokens:
        if token.type == "link_open":
            file, hash_sign, anchor = str(token.attrGet("href")).partition("#")
            name = file.removesuffix(".md")
            leads = not file or name in GUIDES
            token.attrSet("href", (f"/help/{name}" if file else "") + hash_sign + anchor)
        if leads or token.type not in ("link_open", "link_close"):
            kept.append(token)
    return kept
