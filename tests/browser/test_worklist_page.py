"""The pages of worklists in a browser: what a device sees by mouse, by keys, without script."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect
from support.orders.documents import order
from support.service.site import Site
from support.web import looking
from support.web.browser import Browser, Screen

TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
DAY = "/worklist?day=2030-03-12"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with the device ct1, two exams for it, and one without a station."""
    config = {"web": {"port": 0, "admin_token": TOKEN}}
    with Site(tmp_path_factory.mktemp("worklist") / "site", site=MODALITY, config=config) as running:
        with httpx.Client(base_url=running.web, headers=KNOWN) as http:
            orders = [order(1), order(2), order(3, step={"ScheduledStationAETitle": []})]
            assert http.post("/api/v1/orders/batch", json={"orders": orders}).status_code == 200
        yield running


def opened(browser: Browser, site: Site, path: str, *, script: bool = True, **headers: str) -> Screen:
    return browser.open(f"{site.web}{path}", {**KNOWN, **headers}, script=script)


def test_what_a_device_sees_by_mouse(site: Site, browser: Browser) -> None:
    screen = opened(browser, site, DAY)
    page = screen.page
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.click("#day-before")
    expect(page.locator("#day-title")).to_have_text("Planned on 2030-03-11")
    page.click("#day-after")
    expect(page.locator("#board tbody a[href='/exams/1']")).to_have_count(1)
    page.click("text=What ct1 sees")
    expect(page.locator("#now-title")).to_have_text("2 exams now")
    page.fill("#patient_name", "nobody*")
    page.click("#ask")
    expect(page.locator("#now-title")).to_have_text("0 exams now")
    expect(page.locator("#patient_name")).to_have_value("nobody*")
    page.fill("#missing", "A3")
    page.click("#explain")
    expect(page.locator("#why")).to_contain_text("the step has station UNASSIGNED")
    page.goto(f"{site.web}/worklist")
    page.click("text=Nobody will see")
    expect(page.locator("#unseen tbody tr")).to_have_count(1)
    page.select_option("#filter-reason", "past")
    expect(page.locator("#unseen tbody tr")).to_have_count(0)
    assert not [url for url in seen if "nobody*" in url or "A3" in url]
    looking.is_quiet(screen)


def test_by_keys_alone(site: Site, browser: Browser) -> None:
    screen = opened(browser, site, DAY)
    _tab_to(screen, "sees-1")
    screen.page.keyboard.press("Enter")
    expect(screen.page.locator("#now-title")).to_have_text("2 exams now")
    _tab_to(screen, "missing")
    screen.page.keyboard.type("A3")
    screen.page.keyboard.press("Enter")
    expect(screen.page.locator("#why")).to_contain_text("not shown")
    looking.is_quiet(screen)


def _tab_to(screen: Screen, wanted: str) -> None:
    for _ in range(60):
        screen.page.keyboard.press("Tab")
        if screen.focused() == wanted:
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


def test_without_script(site: Site, browser: Browser) -> None:
    page = opened(browser, site, DAY, script=False).page
    page.fill("#day", "2030-03-11")
    page.click("#show")
    expect(page.locator("#day-title")).to_have_text("Planned on 2030-03-11")
    page.click("text=What ct1 sees")
    page.fill("#accession", "A1")
    page.click("#ask")
    expect(page.locator("#now-title")).to_have_text("1 exam now")
    page.click("summary:has-text('attributes')")
    expect(page.locator("#sight details dl")).to_contain_text("StudyInstanceUID")
    page.goto(f"{site.web}/worklist/unseen?reason=unassigned")
    expect(page.locator("#unseen tbody tr")).to_have_count(1)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_they_fit_and_everybody_can_use_them(site: Site, browser: Browser, language: str) -> None:
    screen = opened(browser, site, DAY, **{"Accept-Language": language})
    for path in (DAY, "/worklist/device?name=ct1", "/worklist/device?name=US09", "/worklist/unseen"):
        screen.page.goto(f"{site.web}{path}")
        looking.fits(screen)
        if language == "en":
            looking.is_accessible(screen)
    looking.is_quiet(screen)
