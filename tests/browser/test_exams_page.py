"""The pages of exams in a browser: found by mouse and by keys, without script, on a telephone, in French."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect
from support.orders.documents import order
from support.service.site import Site
from support.web import looking
from support.web.browser import Browser, Screen, chromium

TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with 60 exams; that of number 7 is of Wałęsa."""
    with Site(tmp_path_factory.mktemp("site"), config={"web": {"admin_token": TOKEN}}) as running:
        with httpx.Client(base_url=running.web, headers=KNOWN) as http:
            orders = [order(number) for number in range(1, 61)]
            orders[6]["patient"]["PatientName"] = "Wałęsa^Lech=山田^太郎"
            assert http.post("/api/v1/orders/batch", json={"orders": orders}).status_code == 200
        yield running


class ExamsPage:
    """The page as a person uses it."""

    def __init__(self, browser: Browser, site: Site, path: str = "/exams", *, script: bool = True, **headers: str):
        self.screen: Screen = browser.open(f"{site.web}{path}", {**KNOWN, **headers}, script=script)
        self.page = self.screen.page

    def rows(self) -> list[str]:
        return [row.inner_text() for row in self.page.locator("#exams tbody tr").all()]

    def settled(self, count: int) -> None:
        """Wait until so many rows are shown."""
        self.page.locator("#exams:not([aria-busy])").wait_for()
        self.page.wait_for_function("n => document.querySelectorAll('#exams tbody tr').length === n", arg=count)


def test_a_person_finds_an_exam_and_goes_back(site: Site, browser: Browser) -> None:
    exams = ExamsPage(browser, site)
    seen: list[str] = []
    exams.page.on("request", lambda request: seen.append(request.url))
    assert len(exams.rows()) == 50
    exams.page.locator("#filter-name").fill("walesa")
    exams.settled(1)
    assert "Wałęsa, Lech (山田, 太郎)" in exams.rows()[0]
    exams.page.locator("#exams tbody a").click()
    exams.page.locator("#story").wait_for()
    assert "The order came." in exams.page.locator("#story").inner_text()
    looking.is_quiet(exams.screen)
    exams.page.go_back()
    exams.settled(1)
    assert exams.page.locator("#filter-name").input_value() == "walesa"
    exams.page.locator("#filter-none").click()
    exams.settled(50)
    exams.page.locator("#page-next").click()
    exams.settled(10)
    assert not [url for url in seen if "walesa" in url.lower()]
    looking.is_quiet(exams.screen)


def test_by_keys_alone(site: Site, browser: Browser) -> None:
    exams = ExamsPage(browser, site)
    for _ in range(40):
        exams.page.keyboard.press("Tab")
        if exams.screen.focused() == "filter-name":
            break
    exams.page.keyboard.type("lech wal")
    exams.settled(1)
    assert exams.screen.focused() == "filter-name"
    for _ in range(30):
        exams.page.keyboard.press("Tab")
        if exams.screen.focused().startswith("exam-"):
            break
    exams.page.keyboard.press("Enter")
    exams.page.locator("#story").wait_for()
    looking.is_quiet(exams.screen)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_it_fits_and_everybody_can_use_it(site: Site, browser: Browser, language: str) -> None:
    exams = ExamsPage(browser, site, "/exams?day=x", **{"Accept-Language": language})
    one = exams.page.locator("#exams tbody a").first.get_attribute("href")
    for path in ("/exams?day=x", one, f"{one}/why?device=CT01"):
        exams.page.goto(f"{site.web}{path}")
        looking.fits(exams.screen)
        looking.is_accessible(exams.screen)
    looking.is_quiet(exams.screen)


def test_without_script(site: Site, browser: Browser) -> None:
    exams = ExamsPage(browser, site, script=False)
    exams.page.locator("#filter-name").fill("walesa")
    exams.page.locator("#exams form button").click()
    exams.page.wait_for_url("**/exams?find=**")
    assert len(exams.rows()) == 1
    exams.page.locator("#exams tbody a").click()
    exams.page.locator("#why").click()
    exams.page.locator("#device").fill("CT01")
    exams.page.locator("#ask").click()
    expect(exams.page.locator("tbody tr").nth(3)).to_be_visible()


def test_seven_tabs_at_once(site: Site, browser: Browser) -> None:
    tabs = [ExamsPage(browser, site) for _ in range(7)]
    assert all(len(tab.rows()) == 50 for tab in tabs)
    for tab in tabs:
        looking.is_quiet(tab.screen)
        tab.page.close()
