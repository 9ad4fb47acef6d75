"""Draws pages: `render` answers a whole page, or only the region that the header `X-Region` names.

Every page stands in the shell (`templates/shell.html`): top bar, navigation by rights, search, user menu, note.
A POST of a page does one story and then answers by `go`: a redirect to the page that shows the result, which carries
a note. With script the redirect is followed by `static/swap.js`, which asks for the region alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, meta
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from broker import __version__
from broker.accounts.roles import Principal, Right
from broker.admin.cookies import LANGUAGE, NOTE, NOTE_AGE, cookie_text, drop_cookie, keep_cookie
from broker.admin.headers import HEADERS
from broker.admin.viewing import drawn
from broker.admin.web.assets import Assets
from broker.admin.web.words import LOCALES, Language, Sentence, preferred
from broker.model.wording import pack, unpack

REGION_HEADER = "X-Region"
POLLED = "X-Polled"  # a page that is left open asks for one of its regions
NOTE_LENGTH = 1500  # characters of the cookie of a note
PROBLEM = "problem"  # the page that shows nothing but a refusal
NEAR = 4  # pages in the bar of a telephone, beside "More"
_TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLink:
    """A page in the navigation, for callers with its right; without one for everybody who is known.

    `icon` is a symbol of `static/icons.svg`.
    """

    title: Sentence
    path: str
    icon: str
    right: Right | None

    def is_for(self, rights: frozenset[Right]) -> bool:
        """Whether somebody with some rights may see it."""
        return self.right is None or self.right in rights


class Shell:
    """What all pages have in common, built once: templates in every language, static files, navigation."""

    def __init__(self, links: Sequence[PageLink], zone: tzinfo) -> None:
        """`links`: the navigation in its order. `zone`: that of the site."""
        self.links = tuple(links)
        self.assets = Assets()
        self.languages = {code: Language(code, zone) for code in LOCALES}
        self._environments = {code: _environment(words, self.assets) for code, words in self.languages.items()}
        self.regions: dict[str, frozenset[str | None]] = {}  # templates by page, of those that were asked for parts

    def regions_of(self, page: str) -> frozenset[str | None]:
        """The templates of the regions and parts of a page."""
        if page not in self.regions:
            self.regions[page] = _included(self._environments["en"], _TEMPLATES / "pages" / f"{page}.html")
        return self.regions[page]

    def draw(self, template: str, language: str, values: Mapping[str, object]) -> str:
        """A template of `templates/` filled with values."""
        return self._environments[language].get_template(template).render(values)


def _language_code(request: Request) -> str:
    """The language of the answer: that of the user, else of the cookie, else what the browser wishes."""
    caller = _caller(request)
    chosen = (caller.person.language if caller and caller.person else "") or cookie_text(request.scope, LANGUAGE)
    return chosen if chosen in LOCALES else preferred(request.headers.get("accept-language", ""))


def language(request: Request) -> Language:
    """The words of the language of the answer."""
    words: Language = request.app.state.shell.languages[_language_code(request)]
    return words


def watched(request: Request) -> Hashable | None:
    """What a region depends on that an open page asks for: page, filters, region, and the caller's rights and language.

    None for any other request, and for a browser that carries a note of its own.
    """
    headers, url = request.headers, request.url
    polled = request.method == "GET" and POLLED in headers and REGION_HEADER in headers
    if not polled or cookie_text(request.scope, NOTE):
        return None
    return url.path, url.query, headers[REGION_HEADER], request.state.rights, _language_code(request)


def render(request: Request, name: str, view: object, status: int = 200, note: Sentence | None = None) -> Response:
    """Answer with the page `templates/pages/NAME.html`, or with its region `_REGION.html` that the request asks for.

    Templates see `view`. `note` is a sentence about what was done just now; one that `go` sent is taken up here.
    """
    shell: Shell = request.app.state.shell
    code = _language_code(request)
    region = f"pages/_{request.headers.get(REGION_HEADER, '')}.html"
    whole = REGION_HEADER not in request.headers
    known = not whole and region in shell.regions_of(name)
    carried = _carried(request) if whole or known else None
    template = "region.html" if known else f"pages/{name}.html"
    values = {
        "view": view,
        "region": region,
        "note": note or carried,
        "request": request,
        "who": _caller(request),
        "links": _links(shell, request),
        "version": __version__,
    }
    response = HTMLResponse(shell.draw(template, code, values), status, HEADERS)
    if name != PROBLEM:
        drawn(request)
    response.headers["Content-Language"] = code
    response.headers["Vary"] = "Accept-Language, Cookie, X-Region"
    if carried is not None:
        drop_cookie(response, request.scope, NOTE)
    return response


def go(path: str, note: Sentence | None = None) -> Response:
    """Send the browser to a page after a change (303), which shows the note. It is a cookie: it names no patient."""
    return _Going(path, note)


class _Going(RedirectResponse):
    """A redirect with a note for one page: no live region of another one takes it."""

    def __init__(self, path: str, note: Sentence | None) -> None:
        super().__init__(path, 303)
        self._cookie = ""
        if note is not None:
            text = json.dumps([unquote(urlsplit(path).path), pack(note)])
            cookie = base64.urlsafe_b64encode(text.encode()).decode()
            self._cookie = cookie if len(cookie) <= NOTE_LENGTH else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it: how the cookie is named depends on the request."""
        if self._cookie:
            keep_cookie(self, scope, NOTE, self._cookie, NOTE_AGE)
        await super().__call__(scope, receive, send)


def _carried(request: Request) -> Sentence | None:
    """The note in the cookie of the request for this page; None for none, and for what `go` did not write."""
    cookie = cookie_text(request.scope, NOTE)[: NOTE_LENGTH + 1]
    if not cookie or len(cookie) > NOTE_LENGTH:
        return None
    try:
        path, packed = json.loads(base64.urlsafe_b64decode(cookie))
        if path != request.scope["path"]:
            return None
        note = unpack(packed)
        request.app.state.shell.languages["en"].say(note)
    except (binascii.Error, ValueError, TypeError, AttributeError, KeyError):
        return None
    return note


def _caller(request: Request) -> Principal | None:
    """Who calls; None for a stranger."""
    caller: Principal | None = getattr(request.state, "caller", None)
    return caller


def _links(shell: Shell, request: Request) -> list[tuple[PageLink, bool, bool]]:
    """The pages that the rights of the caller let it see: each with whether it is shown now, and whether it is far.

    A telephone shows NEAR pages in its bar, the current one among them; the far ones stand behind "More".
    """
    caller, path = _caller(request), request.url.path
    links = [link for link in shell.links if caller and link.is_for(caller.rights)]
    current = [link for link in links if path == link.path or (link.path != "/" and path.startswith(f"{link.path}/"))]
    near = links[: NEAR + 1] if len(links) <= NEAR + 1 else links[:NEAR]
    if current and current[0] not in near:
        near[-1] = current[0]
    return [(link, link in current, link not in near) for link in links]


def _included(environment: Environment, file: Path) -> frozenset[str | None]:
    """The templates that a template names: for a page its regions and parts."""
    return frozenset(meta.find_referenced_templates(environment.parse(file.read_text(encoding="utf-8"))))


def _environment(words: Language, assets: Assets) -> Environment:
    """The templates in one language. A name that the view lacks is an error, never an empty place."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(words.gettext, words.ngettext, newstyle=True)  # type: ignore[attr-defined]
    for filter_of in (words.say, words.number, words.moment, words.iso, words.ago, words.span, words.clock, words.size):
        environment.filters[filter_of.__name__] = filter_of
    environment.globals.update(language=words.code, asset=assets.url)
    return environment
