"""A RIS that names its stations in a field of its own, from the first message to the list of the modality, by pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.peers.tools import run
from support.service import program
from support.service.site import Site
from support.web.browser import Browser

TOKEN = "a-token-of-the-tests-0123456789"
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
MESSAGE = """MSH|^~\\&|NEWRIS|SITE|BROKER|RAD|20300312080000||ORM^O01|{0}|P|2.3
PID|||QZ{0}^^^HOSP||Doe^Jane||19700203|F
ORC|NW|P{0}|||||^^^20300312100000
OBR|1|P{0}||CHEST^Chest||||||||||||||A{0}|||{1}|||CT
"""
MAPPED = """
[step]
ScheduledStationAETitle = ["OBR-21.1"]
[values.ScheduledStationAETitle]
"room 1" = "CT01"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site", site=MODALITY, config={"web": {"port": 0, "admin_token": TOKEN}}) as running:
        yield running


def worklist(site: Site) -> str:
    """What the modality is told that asks for its own exams."""
    keys = ("-k", "AccessionNumber", "-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT01")
    done = run("findscu", "-W", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom), *keys)
    assert done.returncode == 0
    return str(done.stdout)


def test_a_wrong_station_is_found_mended_and_on_the_list(site: Site, browser: Browser) -> None:
    file = site.folder / "order.hl7"
    file.write_text(MESSAGE.format(1, "room 1"), encoding="utf-8")
    assert program.run("hl7", "send", f"127.0.0.1:{site.hl7}", file, folder=site.folder).returncode == 0
    assert "A1" not in worklist(site)  # it came without the station: it stands on no list of a device

    screen = browser.open(f"{site.web}/messages", {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"})
    page = screen.page
    page.fill("#number", "A1")
    page.press("#number", "Enter")
    page.wait_for_url("**/messages?exam=1")
    page.click("#message-in-1")
    expect(page.locator("tr", has_text=re.compile(r"^OBR-21 "))).to_have_class("unused")

    page.goto(f"{site.web}/mappings/add")
    head = 'name = "newris"\nextends = "ihe"\n[senders]\nmatch = [{ application = "NEWRIS" }]\n'
    page.fill("#text", head + MAPPED)
    page.click("#changes")
    would = page.locator("#would-change")
    expect(would).to_contain_text("other worklist entries")
    expect(would.locator("li", has_text="ScheduledStationAETitle")).to_contain_text("CT01")
    page.fill("#reason", "the new RIS has stations in OBR-21")
    page.click("#publish")
    expect(page.locator("#note")).to_have_text("newris: version 1 is in force.")

    page.goto(f"{site.web}/messages/1/try")
    expect(page.locator("#tried")).to_contain_text("CT01")
    page.click("#apply-open")
    page.fill("#reason", "the mapping was corrected")
    page.click("#apply-do")
    expect(page.locator("#note")).to_have_text("It was processed again, and applied.")
    assert "A1" in worklist(site)
