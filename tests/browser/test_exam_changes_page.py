"""Exams changed by hand in a browser, of a real broker: by mouse, by keys, without script; devices ask (findscu)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from support.orders.documents import order
from support.peers.tools import run
from support.service.site import Mllp, Site
from support.service.site import order as hl7_order
from support.web import looking
from support.web.browser import Browser, Screen

TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}
WHY = "the device is out of order"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with some orders."""
    with Site(tmp_path_factory.mktemp("site"), config={"web": {"admin_token": TOKEN}}) as running:
        yield running


class Person:
    """A person at the pages, and what REST says meanwhile."""

    def __init__(self, browser: Browser, site: Site, path: str, *, script: bool = True) -> None:
        self.site = site
        self.screen: Screen = browser.open(f"{site.web}{path}", KNOWN, script=script)
        self.page: Page = self.screen.page

    def step(self, row: int) -> dict[str, Any]:
        """The first step of an exam."""
        with httpx.Client(base_url=self.site.web, headers=KNOWN) as http:
            found: dict[str, Any] = http.get(f"/api/v1/orders/{row}").json()["procedures"][0]["steps"][0]
            return found

    def tab_to(self, name: str, most: int = 90) -> None:
        """Press Tab until a control has the focus."""
        for _ in range(most):
            if self.screen.focused() == name:
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{name} is not reached")


def placed(site: Site, number: int) -> int:
    """The row of a new exam."""
    with httpx.Client(base_url=site.web, headers=KNOWN) as http:
        answer = http.post("/api/v1/orders", json=order(number))
        assert answer.status_code == 201, answer.text
        return int(answer.json()["order"]["id"])


def listed(site: Site, name: str) -> list[str]:
    """The names on the worklist that match one, as DCMTK's findscu prints them."""
    keys = ("-k", f"0010,0010={name}", "-k", "0040,0100[0].0040,0002")
    told = run("findscu", "-W", "-aec", "BROKER", *keys, "127.0.0.1", str(site.dicom)).stdout
    return re.findall(r"\(0010,0010\) PN \[(.*?)\]", told)


def test_an_emergency_is_on_the_worklist_and_merged_once_it_is_registered(site: Site, browser: Browser) -> None:
    person = Person(browser, site, "/exams")
    page = person.page
    page.click("#emergency")
    page.select_option("#modality", "CT")
    page.fill("#procedure", "CT polytrauma")
    page.fill("#age", "40")
    page.click("#save")
    page.locator("#story").wait_for()
    expect(page.locator("#note")).to_contain_text("on the worklist")
    emergency = page.url
    assert len(listed(site, "UNKNOWN*")) == 1
    with Mllp(site.hl7) as ris:
        assert ris.exchange(hl7_order(9001, name="Example^Anna"))["MSA"][0][1] == "AA"
    page.click("#merge")
    page.fill("#typed", "QZPAT9001")
    page.click("#look")
    page.locator("#others a").click()
    page.locator("#merge_pair").wait_for()
    looking.fits(person.screen)
    looking.is_accessible(person.screen)
    page.click("#unite-open")
    page.fill("#unite-reason", "the patient was registered")
    page.click("#unite-do")
    page.wait_for_url("**/exams?patient=*")
    assert page.locator("#exams tbody tr").count() == 2
    assert listed(site, "UNKNOWN*") == []
    assert len(listed(site, "Example^Anna")) == 2
    page.goto(emergency)
    expect(page.locator("#story")).to_contain_text("Two records of the patient became one.")
    looking.is_quiet(person.screen)


