"""The page of the audit trail in a real browser: filters, pages, export; by mouse, by keys, without script."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.orders.documents import order
from support.service.site import Site
from support.web import looking
from support.web.browser import Browser, Screen

TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
ORDERS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker whose orders a program has placed and looked at."""
    with Site(tmp_path_factory.mktemp("site"), config={"web": {"admin_token": TOKEN}}) as running:
        with httpx.Client(base_url=running.web, headers=KNOWN) as http:
            batch: dict[str, Any] = {"orders": [order(number) for number in range(1, ORDERS + 1)]}
            assert http.post("/api/v1/orders/batch", json=batch).status_code == 200
            assert http.get("/api/v1/orders/3").status_code == 200
            assert http.post("/api/v1/orders/search", json={"PatientID": "QZPAT3"}).status_code == 200
            for number in range(4, 10):
                answer = http.post("/api/v1/tokens", json={"name": f"ris-{number}", "role": "viewer"})
                reason = "<img src=x onerror=alert(1)>"
                assert answer.status_code == 201
                number = answer.json()["id"]
                assert http.post(f"/api/v1/tokens/{number}/revoke", json={"reason": reason}).status_code == 204
        yield running


class AuditPage:
    """The page as a person uses it."""

    def __init__(self, browser: Browser, site: Site, query: str = "", *, script: bool = True, **headers: str) -> None:
        self.screen: Screen = browser.open(f"{site.web}/audit{query}", {**KNOWN, **headers}, script=script)
        self.page = self.screen.page

    def rows(self) -> list[list[str]]:
        """The texts of the cells."""
        return [row.locator("th, td").all_inner_texts() for row in self.page.locator("#trail tbody tr").all()]

    def filter(self, name: str, value: str) -> None:
        """Type or choose a filter and wait for its rows."""
        place = self.page.locator(f"#filter-{name}")
        with self.page.expect_response(lambda answer: f"{name}=" in answer.url):
            if place.evaluate("it => it.tagName") == "SELECT":
                place.select_option(value)
            else:
                place.fill(value)
        self.settled()

    def settled(self) -> None:
        self.page.locator("#trail:not([aria-busy])").wait_for()


def test_a_person_finds_what_was_done(site: Site, browser: Browser) -> None:
    audit = AuditPage(browser, site)
    assert audit.page.locator("nav [aria-current=page]").inner_text() == "Audit"
    audit.filter("object", "order:3")
    assert [row[2:4] for row in audit.rows()] == [["viewed", "order 3 patient 3"], ["created", "order 3 patient 3"]]
    assert all(row[1].startswith("api 127.0.0.1") for row in audit.rows())
    audit.page.locator("#trail tbody tr").first.locator("[id^=patient-]").click()
    audit.page.wait_for_url("**/audit?patient=3")
    audit.settled()
    assert [row[2] for row in audit.rows()] == ["viewed", "created"]
    audit.page.reload()
    assert [row[2] for row in audit.rows()] == ["list viewed", "viewed", "created"]
    audit.page.locator("#filter-none").click()
    audit.page.wait_for_url("**/audit")
    audit.filter("action", "token.revoked")
    assert audit.page.locator("#filter-action option:checked").inner_text() == "API token: revoked"
    assert len(audit.rows()) == 6
    assert "<img src=x onerror=alert(1)>" in audit.rows()[0][4]
    assert audit.page.locator("img").count() == 0
    looking.is_quiet(audit.screen)


def test_pages_lead_on_and_back(site: Site, browser: Browser) -> None:
    audit = AuditPage(browser, site, "?action=order.created")
    assert len(audit.rows()) == 50
    audit.page.locator("#page-next").click()
    audit.page.wait_for_url("**after=**")
    audit.settled()
    assert len(audit.rows()) == ORDERS - 50
    audit.page.locator("#page-previous").click()
    audit.page.locator("#trail tbody tr:nth-child(50)").wait_for()
    looking.is_quiet(audit.screen)


def test_a_patient_is_found_by_an_identifier_that_stands_in_no_address(site: Site, browser: Browser) -> None:
    audit = AuditPage(browser, site)
    seen: list[str] = []
    audit.page.on("request", lambda request: seen.append(request.url))
    audit.page.locator("#by-patient summary").click()
    audit.page.locator("#PatientID").fill("QZPAT7")
    audit.page.locator("#find-patient").click()
    audit.page.wait_for_url("**/audit?patient=7")
    assert [row[2] for row in audit.rows()] == ["created"]
    audit.page.locator("#by-patient summary").click()
    audit.page.locator("#PatientID").fill("nobody at all")
    audit.page.locator("#find-patient").click()
    audit.page.locator("#note .note").wait_for()
    assert audit.page.locator("#note").inner_text() == "No patient here has this identifier."
    assert not [url for url in seen if "QZPAT" in url or "nobody" in url]
    looking.is_quiet(audit.screen)


def test_by_keys_alone(site: Site, browser: Browser) -> None:
    audit = AuditPage(browser, site)
    keyboard = audit.page.keyboard
    for _ in range(40):
        keyboard.press("Tab")
        if audit.screen.focused() == "filter-object":
            break
    keyboard.type("order:3")
    audit.page.wait_for_url("**object=order**")
    audit.settled()
    assert len(audit.rows()) == 2
    assert audit.screen.focused() == "filter-object"
    for _ in range(30):
        keyboard.press("Tab")
        if audit.screen.focused().startswith("action-"):
            break
    keyboard.press("Enter")
    audit.page.wait_for_url("**/audit?action=order.viewed")
    looking.is_quiet(audit.screen)


def test_an_export_is_a_file(site: Site, browser: Browser, tmp_path: Path) -> None:
    audit = AuditPage(browser, site, "?action=token.revoked")
    with audit.page.expect_download() as download:
        audit.page.locator("#export-csv").click()
    file = tmp_path / "audit.csv"
    download.value.save_as(file)
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.reader(opened))
    assert len(rows) == 7
    assert {row[3] for row in rows[1:]} == {"token.revoked"}


def test_without_script(site: Site, browser: Browser) -> None:
    audit = AuditPage(browser, site, script=False)
    audit.page.locator("#filter-object").fill("order:3")
    audit.page.locator("#trail form button").click()
    audit.page.wait_for_url("**object=order**")
    assert [row[2] for row in audit.rows()] == ["viewed", "created"]
    audit.page.locator("[id^=patient-]").first.click()
    audit.page.wait_for_url("**/audit?patient=3")
