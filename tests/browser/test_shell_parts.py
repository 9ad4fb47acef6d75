"""The shell and its parts in a real browser: by mouse, by keys alone, without script, on telephones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from support.service.rest import TOKEN, application
from support.web import looking
from support.web.browser import NARROW, PHONE, Browser, Screen
from support.web.serving import serving
from support.web.trial import Trial, add_trial

from broker.admin.web import pages
from broker.admin.web.shell import Shell
from broker.settings import load
from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    """All pages, in a shell of their own: the trial adds a page to it."""
    return application(database, load(None), shell=Shell(pages.links(), UTC))


@pytest.fixture(scope="module")
def trial(app: FastAPI) -> Trial:
    return add_trial(app)


@pytest.fixture(scope="module")
def web(app: FastAPI, trial: Trial) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def screen(browser: Browser, web: str, trial: Trial) -> Iterator[Screen]:
    trial.names[:] = []
    opened = browser.open(f"{web}/trial", KNOWN)
    yield opened
    opened.page.close()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_part_fits_and_everybody_can_use_it(browser: Browser, web: str, trial: Trial, language: str) -> None:
    screen = browser.open(f"{web}/trial", KNOWN | {"Accept-Language": language})
    looking.fits(screen)
    looking.is_accessible(screen)
    looking.is_quiet(screen)
    screen.page.close()


def test_a_form_replaces_its_region_and_says_what_was_done(screen: Screen) -> None:
    page = screen.page
    page.fill("#name", "Anna")
    page.click("#add")
    expect(page.locator("#names li")).to_have_text(["Anna"])
    expect(page.locator("#note")).to_have_text("Anna was added.")
    expect(page.locator("#said")).to_have_text("1 names")
    assert screen.focused() == "add"
    page.fill("#name", "A1")
    page.press("#name", "Enter")
    expect(page.locator("#name-wrong")).to_be_visible()
    assert page.get_attribute("#name", "aria-describedby") == "name-wrong"
    assert page.input_value("#name") == "A1"
    assert screen.focused() == "name"
    looking.is_accessible(screen)
    looking.is_quiet(screen)


def test_a_question_is_asked_answered_and_left_by_keys(screen: Screen, trial: Trial) -> None:
    page = screen.page
    trial.names[:] = ["Anna"]
    page.reload()
    page.focus("#clear-open")
    press(page, "Enter")
    expect(page.locator("#clear")).to_be_visible()
    looking.is_accessible(screen)
    assert page.evaluate("document.activeElement.closest('dialog')?.id") == "clear"
    press(page, "Escape")
    expect(page.locator("#clear")).to_be_hidden()
    assert screen.focused() == "clear-open"
    press(page, "Enter")
    page.focus("#clear-cancel")
    press(page, "Enter")
    expect(page.locator("#clear")).to_be_hidden()
    assert trial.names == ["Anna"]
    press(page, "Enter")
    page.focus("#clear-do")
    press(page, "Enter")
    expect(page.locator("#note")).to_have_text("All names are gone.")
    assert trial.names == []
    assert screen.focused() == "clear-open"


def test_the_keyboard_reaches_the_content_and_finds_a_page(screen: Screen) -> None:
    page = screen.page
    page.reload()
    press(page, "Tab")
    expect(page.locator(".skip")).to_be_focused()
    press(page, "Enter")
    assert screen.focused() == "main"
    page.focus("#find")
    page.keyboard.type("oper")
    expect(page.locator("[role=option]").first).to_be_visible()
    looking.is_accessible(screen)
    press(page, "ArrowDown")
    assert page.get_attribute("#find", "aria-activedescendant") == page.locator("[aria-selected=true]").get_attribute(
        "id"
    )
    press(page, "Escape")
    expect(page.locator("[role=listbox]")).to_be_hidden()
    press(page, "ArrowDown")
    expect(page.locator("[role=option]").first).to_be_visible()
    press(page, "ArrowDown", "Enter")
    page.wait_for_url("**/help/operate**")


def test_filters_change_the_address_and_keep_the_focus(browser: Browser, web: str) -> None:
    screen = browser.open(f"{web}/settings", KNOWN)
    page = screen.page
    all_keys = page.locator("#keys tbody tr").count()
    page.focus("#filter-q")
    page.keyboard.type("web.")
    page.wait_for_url("**/settings?q=web.")  # a person who types slowly goes back over all of it at once
    page.keyboard.type("port")
    page.wait_for_url("**/settings?q=web.port")
    expect(page.locator("#keys tbody tr")).to_have_count(1)
    assert screen.focused() == "filter-q"
    page.go_back()
    page.wait_for_url("**/settings")
    expect(page.locator("#keys tbody tr")).to_have_count(all_keys)
    page.focus("#sort-key")
    press(page, "Enter")
    expect(page.locator("#keys th[aria-sort=ascending]")).to_have_count(1)
    assert screen.focused() == "sort-key"
    looking.is_quiet(screen)
    page.close()


def test_a_live_region_asks_again_but_not_while_somebody_works_in_it(screen: Screen, trial: Trial) -> None:
    page = screen.page
    first = int(page.inner_text("#asked"))
    expect(page.locator("#asked")).not_to_have_text(str(first), timeout=10_000)
    page.focus("#inside")
    held = trial.asked
    page.wait_for_timeout(2500)  # longer than two turns
    assert trial.asked - held <= 1
    assert screen.focused() == "inside"


def test_nothing_typed_is_lost_while_the_broker_is_away(screen: Screen, trial: Trial) -> None:
    page = screen.page
    page.route("**/trial", lambda route: route.abort())
    page.fill("#name", "Berta")
    page.click("#add")
    expect(page.locator("#note")).to_contain_text("The broker does not answer")
    assert page.input_value("#name") == "Berta"
    page.unroute("**/trial")
    page.click("#add")
    expect(page.locator("#names li")).to_have_text(["Berta"])
    assert trial.names == ["Berta"]


def test_a_text_is_copied(screen: Screen, web: str) -> None:
    page = screen.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=web)
    page.click("#command-copy")
    expect(page.locator("#command-copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "broker nodes admit CT01"


def test_a_telephone_has_four_pages_and_the_others_behind_more(browser: Browser, web: str) -> None:
    screen = browser.open(f"{web}/help", KNOWN, PHONE)
    page, shown = screen.page, screen.page.locator("nav.pages li:visible")
    assert shown.count() == 5
    assert page.locator("nav.pages [aria-current]").inner_text() == "Help"
    page.click("nav.pages .more a")
    expect(page.locator("nav.pages li:visible")).not_to_have_count(5)
    looking.is_accessible(screen)
    page.click("nav.pages .less a")
    expect(shown).to_have_count(5)
    looking.fits(screen)
    page.close()


def test_everything_works_without_script(browser: Browser, web: str, trial: Trial) -> None:
    trial.names[:] = []
    screen = browser.open(f"{web}/trial", KNOWN, script=False)
    page = screen.page
    page.fill("#name", "Carla")
    page.click("#add")
    expect(page.locator("#names li")).to_have_text(["Carla"])
    assert page.inner_text("#note") == "Carla was added."
    page.click("#clear-open")
    assert page.locator("#clear").is_visible()
    page.click("#clear-cancel")
    assert page.locator("#clear").is_hidden()
    page.click("#clear-open")
    page.click("#clear-do")
    assert page.inner_text("#note") == "All names are gone."
    page.fill("#find", "damaged database")
    page.press("#find", "Enter")
    page.click(".hits a >> nth=0")
    assert "/help/operate#a-damaged-database" in page.url
    page.goto(f"{web}/settings")
    page.fill("#filter-q", "web.port")
    page.press("#filter-q", "Enter")
    expect(page.locator("#keys tbody tr")).to_have_count(1)
    screen.resize(NARROW)
    page.click("nav.pages .more a")
    expect(page.locator("nav.pages li:visible").nth(5)).to_be_visible()
    page.close()


def test_a_guide_is_found_and_read_by_mouse(browser: Browser, web: str) -> None:
    screen = browser.open(f"{web}/help", KNOWN)
    page = screen.page
    page.click("main >> text=Operate the broker")
    expect(page.locator("h1")).to_have_text("Operate the broker")
    page.click("text=All guides")
    page.click("main a[href='/help/operate#a-damaged-database']")
    expect(page.locator("#a-damaged-database")).to_be_in_viewport()
    page.fill("#find", "damaged database")
    page.click("[role=option] >> nth=0")
    page.wait_for_url("**/help/operate#a-damaged-database")
    page.click("details.menu summary")
    page.click(".sheet >> text=REST interface")
    expect(page.locator("h1")).to_have_text("REST interface")
    page.click("summary:has-text('/api/v1/orders/emergency')")
    expect(page.locator("details.operation[open]")).to_contain_text("patient")
    looking.is_quiet(screen)
    page.close()
