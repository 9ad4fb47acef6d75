"""Objects that wait, in a real browser: looked at, routed, discarded, sent; by mouse, by keys, without script."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect
from support.service.rest import TOKEN
from support.web import looking
from support.web.browser import Browser, Screen
from support.web.held import hold_objects, object_states

from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}
SITE = {
    "node": [{"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104,
              "roles": ["destination"]}],
    "rule": [{"name": "CT to the archive", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}],
    "reason": "first rules",
}  # fmt: skip


@pytest.fixture
def screen(database: Database, web: str, browser: Browser) -> Iterator[Screen]:
    hold_objects(database, 3)
    assert httpx.post(f"{web}/api/v1/site", json=SITE, headers=KNOWN).status_code == 201
    opened = browser.open(f"{web}/holds/objects", KNOWN)
    yield opened
    looking.is_quiet(opened)
    opened.page.close()


def test_a_study_is_routed_by_mouse(screen: Screen, database: Database) -> None:
    page = screen.page
    page.locator("tbody a >> nth=0").click()
    expect(page.locator("main")).to_contain_text("Send it to pacs.")
    looking.is_accessible(screen)
    looking.fits(screen)
    page.go_back()
    page.check("#row-all")
    page.click("#decide-open")
    page.fill("#reason", "the rule is mended")
    looking.is_accessible(screen)
    page.click("#route")
    expect(page.locator("#note")).to_have_text("3 objects are on their way.")
    expect(page.locator("#objects")).to_contain_text("No object waits")
    assert object_states(database) == ["routed"] * 3


def test_by_keys_and_a_slip_keeps_what_was_picked(screen: Screen, database: Database) -> None:
    page = screen.page
    page.focus("[name=row] >> nth=1")
    page.keyboard.press("Space")
    page.focus("#decide-open")
    page.keyboard.press("Enter")
    page.focus("#discard")
    page.keyboard.press("Enter")
    expect(page.locator("#reason-wrong")).to_be_visible()
    page.fill("#reason", "a phantom")
    page.focus("#discard")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("1 object was discarded.")
    assert object_states(database) == ["held", "discarded", "held"]


def test_without_script(screen: Screen, database: Database, web: str, browser: Browser) -> None:
    page = browser.open(f"{web}/holds/objects", KNOWN, script=False).page
    page.locator("[name=row] >> nth=0").check()
    page.click("#decide-open")
    page.fill("#reason", "asked for by the ward")
    page.select_option("#to", "pacs")
    page.click("#send")
    assert page.inner_text("#note") == "1 object is on its way."
    assert object_states(database) == ["routed", "held", "held"]
    page.close()
