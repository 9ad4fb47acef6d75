"""The start page in a real browser: what it shows, that it is private, and that hostile names are inert."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import wait_until
from support.service.site import CANARIES, Mllp, Site, order
from support.web import looking
from support.web.browser import Browser, chromium

SITE = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[[node]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = 1
roles = ["destination"]
[[rule]]
name = "<img src=x onerror=alert(1)> CT to PACS"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["pacs"]
"""
TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker that has got an order, a refused message and an object for a PACS that is away."""
    with Site(tmp_path_factory.mktemp("site"), site=SITE, config={"web": {"admin_token": TOKEN}}) as running:
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
            assert ris.exchange(order(2).replace("OMI^O23^OMI_O23", "ZZZ^Z01"))["MSA"][0][1] == "AR"
        item = ct_slice(1024)
        with RawScu(running.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)])
            assert modality.store(item) == 0
        wait_until(lambda: running.rows("select failures from lane where failures > 0"), 20, "the PACS is found away")
        yield running


def test_it_shows_doors_nodes_queue_and_no_patient(site: Site, browser: Browser) -> None:
    screen = browser.open(site.web, KNOWN)
    page = screen.page
    assert page.locator("#glance .lead .pill").inner_text() == "All well"
    page.locator("#pulse.ok").wait_for()
    figures = {
        figure.locator(".name").inner_text(): figure.locator("b").inner_text()
        for figure in page.locator(".figures li").all()
    }
    assert figures["on the worklist"] == "1"
    assert figures["messages accepted"] == "1"
    assert figures["objects received"] == "1"
    assert figures["deliveries waiting"] == "1"
    listeners = page.locator("section:has(h2:text('Listeners')) tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in listeners] == ["DICOM (BROKER)", "HL7 (MLLP)", "Web"]
    pacs = page.locator("tr:has(th:text-is('pacs'))")
    assert pacs.locator(".pill").inner_text() == "not reachable"
    assert "connect-failed" in pacs.inner_text()
    assert page.locator("ol li").inner_text() == "<img src=x onerror=alert(1)> CT to PACS → pacs"
    assert page.locator("img").count() == 0
    content = page.content().casefold()
    assert [word for word in (*CANARIES, "sps1", "2.999.7") if word in content] == []
    looking.is_quiet(screen)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_it_fits_and_everybody_can_use_it(site: Site, browser: Browser, language: str) -> None:
    screen = browser.open(site.web, KNOWN | {"Accept-Language": language})
    screen.page.locator("#pulse.ok").wait_for()
    assert screen.page.locator("html").get_attribute("lang") == language
    looking.fits(screen)
    looking.is_accessible(screen)
    screen.page.locator(".menu summary").click()
    looking.is_accessible(screen)
    looking.is_quiet(screen)
