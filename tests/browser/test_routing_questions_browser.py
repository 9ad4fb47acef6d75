"""What support staff ask about routing at three in the morning, each answered in two clicks at most.

The numbers are those of the list of questions: 9 which rule sent a study where, and why not to another node, 15 who
changed the rules, what, when, 16 put the rules of before back. By one command:
`tests/system/test_routing_questions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.service.site import Mllp, Site, destination, order
from support.web.at_night import TOKEN, AtNight, told
from support.web.browser import Browser
from system.test_routing_questions import RULES, WITHOUT_CAD

CLOCK = re.compile(r"\d\d:\d\d")
CONFIG = {"web": {"port": 0, "admin_token": TOKEN}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A thick CT of an ordered exam."""
    nodes = destination("pacs", 9) + destination("cad", 9)
    with Site(tmp_path_factory.mktemp("night") / "site", site=nodes + RULES, config=CONFIG) as running:
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(4711))["MSA"][0][1] == "AA"
        thick = ct_slice(2_000, StudyInstanceUID="2.999.7.4711", SliceThickness="8")
        with RawScu(running.dicom) as modality:
            modality.associate([(thick.sop_class, thick.transfer_syntax)], calling=b"CT01")
            assert modality.store(thick) == 0
        yield running


@pytest.fixture
def night(browser: Browser, site: Site) -> Iterator[AtNight]:
    person = AtNight(browser, site)
    yield person
    person.page.close()


def test_9_which_rule_sent_the_study_where_and_why_not_to_cad(night: AtNight) -> None:
    page = night.page
    page.fill("#find", "A4711")
    page.keyboard.press("Enter")
    night.click("main a[href^='/exams/']")
    night.click("#images")
    expect(page.locator("#rule_explained")).to_contain_text("pacs")
    group = page.locator("section.tried")
    expect(group).to_contain_text("1 image came from CT01.")
    expect(group).to_contain_text(CLOCK)
    expect(group).to_contain_text("by the rules of version 1")
    sent, not_sent = (group.locator("h3", has_text=name) for name in ("CT to the PACS", "thin slices to CAD"))
    expect(sent).to_contain_text("true")
    expect(not_sent).to_contain_text("false")
    expect(group.locator("li.leaf", has_text="SliceThickness")).to_have_text(
        re.compile(r"false\s+tag.SliceThickness is less than 2\s+saw 8.0")
    )


def test_15_who_changed_the_rules_what_and_when(site: Site, night: AtNight) -> None:
    changed(site)
    night.page.reload()
    night.click("nav.pages >> text=Rules")
    lead = night.page.locator("#rules .lead")
    for what in ("Anna", "CAD is on loan", CLOCK):
        expect(lead).to_contain_text(what)
    night.click("main nav >> text=History")
    newest = night.page.locator("#rule_history li").first
    for what in ("Anna", "CAD is on loan", CLOCK, "thin slices to CAD"):
        expect(newest).to_contain_text(what)


def test_16_put_the_rules_of_before_back(site: Site, night: AtNight) -> None:
    """Two clicks and a reason: the rules of before are in force for the next object."""
    changed(site)
    night.page.reload()
    night.click("nav.pages >> text=Rules")
    night.click("#undo-open")
    night.page.fill("#undo-reason", "undone at night")
    night.page.keyboard.press("Enter")
    expect(night.page.locator("#rules")).to_contain_text("thin slices to CAD")
    expect(night.page.locator("#rules .lead")).to_contain_text("undone at night")
    assert "thin slices to CAD" in told(site, "rules", "list")


def changed(site: Site) -> None:
    """Anna takes CAD out of the rules."""
    for text, why in ((RULES, "as it was"), (WITHOUT_CAD, "CAD is on loan")):
        file = site.folder / "new.toml"
        file.write_text(text, encoding="utf-8")
        told(site, "rules", "import", str(file), "--reason", why, "--author", "Anna")
