"""The pages of mapping profiles in a real browser: edit, mend, try, publish, undo; complete by keys; no script."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.orders.journal import order_message, send
from support.service.rest import TOKEN, application
from support.web import looking
from support.web.browser import Browser, Screen, chromium
from support.web.hospital import PROFILE
from support.web.serving import serving

from broker.orders.mapping_versions import Mappings
from broker.settings import load
from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}
SITE = PROFILE.replace("st-anna", "site").replace(', facility = "ST_ANNA"', "")


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a profile, and two messages of its sender: one is refused."""
    file = tmp_path_factory.mktemp("mappings") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    Mappings(database).publish(SITE, "user:anna", reason="the RIS of St Anna")
    send(database, order_message(1), order_message(2, modality="TQQ9"))
    database.close()
    return file


@pytest.fixture(scope="module")
def browser(filled: Path) -> Iterator[Browser]:
    """It starts after the database is filled: a loop runs in its thread."""
    with chromium() as running:
        yield running


@pytest.fixture
def web(filled: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copyfile(filled, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    with serving(application(database, load(None))) as address:
        yield address
    database.close()


def opened(browser: Browser, web: str, path: str, *, script: bool = True, language: str = "en") -> Screen:
    return browser.open(f"{web}{path}", {**KNOWN, "Accept-Language": language}, script=script)


def test_a_profile_is_edited_tried_published_and_undone(web: str, browser: Browser) -> None:
    screen = opened(browser, web, "/mappings")
    page = screen.page
    page.click("#mapping-site")
    page.click("#edit")
    page.locator("mapping-editor .gutter li").first.wait_for()
    page.fill("#text", SITE + "TQQ9 = 1.5\n")
    page.click("#check")
    mistake = page.locator("#mapping_draft li.wrong")
    expect(mistake).to_contain_text("TQQ9: a text or an integer is needed")
    expect(page.locator("mapping-editor .gutter li.bad")).to_have_text("8")
    looking.is_accessible(screen)
    looking.fits(screen)
    mistake.get_by_role("link", name="Line 8").click()
    assert (
        page.evaluate(
            "getSelection().toString() || document.activeElement.value.slice("
            "document.activeElement.selectionStart, document.activeElement.selectionEnd)"
        )
        == "TQQ9 = 1.5"
    )
    page.keyboard.type('TQQ9 = "CR"')
    page.click("#changes")
    would = page.locator("#would-change")
    expect(would).to_contain_text("2 of 2 messages were looked at.")
    expect(would.locator("tbody tr")).to_have_count(1)
    expect(would).to_contain_text("accepted, refused now")
    expect(would).to_contain_text("New worklist entry")
    looking.is_accessible(screen)
    looking.fits(screen)
    page.click("#paste")
    page.fill("#message", order_message(7, modality="TQQ9").decode().replace("\r", "\n"))
    page.click("#try")
    expect(page.locator("#tried")).to_contain_text("by the value table of TQQ9")
    looking.is_accessible(screen)
    page.click("#publish")
    expect(page.locator("#reason-wrong")).to_contain_text("Say why")
    page.fill("#reason", "TQQ9 is a CR")
    page.click("#publish")
    expect(page.locator("#note")).to_have_text("site: version 2 is in force.")
    page.goto(f"{web}/mappings/site/history")
    expect(page.locator(".diff ins")).to_contain_text('TQQ9 = "CR"')
    looking.is_accessible(screen)
    page.goto(f"{web}/mappings")
    page.click("#undo-site-open")
    page.fill("#undo-site-reason", "it was wrong")
    page.click("#undo-site-do")
    expect(page.locator("#note")).to_have_text("site: version 1 is in force again, as 3.")
    looking.is_quiet(screen)


def test_keywords_keys_and_paths_are_completed_by_keys(web: str, browser: Browser) -> None:
    screen = opened(browser, web, "/mappings/add")
    page, keyboard = screen.page, screen.page.keyboard
    options = page.locator("mapping-editor [role=option]")
    page.locator("mapping-editor .gutter li").first.wait_for()
    page.focus("#text")
    keyboard.press("Control+End")
    keyboard.type("[st")
    expect(options.first).to_contain_text("[step]")
    looking.is_accessible(screen)
    keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    keyboard.press("Enter")
    expect(page.locator("mapping-editor [role=listbox]")).to_be_hidden()
    keyboard.press("Enter")
    keyboard.type("ScheduledStationAE")
    expect(options.first).to_contain_text("ScheduledStationAETitle")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    keyboard.type(' = ["OBR-2')
    expect(options.nth(2)).to_contain_text("OBR-21")
    keyboard.press("ArrowUp")
    keyboard.press("Escape")
    expect(page.locator("mapping-editor [role=listbox]")).to_be_hidden()
    keyboard.type('1"]')
    typed = page.input_value("#text")
    assert typed.endswith('[step]\nScheduledStationAETitle = ["OBR-21"]')
    keyboard.press("Tab")
    assert screen.focused() == "check"
    keyboard.press("Enter")
    expect(page.locator("#mapping_draft li.wrong").first).to_contain_text("name")
    assert screen.focused() == "check"
    assert page.input_value("#text") == typed
    looking.is_quiet(screen)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("path", ["/mappings", "/mappings/site", "/mappings/site/history", "/mappings/site/edit"])
def test_it_fits_and_everybody_can_use_it(web: str, browser: Browser, path: str, language: str) -> None:
    screen = opened(browser, web, path, language=language)
    looking.fits(screen)
    looking.is_accessible(screen)
    looking.is_quiet(screen)
    screen.page.close()


def test_without_script(web: str, browser: Browser) -> None:
    page = opened(browser, web, "/mappings/site/edit", script=False).page
    page.fill("#text", SITE + "TQQ9 = 1.5\n")
    page.click("#check")
    expect(page.locator("#mapping_draft li.wrong")).to_contain_text("Line 8")
    expect(page.locator("#mapping_draft li.wrong code")).to_have_text("TQQ9 = 1.5")
    page.fill("#text", SITE + 'TQQ9 = "CR"\n')
    page.click("#changes")
    expect(page.locator("#would-change")).to_contain_text("accepted, refused now")
    page.fill("#reason", "TQQ9 is a CR")
    page.click("#publish")
    expect(page.locator("#note")).to_have_text("site: version 2 is in force.")
    page.goto(f"{web}/mappings/site/history")
    page.click("#back-1-open")
    page.fill("#back-1-reason", "it was wrong")
    page.click("#back-1-do")
    expect(page.locator("#note")).to_have_text("site: version 1 is in force again, as 3.")
