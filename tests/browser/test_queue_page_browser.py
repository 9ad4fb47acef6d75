"""The page of the queue in a real browser: work goes elsewhere, is tried now, given up; by mouse and by keys."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from sqlalchemy import Connection, delete, update
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.rest import TOKEN
from support.service.site import Site, destination
from support.web import looking
from support.web.browser import PHONE, WIDE, Browser, Hand, Screen
from support.web.held import states

from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables

KNOWN = {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}
RULE = '[[rule]]\nname = "CT"\nwhen = { field = "tag.Modality", value = "CT" }\nsend = ["pacs"]\n'
CONFIG = {"web": {"port": 0, "admin_token": TOKEN}, "delivery": {"retry_first": 600, "retry_last": 1200}}


# --- a PACS goes down, and comes back ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ports: tuple[int, int]) -> Iterator[Site]:
    """A broker that tries again after ten minutes only."""
    nodes = destination("pacs", ports[0]) + destination("cad", ports[1])
    with Site(tmp_path_factory.mktemp("queue") / "site", site=nodes + RULE, config=CONFIG) as running:
        yield running


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["on-a-desk", "on-a-telephone"])
@pytest.mark.parametrize("keys", [False, True], ids=["by-mouse", "by-keys"])
def test_a_pacs_goes_down_and_what_waits_goes_elsewhere_until_it_is_back(
    site: Site, ports: tuple[int, int], browser: Browser, tmp_path: Path, size: tuple[int, int], keys: bool
) -> None:
    first, urgent, *others = [ct_slice(64, AccessionNumber=name) for name in ("A-0", "A-URGENT", "A-2", "A-2", "A-2")]
    with storescp(tmp_path / "pacs", port=ports[0]):  # it works
        store(site, first)
        wait_until(lambda: first.sop_instance in received(tmp_path / "pacs"), 30, "the first is sent")
    store(site, urgent, *others)  # it went down
    wait_until(lambda: site.rows("select 1 from lane where failures > 0"), 30, "the PACS is found away")
    screen = browser.open(site.web, KNOWN, size)
    page, hand = screen.page, Hand(screen.page, keys=keys)
    down = page.locator("#verdict .verdict li", has_text="pacs is down since")
    expect(down).to_be_visible()
    hand.press(f"#{down.locator('a').get_attribute('id')}")
    expect(page.locator("#queue .lead")).to_contain_text("no connection: it is off")
    expect(page.locator("#jobs .found b")).to_have_text("4")
    looking.is_accessible(screen)
    hand.write("#filter-accession", "A-URGENT")
    expect(page.locator("#jobs .found b")).to_have_text("1")
    assert "URGENT" not in page.url.partition("?")[2]  # longer than what chance puts into the sealed filter
    hand.press("#reroute-all-open")
    hand.choose("#reroute-all-to", "cad")
    with storescp(tmp_path / "cad", port=ports[1]):
        hand.write("#reroute-all-reason", "the surgeon waits for it")
        expect(page.locator("#note")).to_have_text("1 delivery goes to cad now.")
        wait_until(lambda: urgent.sop_instance in received(tmp_path / "cad"), 30, "it is sent elsewhere")
    with storescp(tmp_path / "pacs", port=ports[0]):  # it is back
        hand.press("#filter-none")
        expect(page.locator("#jobs .found b")).to_have_text("3")
        page.goto(f"{site.web}/queue?node=pacs")
        hand.press("#send-now")
        expect(page.locator("#note")).to_have_text("What waits for pacs is tried now.")
        wait_until(lambda: len(received(tmp_path / "pacs")) == 4, 30, "the rest is sent")
        expect(page.locator("#jobs")).to_contain_text("Nothing matches")  # by itself
        expect(page.locator("#queue")).to_contain_text("All that came is sent.")
    assert received(tmp_path / "pacs").keys() == {item.sop_instance for item in (first, *others)}
    page.goto(site.web)
    expect(page.locator("#verdict-word")).to_have_text("All well")
    looking.is_quiet(screen)
    page.close()


def test_the_last_hours_are_drawn(site: Site, ports: tuple[int, int], browser: Browser, tmp_path: Path) -> None:
    """On a telephone, without script: what was delivered once the minute is over."""
    with storescp(tmp_path / "pacs", port=ports[0]):
        store(site, ct_slice(64))
        wait_until(lambda: len(received(tmp_path / "pacs")) == 1, 30, "it is sent")
    page = browser.open(f"{site.web}/queue?node=pacs", KNOWN, PHONE, script=False).page
    done = page.locator("#plot-hours tbody tr").first.locator("td").last

    def drawn() -> bool:
        page.reload()
        return done.count() > 0 and int(done.text_content() or 0) > 0

    wait_until(drawn, 120, "the minute is over")
    assert page.locator("svg.plot polyline").count() == 2
    for words in page.get_by_role("img").locator("desc").all_text_contents():
        assert re.match(r"From .*\d\d:\d\d to .*\d\d:\d\d\. In the last minute: [\d–]+\. At most: \d+\.", words)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    page.close()


def store(site: Site, *items: Encoded) -> None:
    with RawScu(site.dicom) as modality:
        modality.associate([(items[0].sop_class, items[0].transfer_syntax)], calling=b"CT01")
        assert [modality.store(item) for item in items] == [0] * len(items)


# --- the pages alone -----------------------------------------------------------------------------------------


@pytest.fixture
def screen(database: Database, web: str, browser: Browser) -> Iterator[Screen]:
    fill(database, 60)
    opened = browser.open(f"{web}/queue?node=pacs", KNOWN)
    yield opened
    looking.is_quiet(opened)
    opened.page.close()


def fill(database: Database, count: int) -> None:
    """Leave nothing in the queue but so many jobs for pacs that wait for a retry."""
    now = time.time()

    def put(connection: Connection) -> None:
        connection.execute(delete(tables.job))
        new = [NewJob(kind="deliver", lane="deliver:pacs", subject=subject, detail={}) for subject in range(count)]
        jobs.enqueue(connection, new, now - 60)
        late = {"due_at": now + 900, "last_error": "connect-failed", "attempts": 2}
        connection.execute(update(tables.job).values(**late))

    database.execute(put)


def test_picked_jobs_or_all_that_match_are_tried_now(screen: Screen) -> None:
    page = screen.page
    page.locator("[name=row] >> nth=0").check()
    looking.is_accessible(screen)
    page.click("#retry")
    expect(page.locator("#note")).to_have_text("1 job is tried now.")
    page.check("#row-every")
    expect(page.locator(".picked")).to_have_text("Picked: 60")
    page.click("#retry")
    expect(page.locator("#note")).to_have_text("60 jobs are tried now.")


def test_by_keys_a_slip_keeps_what_was_picked(screen: Screen, database: Database) -> None:
    page = screen.resize(PHONE).page
    page.focus("[name=row] >> nth=0")
    page.keyboard.press("Space")
    page.focus("#decide-open")
    page.keyboard.press("Enter")
    page.focus("#reason")
    page.keyboard.type("x")
    page.focus("#discard-do")
    page.keyboard.press("Enter")
    expect(page.locator("#reason-wrong")).to_be_visible()
    assert page.locator("#decide").evaluate("(dialog) => dialog.matches(':modal')")
    looking.is_accessible(screen)
    page.fill("#reason", "sent by hand")
    page.press("#reason", "Enter")  # without a destination that sends nothing
    expect(page.locator("#reroute-to-wrong")).to_be_visible()
    assert set(states(database)) == {"ready"}
    page.focus("#discard-do")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("1 job was given up.")
    assert states(database).count("discarded") == 1


def test_a_region_goes_on_to_follow_when_the_button_that_was_pressed_is_gone(
    screen: Screen, database: Database
) -> None:
    """The focus is on the region then, and stays there: “Send now” goes away while what waits is sent."""
    page, now = screen.page, time.time()
    page.locator("#queue").evaluate("(region) => { region.tabIndex = -1; region.focus(); }")
    database.execute(lambda c: c.execute(delete(tables.job).where(tables.job.c.created_at <= now)))
    expect(page.locator("#queue")).to_contain_text("Nothing waits for a node of this name")
    assert screen.focused() == "queue"


def test_without_script(database: Database, web: str, browser: Browser) -> None:
    fill(database, 3)
    page = browser.open(f"{web}/queue?node=pacs", KNOWN, script=False).page
    page.locator("[name=row] >> nth=0").check()
    page.click("#retry")
    assert page.inner_text("#note") == "1 job is tried now."
    page.click("#discard-all-open")
    page.fill("#discard-all-reason", "sent by hand")
    page.click("#discard-all-do")
    assert page.inner_text("#note") == "3 jobs were given up."
    assert states(database) == ["discarded"] * 3
    page.close()
