"""Performed steps in a browser: linked by mouse, set aside by keys alone, ended without script."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from support.mpps.performed import unscheduled
from support.mpps.recorded import begun
from support.orders.intake import take
from support.service.rest import TOKEN
from support.service.site import order
from support.web import looking
from support.web.browser import Browser

from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}
WHY = "a test of the device"


@pytest.fixture(scope="module", autouse=True)
def performed(database: Database) -> None:
    """Three performed steps of one patient that no order is known for."""
    take(database, order(1).encode())
    for number in range(1, 4):
        assert begun(database, f"2.999.5.{number}", unscheduled(f"2.999.8.{number}")) == 0


def test_a_step_that_waits_is_linked_by_mouse(web: str, browser: Browser) -> None:
    screen = browser.open(f"{web}/performed?attention=waiting", KNOWN)
    page = screen.page
    assert page.locator("#performed tbody tr").count() == 3
    page.click("#step-1")
    page.locator("#performed_step").wait_for()
    looking.fits(screen)
    looking.is_accessible(screen)
    page.click("#link")
    expect(page.locator("#note")).to_contain_text("belongs to the scheduled step")
    page.click("#performed_step >> text=Exam 1")
    page.locator("#story").wait_for()
    looking.is_quiet(screen)


def test_a_step_is_set_aside_by_keys_alone(web: str, browser: Browser) -> None:
    screen = browser.open(f"{web}/performed/2", KNOWN)
    keys = screen.page.keyboard
    for _ in range(60):
        keys.press("Tab")
        if screen.focused() == "aside-open":
            break
    keys.press("Enter")
    expect(screen.page.locator("dialog:modal")).to_be_visible()
    screen.page.locator("#aside-reason").focus()
    keys.type(WHY)
    keys.press("Enter")
    expect(screen.page.locator("#note")).to_contain_text("set aside")
    looking.is_quiet(screen)


def test_it_works_without_script(web: str, browser: Browser) -> None:
    page = browser.open(f"{web}/performed", KNOWN, script=False).page
    page.click("#step-3")
    page.click("#end-open")
    page.select_option("#end-status", "DISCONTINUED")
    page.fill("#end-reason", WHY)
    page.click("#end-do")
    expect(page.locator("#performed_step")).to_contain_text("broken off")
