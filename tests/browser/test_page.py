"""The start page in a real browser: what it shows, that it is private, and that hostile names are inert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import tool, wait_until
from support.service.site import CANARIES, Mllp, Site, order

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
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of Debian's Chromium with an empty profile."""
    browser_path = tool("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=browser_path, args=FLAGS, viewport={"width": 1200, "height": 900}
        )
        yield context.pages[0]
        context.close()


def test_page_shows_doors_nodes_queue_and_no_patient(tmp_path: Path, page: Page) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: problems.append("dialog"))
    with Site(tmp_path / "site", site=SITE) as site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
            assert ris.exchange(order(2).replace("OMI^O23^OMI_O23", "ZZZ^Z01"))["MSA"][0][1] == "AR"
        item = ct_slice(1024)
        with RawScu(site.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)])
            assert modality.store(item) == 0
        wait_until(lambda: site.rows("select failures from lane where failures > 0"), 20, "the PACS is found away")

        page.goto(site.web)
        assert page.locator("#health").inner_text() == "All well"
        tiles = {
            tile.locator("span").inner_text(): tile.locator("b").inner_text() for tile in page.locator(".tile").all()
        }
        assert tiles["on the worklist"] == "1"
        assert tiles["messages accepted"] == "1"
        assert tiles["objects received"] == "1"
        assert tiles["deliveries waiting"] == "1"
        listeners = page.locator("section:has(h2:text('Listeners')) tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in listeners] == ["DICOM (BROKER)", "HL7 (MLLP)", "Web"]
        pacs = page.locator("tr:has(td:text-is('pacs'))")
        assert pacs.locator(".state").inner_text() == "not reachable"
        assert "connect-failed" in pacs.inner_text()
        assert page.locator("ol li").inner_text() == "<img src=x onerror=alert(1)> CT to PACS → pacs"
        assert page.locator("img").count() == 0
        content = page.content().casefold()
        assert [word for word in (*CANARIES, "sps1", "2.999.7") if word in content] == []
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert problems == []


def test_page_fits_a_telephone(tmp_path: Path, page: Page) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    with Site(tmp_path / "site", site=SITE) as site:
        page.goto(site.web)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        response = page.goto(site.web + "/health/ready")
        assert response is not None
        assert response.status == 200
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
