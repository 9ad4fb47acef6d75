"""The page Now in a real browser: the answer at one look, live, for everybody, on a wall and on a telephone.

One broker serves all tests. Its PACS is away until the last test, in which it comes back and all is well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import storescp
from support.peers.tools import free_port, wait_until
from support.service.site import CANARIES, Mllp, Site, destination, order
from support.web import looking
from support.web.browser import PHONE, WIDE, Browser, Screen

HOSTILE = "<img src=x onerror=alert(1)>"
TOKEN = "a-token-of-the-tests-0123456789"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
MODALITIES = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[[node]]
name = "mr1"
kind = "dicom"
ae_title = "MR01"
roles = ["modality"]
[[node]]
name = "ris"
kind = "hl7"
application = "RIS"
facility = "HOSPITAL"
roles = ["ris"]
[[rule]]
name = "CT to PACS"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["pacs"]
"""


class NowPage:
    """What a person reads on the page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def verdict(self) -> str:
        """The word that is seen from far."""
        return self.page.locator("#verdict-word").inner_text()

    def findings(self) -> list[str]:
        """What is wrong, in sentences."""
        return self.page.locator("#verdict .verdict li").all_inner_texts()

    def needs(self) -> list[str]:
        """What a person is needed for: number and things."""
        rows = self.page.locator(".needs > li").all()
        return [f"{row.locator('b').inner_text()} {row.locator('strong').inner_text()}" for row in rows]

    def row(self, table: str, name: str) -> dict[str, str]:
        """A node or sender by its column titles."""
        rows = self.page.locator(f"section[aria-labelledby={table}] tbody tr")
        found = rows.filter(has=self.page.get_by_role("rowheader", name=name))
        cells = {cell.get_attribute("data-label"): cell.inner_text() for cell in found.locator("td[data-label]").all()}
        return {str(label): text for label, text in cells.items()} | {"State": found.locator(".pill").inner_text()}


@pytest.fixture(scope="module")
def port() -> int:
    """Where the PACS will be."""
    return free_port()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Site]:
    """A broker that has got orders, a refused message of a hostile sender, an unknown device, and an object."""
    config = {"web": {"admin_token": TOKEN}, "dicom": {"accept": "known"}}
    nodes = destination("pacs", port) + MODALITIES
    with Site(tmp_path_factory.mktemp("site"), site=nodes, config=config) as running:
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
            assert ris.exchange(order(2).replace("OMI^O23^OMI_O23", "ZZZ^Z01"))["MSA"][0][1] == "AR"
            assert ris.exchange(order(3).replace("|RIS|HOSPITAL|", f"|{HOSTILE}|X|"))["MSA"][0][1] == "AA"
        item = ct_slice(1024)
        with RawScu(running.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")
            assert modality.store(item) == 0
        with RawScu(running.dicom) as stranger:
            assert stranger.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT99")[0] == 3
        wait_until(lambda: running.rows("select failures from lane where failures > 0"), 20, "the PACS is found away")
        wait_until(lambda: running.rows("select 1 from knock") and senders(running) == 2, 60, "all of it is counted")
        yield running


def senders(site: Site) -> int:
    """How many senders are known."""
    return len(site.rows("select 1 from sender where name <> ''"))


def shown(site: Site, browser: Browser, size: tuple[int, int] = WIDE, language: str = "en") -> tuple[Screen, NowPage]:
    """The page as a person opens it."""
    screen = browser.open(site.web, KNOWN | {"Accept-Language": language}, size)
    screen.page.locator("#pulse.warn, #pulse.ok").wait_for()
    return screen, NowPage(screen.page)


def test_it_answers_at_one_look_and_names_no_patient(site: Site, browser: Browser) -> None:
    screen, now = shown(site, browser)
    assert now.verdict() == "Needs attention"
    [away] = now.findings()
    assert re.match(r"pacs is down since \d\d:\d\d \(.+\): no connection: it is off, or its address", away)
    assert now.needs() == ["1 message refused today", "1 device knocks"]
    ct1, pacs = now.row("nodes-title", "ct1"), now.row("nodes-title", "pacs")
    assert (ct1["State"], ct1["Last query"]) == ("in contact", "–")
    assert re.search(r"\d\d:\d\d", ct1["Last image"])
    assert pacs["State"] == "down"
    assert "images: 1 waiting, the oldest for" in pacs["Work"]
    ris = now.row("senders-title", "RIS|HOSPITAL")
    assert ris["State"] == "sending"
    assert re.search(r"\d\d:\d\d", ris["Last message"])
    assert now.row("senders-title", f"{HOSTILE}|X")["State"] == "sending"
    assert screen.page.locator("main img").count() == 0
    content = screen.page.content().casefold()
    assert [word for word in (*CANARIES, "sps1", "2.999.7") if word in content] == []
    looking.is_quiet(screen)


def test_page_rest_readiness_and_command_say_the_same(site: Site, browser: Browser) -> None:
    _, now = shown(site, browser)
    ready = httpx.get(f"{site.web}/health/ready", timeout=20)
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    status = httpx.get(f"{site.web}/api/v1/status", headers=KNOWN, timeout=20).json()
    assert status["health"] == "degraded"
    command = site.command("status")
    assert command.returncode == 1
    assert command.stdout.startswith("Needs attention\n")
    told = [now.findings(), ready.json()["problems"], [finding["text"] for finding in status["findings"]]]
    told.append([line.strip() for line in command.stdout.splitlines() if line.startswith("  pacs is down")])
    told = [[text for text in texts if "pacs is down" in text] for texts in told]  # a busy machine may stall once
    assert [len(texts) for texts in told] == [1, 1, 1, 1]
    assert len({re.sub(r"\(\d+.*?\)|\d+ waiting|Show pacs", "", texts[0]).strip() for texts in told}) == 1  # now
    for words in ("RIS|HOSPITAL: sending, last message", "ct1", "broker nodes knocking", "GB free"):
        assert words in command.stdout, words
    assert json.loads(site.command("status", "--json").stdout)["nodes"][0]["name"] == "pacs"


def test_who_may_see_states_sees_all_of_it_and_nobody_else(site: Site) -> None:
    made = {}
    for role in ("viewer", "operator", "integrator", "auditor"):
        result = site.command("tokens", "add", f"t-{role}", "--role", role)
        made[role] = {"Authorization": f"Bearer {result.stdout.strip()}"}
    for role, headers in made.items():
        for path in ("/", "/now/numbers", "/api/v1/status", "/api/v1/status/rates"):
            answer = httpx.get(f"{site.web}{path}", headers=headers, timeout=20)
            assert (role, path, answer.status_code) == (role, path, 403 if role == "auditor" else 200)
            if path == "/" and role != "auditor":
                assert "Needs attention" in answer.text
                assert "RIS|HOSPITAL" in answer.text
    for path, method in (("/", "POST"), ("/now/numbers", "POST"), ("/api/v1/status", "DELETE")):
        assert httpx.request(method, f"{site.web}{path}", headers=KNOWN, timeout=20).status_code == 405
    for since in ("-1", "x", "nan", "1e99"):
        answer = httpx.get(f"{site.web}/now/numbers?since={since}", headers=KNOWN, timeout=20)
        assert answer.status_code == 422, since


def test_on_a_telephone_the_answer_is_on_the_first_screen(site: Site, browser: Browser) -> None:
    screen, now = shown(site, browser, PHONE)
    box = screen.page.locator(".verdict").bounding_box()
    bar = screen.page.locator("nav.pages").bounding_box()
    assert box is not None
    assert bar is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= bar["y"]
    assert now.verdict() == "Needs attention"


def test_the_keyboard_reaches_everything_that_can_be_pressed(site: Site, browser: Browser) -> None:
    screen, _ = shown(site, browser)
    screen.page.keyboard.press("Tab")
    assert screen.page.evaluate("document.activeElement.className") == "skip"
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_function("document.activeElement.id === 'main'")
    links = screen.page.locator("main a").count()
    seen = []
    for _ in range(links):
        screen.page.keyboard.press("Tab")
        seen.append(screen.page.evaluate("document.activeElement.closest('main') !== null"))
    assert seen == [True] * links


def test_without_script_it_says_the_same(site: Site, browser: Browser) -> None:
    screen = browser.open(site.web, KNOWN, script=False)
    now = NowPage(screen.page)
    assert now.verdict() == "Needs attention"
    assert now.needs() == ["1 message refused today", "1 device knocks"]
    assert now.row("nodes-title", "pacs")["State"] == "down"
    assert "In the last hour: orders 2, queries 0" in screen.page.locator("live-plot").first.inner_text()


def test_when_the_pacs_is_back_all_is_well_and_nobody_loads_the_page_again(
    site: Site, browser: Browser, port: int, tmp_path: Path
) -> None:
    screen, now = shown(site, browser)
    assert now.verdict() == "Needs attention"
    screen.page.evaluate("window.loadedOnce = true")
    with storescp(tmp_path / "archive", port=port):
        screen.page.locator(".verdict.ok").wait_for(timeout=60_000)
        screen.page.locator("#pulse.ok").wait_for(timeout=60_000)
        assert now.verdict() == "All well"
        assert now.findings() == []
        wait_until(lambda: now.row("nodes-title", "pacs")["State"] == "in contact", 30, "the table follows")
        assert screen.page.evaluate("window.loadedOnce") is True
        assert site.command("status").returncode == 0
        assert httpx.get(f"{site.web}/health/ready", timeout=20).json() == {"status": "ok", "problems": []}
        looking.is_accessible(screen)
    looking.is_quiet(screen)


def test_a_broker_that_is_off_is_down(tmp_path: Path) -> None:
    off = Site(tmp_path / "site").command("status")
    assert off.returncode == 3
    assert off.stderr.startswith("Down: no broker runs")
