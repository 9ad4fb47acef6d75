"""Journeys with an exam, at the pages of a real broker, with foreign devices: a cancel that came too late, and an exam
that is explained and put right. DCMTK's findscu asks for worklists, pynetdicom performs, the RIS speaks MLLP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from support.mpps.performed import creation, final, item, modality
from support.peers.tools import run
from support.service.site import Mllp, Site, order
from support.web import looking
from support.web.browser import Browser, Screen

TOKEN = "a-token-of-the-tests-0123456789"
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
CLOCK = r"\d\d:\d\d"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = {"web": {"port": 0, "admin_token": TOKEN}}
    with Site(tmp_path_factory.mktemp("journeys") / "site", site=MODALITY, config=config) as running:
        yield running


def said(site: Site, message: str) -> str:
    """A message of the RIS; MSA-1 of the answer."""
    with Mllp(site.hl7) as ris:
        return ris.exchange(message)["MSA"][0][1]


def listed(site: Site) -> list[str]:
    """The accession numbers that CT01 is told when it asks for its own exams."""
    keys = ("-k", "AccessionNumber", "-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT01")
    done = run("findscu", "-W", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom), *keys)
    assert done.returncode == 0
    return re.findall(r"\(0008,0050\) SH \[(\S+?) *\]", done.stdout)


def found(browser: Browser, site: Site, number: str) -> tuple[Screen, Page]:
    """A person begins at the start page, types an accession number, and opens the exam."""
    screen = browser.open(site.web, {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"})
    page = screen.page
    page.click("nav.pages >> text=Exams")
    page.fill("#filter-number", number)
    with page.expect_navigation():  # what is pressed on the old page is lost
        page.press("#filter-number", "Enter")
    page.locator("#exams tbody tr", has_text=number).get_by_role("link").first.click()
    page.locator("#story").wait_for()
    return screen, page


def test_a_cancel_that_came_too_late(site: Site, browser: Browser) -> None:
    """The RIS called an exam off that had been done. It stays done, and the page says so, with the message."""
    assert said(site, order(1)) == "AA"
    assert listed(site) == ["A1"]
    with modality(site.dicom) as device:
        assert device.create(creation(item(1)), "2.999.8.1").Status == 0
        assert device.change(final(), "2.999.8.1").Status == 0
    assert said(site, order(1, control="CA", status="CA")) == "AA"
    assert listed(site) == []  # it is done

    screen, page = found(browser, site, "A1")
    expect(page.locator("section[aria-labelledby=steps-title]")).to_contain_text("completed")
    late = page.locator("#story li", has_text="has no effect")
    expect(late).to_have_count(1)
    expect(late).to_contain_text(re.compile(CLOCK))
    expect(page.locator("#story")).not_to_contain_text("was called off.")
    assert page.locator("#calloff-open").count() == 0  # nobody can call it off any more
    looking.is_accessible(screen)
    late.get_by_role("link").click()
    expect(page.locator("#raw")).to_contain_text("ORC|CA|PL1^RIS")
    expect(page.locator("#message")).to_contain_text("AA")
    page.go_back()
    page.locator("#story").wait_for()
    looking.is_quiet(screen)


def test_an_exam_is_explained_and_put_right(site: Site, browser: Browser) -> None:
    """CT01 does not show an exam: a person reads why, moves it, and CT01 shows it."""
    assert said(site, order(2, station="MR01")) == "AA"
    assert "A2" not in listed(site)

    screen, page = found(browser, site, "A2")
    exam = page.url
    page.click("#why")
    page.fill("#device", "ct1")
    page.click("#ask")
    why = page.locator("section[aria-labelledby=verdict-title]")
    expect(why).to_contain_text("not shown")
    expect(why).to_contain_text("the step has station MR01, and the device asks for CT01")
    expect(page.locator("#why tr", has_text="station").first).to_contain_text("fails")
    looking.is_accessible(screen)

    page.goto(exam)
    page.click("#move-open")
    page.fill("#move-station", "CT01")
    page.fill("#move-reason", "it is a CT, the RIS said MR01")
    page.click("#move-do")
    expect(page.locator("#note")).to_contain_text("The step was moved.")
    assert "A2" in listed(site)
    page.reload()
    expect(page.locator("#story")).to_contain_text("it is a CT, the RIS said MR01")
    shown = page.locator("section[aria-labelledby=shown-title] p", has_text="ct1")
    expect(shown).to_contain_text("shown")
    expect(shown).not_to_contain_text("not shown")
    looking.is_quiet(screen)
