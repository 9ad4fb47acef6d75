"""Every page of the table in a real browser: it fits, everybody can use it, by keys, without script, in seven tabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from support.scale import FULL
from support.service.rest import TOKEN, application
from support.web import looking
from support.web.browser import NARROW, Browser, Screen
from support.web.hospital import Furnished, Hospital, furnish, vandalise
from support.web.site_pages import PAGES, SitePage

from broker.settings import load
from broker.store.db.database import Database

SCHEMES: dict[str, tuple[looking.Scheme, ...]] = {"en": ("light", "dark"), "fr": ("light",)}
UNFOLD = "(n) => { for (const part of [...document.querySelectorAll('details')].slice(0, n)) part.open = true }"
UNFOLDED = 12  # parts, beside full size: those of the API document are alike, and a hundred of them take a minute
TABS = 7  # more than the connections that a browser opens to one host


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    hospital = Hospital(trouble=True)
    return application(database, load(None), source=hospital.source, lane_rates=hospital.lane_rates)


@pytest.fixture(scope="module")
def furnished(web: str, database: Database) -> Furnished:
    with httpx.Client(base_url=web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http:
        done = furnish(database, http, held=60)
        vandalise(database, http, done.user)
    return done


class Visits:
    """Opens pages as those see them whom they are for: the admin signs in once."""

    def __init__(self, browser: Browser, web: str, furnished: Furnished) -> None:
        self._browser, self._web, self._furnished = browser, web, furnished
        self._open: list[Screen] = []

    def addresses(self, page: SitePage) -> list[str]:
        """Where a page is."""
        return page.at(self._furnished)

    def open(self, page: SitePage, address: str, language: str = "en", *, script: bool = True) -> Screen:
        """A tab with a page, in a language."""
        session = self._furnished.session if page.known else ""
        headers = {"Accept-Language": language}
        screen = self._browser.open(self._web + address, headers, script=script, session=session)
        self._open.append(screen)
        return screen

    def close(self) -> None:
        """Close all tabs."""
        while self._open:
            self._open.pop().page.close()


@pytest.fixture
def visits(browser: Browser, web: str, furnished: Furnished) -> Iterator[Visits]:
    here = Visits(browser, web, furnished)
    yield here
    here.close()


def questions(page: Page) -> list[str]:
    """The ids of the links that open questions: one of each kind."""
    openers = page.locator("main a[id$='-open'][href^='#']").evaluate_all("(all) => all.map((one) => one.id)")
    return list({re.sub(r"k[0-9a-f]{10}|\d+", "", name): name for name in openers}.values())


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.route)
def test_it_fits_and_everybody_can_use_it(visits: Visits, page: SitePage, language: str) -> None:
    """At all widths, light and dark, also with all its parts unfolded and with its questions open.

    In full size each of its addresses is looked at, folded too; else its first one as a whole, unfolded, and in French
    only whether it fits: the words alone are others.
    """
    schemes = SCHEMES[language]
    addresses = visits.addresses(page)
    for address in addresses if FULL and language == "en" else addresses[:1]:
        screen = visits.open(page, address, language)
        tab = screen.page
        assert tab.locator("html").get_attribute("lang") == language
        assert tab.locator("h1").inner_text()
        looking.fits(screen)
        if FULL:
            looking.is_accessible(screen, *schemes)
        if tab.locator("details").count():
            tab.evaluate(UNFOLD, 10**6 if FULL else UNFOLDED)
            looking.fits(screen)
        if FULL or language == "en":
            looking.is_accessible(screen, *schemes)
        for opener in questions(tab) if FULL or language == "en" else ():
            _question(screen, opener, schemes)
        quiet(screen, page)
        visits.close()


def _question(screen: Screen, opener: str, schemes: tuple[looking.Scheme, ...]) -> None:
    """A question opens, can be used by everybody, and leads back to where it was asked."""
    tab = screen.page
    tab.click(f"#{opener}")
    expect(tab.locator("dialog:modal")).to_be_visible()
    looking.is_accessible(screen, *schemes, part="" if FULL else "dialog[open]")
    looking.fits(screen)
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog:modal")).to_have_count(0)
    assert screen.focused() == opener


def quiet(screen: Screen, page: SitePage) -> None:
    """No complaint. That a link is used up is one for Chromium only."""
    if page.route == "/first/{text}":
        screen.complaints[:] = [text for text in screen.complaints if "status of 404" not in text]
    looking.is_quiet(screen)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.route)
def test_the_keyboard_reaches_everything(visits: Visits, page: SitePage) -> None:
    """Tab goes through all that can be pressed, in its order, seen and marked; then it leaves the page: no trap."""
    screen = visits.open(page, visits.addresses(page)[0])
    wanted = screen.page.evaluate(looking.REACHABLE)
    assert wanted
    screen.page.evaluate(looking.WATCH_THE_FOCUS)
    # day, month, year and calendar are one element, as are hour, minute, half of the day and clock
    parted = screen.page.locator("input[type=date]:visible, input[type=time]:visible").count()
    for _ in range(len(wanted) - 1 + 3 * parted):
        screen.page.keyboard.press("Tab")
    reached = screen.page.evaluate("window.reached")
    assert [one["what"] for one in reached] == wanted
    assert [one["what"] for one in reached if not one["marked"]] == []
    assert [one["what"] for one in reached if not one["seen"]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.route)
def test_without_script_nothing_is_missing(visits: Visits, page: SitePage) -> None:
    address = visits.addresses(page)[0]
    with_script = visits.open(page, address).page
    screen = visits.open(page, address, script=False)
    tab = screen.page
    for place in ("h1", "main h2", "main th"):
        told = [text for text in with_script.locator(place).all_inner_texts() if text]
        assert [text for text in tab.locator(place).all_inner_texts() if text] == told, place
    for control in tab.locator("[data-copy], [data-scripted]").all():
        assert not control.is_visible()  # what would do nothing
    for form in tab.locator("form").all():
        assert form.locator("button, input[type=search]").count() > 0, form.get_attribute("action")
    for opener in questions(tab):
        tab.click(f"#{opener}")
        asked = tab.locator("dialog:target")
        expect(asked).to_be_visible()
        tab.click(f"#{opener.removesuffix('-open')}-cancel")
        expect(asked).to_have_count(0)
    screen.resize(NARROW)
    assert tab.locator("body").bounding_box()["width"] <= NARROW[0]  # type: ignore[index]


@pytest.mark.parametrize("start", range(0, len(PAGES), TABS if FULL else 3 * TABS))
def test_seven_tabs_at_once(visits: Visits, start: int) -> None:
    """Each is drawn and stays live while the others are open: none holds what the others need."""
    pages = [PAGES[(start + place) % len(PAGES)] for place in range(TABS)]
    tabs = [visits.open(page, visits.addresses(page)[0]) for page in pages]
    for page, screen in zip(pages, tabs, strict=True):
        if page.known:
            expect(screen.page.locator("#pulse.warn")).to_be_attached()  # asked for by script after the page came
        quiet(screen, page)
