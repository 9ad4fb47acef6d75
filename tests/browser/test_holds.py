"""Held work in a real browser: pick rows, pick all, give up with a reason; by mouse and by keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from support.service.rest import TOKEN
from support.web import looking
from support.web.browser import PHONE, Browser, Screen
from support.web.held import hold_jobs, states

from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def screen(database: Database, web: str, browser: Browser) -> Iterator[Screen]:
    hold_jobs(database, 60)
    opened = browser.open(f"{web}/holds", KNOWN)
    yield opened
    looking.is_quiet(opened)
    opened.page.close()


def test_rows_are_picked_and_tried_again(screen: Screen, database: Database) -> None:
    page = screen.page
    page.locator("[name=row] >> nth=0").check()
    page.locator("[name=row] >> nth=1").check()
    expect(page.locator(".picked")).to_have_text("Picked: 2")
    looking.is_accessible(screen)
    page.click("#release")
    expect(page.locator("#note")).to_have_text("2 jobs are tried again.")
    expect(page.locator(".found b")).to_have_text("58")
    assert states(database)[:3] == ["ready", "ready", "held"]


def test_all_of_the_page_or_all_that_match(screen: Screen) -> None:
    page = screen.page
    page.check("#row-all")
    expect(page.locator(".picked")).to_have_text("Picked: 50")
    page.check("#row-every")
    expect(page.locator(".picked")).to_have_text("Picked: 60")
    page.click("#release")
    expect(page.locator("#note")).to_have_text("60 jobs are tried again.")
    expect(page.locator("#held")).to_contain_text("Nothing is held")


def test_work_is_given_up_by_keys_and_a_slip_keeps_what_was_picked(screen: Screen, database: Database) -> None:
    page = screen.page
    page.focus("[name=row] >> nth=0")
    page.keyboard.press("Space")
    page.focus("#discard-open")
    page.keyboard.press("Enter")
    page.focus("#reason")
    page.keyboard.type("x")
    page.keyboard.press("Enter")
    expect(page.locator("#reason-wrong")).to_be_visible()
    assert page.locator("#discard").evaluate("(dialog) => dialog.matches(':modal')")
    looking.is_accessible(screen)
    page.fill("#reason", "sent by hand")
    page.press("#reason", "Enter")
    expect(page.locator("#note")).to_have_text("1 job was given up.")
    assert states(database).count("discarded") == 1
    assert screen.focused() == "discard-open"


def test_a_telephone_shows_cards_and_the_bar(screen: Screen) -> None:
    looking.fits(screen)
    screen.resize(PHONE)
    screen.page.check("[name=row] >> nth=0")
    expect(screen.page.locator(".bulk")).to_be_in_viewport()
    looking.is_accessible(screen)


def test_work_is_tried_again_without_script(database: Database, web: str, browser: Browser) -> None:
    hold_jobs(database, 3)
    page = browser.open(f"{web}/holds", KNOWN, script=False).page
    page.locator("[name=row] >> nth=0").check()
    page.click("#release")
    assert page.inner_text("#note") == "1 job is tried again."
    page.locator("[name=row] >> nth=0").check()
    page.click("#discard-open")
    page.fill("#reason", "sent by hand")
    page.click("#discard-do")
    assert page.inner_text("#note") == "1 job was given up."
    assert states(database) == ["ready", "discarded", "held"]
    page.close()