def test_an_exam_is_moved_called_off_and_opened_again_by_mouse(site: Site, browser: Browser) -> None:
    row = placed(site, 9101)
    person = Person(browser, site, f"/exams/{row}")
    page = person.page
    page.click("#move-open")
    page.fill("#move-station", "CT02")
    page.click("#move-do")  # without a reason: the browser asks for it
    assert person.screen.focused() == "move-reason"
    page.fill("#move-reason", "no")
    page.click("#move-do")
    expect(page.locator("#move-reason-wrong")).to_be_visible()
    assert page.input_value("#move-station") == "CT02"
    page.fill("#move-reason", WHY)
    page.click("#move-do")
    expect(page.locator("#note")).to_contain_text("The step was moved.")
    assert person.step(row)["ScheduledStationAETitle"] == ["CT02"]
    page.click("#calloff-open")
    page.fill("#calloff-reason", WHY)
    page.click("#calloff-do")
    expect(page.locator("#note")).to_contain_text("The exam was called off.")
    page.click("#reopen-open")
    page.fill("#reopen-reason", WHY)
    page.click("#reopen-do")
    expect(page.locator("#note")).to_contain_text("can begin again")
    assert person.step(row)["ScheduledProcedureStepStatus"] == "SCHEDULED"
    looking.is_quiet(person.screen)


def test_an_exam_is_changed_by_keys_alone(site: Site, browser: Browser) -> None:
    row = placed(site, 9201)
    person = Person(browser, site, f"/exams/{row}")
    keys = person.page.keyboard
    person.tab_to("calloff-open")
    keys.press("Enter")
    expect(person.page.locator("dialog:modal")).to_be_visible()
    keys.press("Escape")
    assert person.screen.focused() == "calloff-open"
    person.page.locator("#edit").focus()
    keys.press("Enter")
    person.page.locator("#exam_form").wait_for()
    person.tab_to("family")
    keys.press("Control+A")
    keys.type("Changed")
    person.tab_to("reason")
    keys.type(WHY)
    keys.press("Enter")
    person.page.locator("#story").wait_for()
    expect(person.page.locator("#who")).to_contain_text("Changed")
    looking.is_quiet(person.screen)


def test_it_works_without_script(site: Site, browser: Browser) -> None:
    person = Person(browser, site, "/exams/new", script=False)
    page = person.page
    typed = {"family": "Plain", "patient_id": "P9301", "procedure": "CT head", "modality": "CT", "station": "CT01"}
    for name, text in typed.items():
        page.fill(f"#{name}", text)
    page.fill("#date", "2030-03-12")
    page.click("#save")
    page.wait_for_url("**/exams/*")
    page.click("#move-open")
    page.fill("#move-station", "CT05")
    page.fill("#move-reason", WHY)
    page.click("#move-do")
    expect(page.locator("tbody").first).to_contain_text("CT05")
    page.click("#sheet")
    expect(page.locator("svg.barcode")).to_have_count(2)
    page.goto(f"{site.web}/exams/day?station=CT05&day=2030-03-12")
    assert page.locator("#exams_day tbody tr").count() == 1
    page.goto(f"{site.web}/exams/emergency")
    page.fill("#procedure", "CT polytrauma")
    page.click("#save")
    page.wait_for_url("**/exams/*")
    page.click("#merge")
    page.fill("#typed", "P9301")
    page.click("#look")
    page.locator("#others a").click()
    page.click("#turn")
    page.click("#turn")
    page.click("#unite-open")
    page.fill("#unite-reason", "the patient was registered")
    page.click("#unite-do")
    page.wait_for_url("**/exams?patient=*")


def test_all_of_a_day_is_found_and_printed_by_mouse(site: Site, browser: Browser) -> None:
    placed(site, 9401)
    person = Person(browser, site, "/exams")
    page = person.page
    page.click("#day")
    page.fill("#station", "CT01")
    page.fill("#day", "2030-03-12")
    page.click("#show")
    page.wait_for_url("**/exams/day?*")
    assert page.locator("#exams_day tbody tr").count() >= 1
    page.emulate_media(media="print")
    expect(page.locator("#show")).to_be_hidden()
    page.emulate_media(media="screen")
    looking.fits(person.screen)
    looking.is_quiet(person.screen)
