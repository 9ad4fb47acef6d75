"""What support staff ask about deliveries at three in the morning, each answered in two clicks and by one command.

The numbers are those of the list of questions: 8 did a PACS get all of a study, 10 is a PACS down, since when, how
much waits, 11 it is back: send now, 13 release all that is held for it, 14 send a study elsewhere instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect
from pydicom.uid import UID
from pynetdicom import AE, evt
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.site import Mllp, Site, destination, order
from support.web.at_night import TOKEN, AtNight, told
from support.web.browser import Browser

CLOCK = r"\d\d:\d\d"
RULE = '[[rule]]\nname = "CT"\nwhen = { field = "tag.Modality", value = "CT" }\nsend = ["pacs"]\n'
CONFIG = {"web": {"port": 0, "admin_token": TOKEN}, "delivery": {"retry_first": 600, "retry_last": 1200}}
OF_ORDER, OTHER = "2.999.7.4711", "2.999.7.4712"


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ports: tuple[int, int]) -> Iterator[Site]:
    """A broker with an order, which tries a destination that is away again in ten minutes."""
    nodes = destination("pacs", ports[0]) + destination("cad", ports[1])
    with Site(tmp_path_factory.mktemp("night") / "site", site=nodes + RULE, config=CONFIG) as running:
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(4711))["MSA"][0][1] == "AA"
        yield running


@pytest.fixture(autouse=True)
def waiting(site: Site) -> None:
    """Two images of an exam and one of another study, for a PACS that is away."""
    left = "select 1 from job where lane like 'deliver:%' and state in ('ready', 'leased', 'held')"
    wait_until(lambda: not site.rows(left), 30, "what was before is sent")
    studies = (OF_ORDER, OF_ORDER, OTHER)
    store(site, *(ct_slice(64, StudyInstanceUID=study, AccessionNumber=f"A{study[-4:]}") for study in studies))
    wait_until(lambda: site.rows("select 1 from lane where failures > 0"), 30, "the PACS is found away")


@pytest.fixture
def night(browser: Browser, site: Site) -> Iterator[AtNight]:
    person = AtNight(browser, site)
    yield person
    person.page.close()


def store(site: Site, *items: Encoded) -> None:
    with RawScu(site.dicom) as modality:
        modality.associate([(items[0].sop_class, items[0].transfer_syntax)], calling=b"CT01")
        assert [modality.store(item) for item in items] == [0] * len(items)


@contextmanager
def refusing(port: int, item: Encoded) -> Iterator[None]:
    """A PACS that understands no object."""
    entity = AE("PACS")
    entity.add_supported_context(UID(item.sop_class), item.transfer_syntax)
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0xC000)])
    try:
        yield
    finally:
        entity.shutdown()  # with its associations


def test_10_it_is_down_since_when_and_how_much_waits_and_11_it_is_back_send_now(
    site: Site, ports: tuple[int, int], night: AtNight, tmp_path: Path
) -> None:
    expect(night.page.locator("#verdict")).to_contain_text(
        re.compile(rf"pacs is down since {CLOCK} .*no connection.*images: 3 waiting")
    )
    assert night.clicks == 0
    # on a narrow terminal the first column is cut
    text = told(site, "queue", "summary")
    assert re.search(rf" deliver:pac\S* 3 3 .*deliver:pacs: down since {CLOCK}: no connection", text)
    with storescp(tmp_path / "pacs", port=ports[0]):
        night.click("#verdict a:has-text('Show pacs')")
        night.click("#send-now")
        wait_until(lambda: len(received(tmp_path / "pacs")) == 3, 30, "all are sent")
        wait_until(lambda: told(site, "queue", "summary") == "nothing waits", 30, "nothing waits")
    store(site, ct_slice(64))
    wait_until(lambda: site.rows("select 1 from lane where failures > 0"), 30, "the PACS is found away again")
    with storescp(tmp_path / "pacs", port=ports[0]):
        assert "1 is tried now" in told(site, "queue", "retry", "--all", "--node", "pacs")
        wait_until(lambda: len(received(tmp_path / "pacs")) == 4, 30, "by one command too")


def test_14_send_a_study_elsewhere_instead_and_8_did_it_get_all_of_it(
    site: Site, ports: tuple[int, int], night: AtNight, tmp_path: Path
) -> None:
    page = night.page
    with storescp(tmp_path / "cad", port=ports[1]):
        night.click("nav.pages >> text=Queue")
        page.fill("#filter-study", OF_ORDER)
        page.keyboard.press("Enter")
        expect(page.locator("#jobs .found b")).to_have_text("2")
        night.click("#reroute-all-open")
        page.keyboard.type("cad")
        page.keyboard.press("Tab")
        page.keyboard.type("the PACS is down")
        page.keyboard.press("Enter")
        expect(page.locator("#note")).to_have_text("2 deliveries go to cad now.")
        why = ("--to", "cad", "--reason", "the PACS is down")
        assert "1 goes there now" in told(site, "queue", "reroute", "--all", "--study", OTHER, *why)
        done = "select 1 from job where lane = 'deliver:cad' and state = 'done'"
        wait_until(lambda: len(site.rows(done)) == 3, 30, "cad has all")
    assert len(received(tmp_path / "cad")) == 3
    page.goto(site.web)
    night.clicks = 0
    page.fill("#find", "A4711")
    page.keyboard.press("Enter")
    night.click("main a[href^='/exams/']")
    night.click("#images")
    expect(page.locator("#rule_explained")).to_contain_text("2 images were sent to cad.")
    expect(page.locator("#rule_explained")).to_contain_text("Sending 2 images to pacs was given up.")
    page.click("#exam-queue")
    expect(page.locator("#jobs")).to_contain_text("Nothing matches")
    assert "cad: 2 done" in told(site, "rules", "explain", OF_ORDER)


def test_13_release_all_that_is_held_for_it(site: Site, ports: tuple[int, int], night: AtNight, tmp_path: Path) -> None:
    def hold() -> None:
        with refusing(ports[0], ct_slice(64)):
            told(site, "queue", "retry", "--all", "--node", "pacs")
            wait_until(lambda: len(site.rows("select 1 from job where state = 'held'")) == 3, 60, "all are refused")

    hold()
    found = night.page.locator("#verdict li", has_text=re.compile(r"pacs: 3 deliveries are held: .*C000"))
    expect(found).to_be_visible()
    with storescp(tmp_path / "pacs", port=ports[0]):
        night.click("#verdict li:has-text('held') a")
        night.click("#release")
        expect(night.page.locator("#note")).to_have_text("3 jobs are tried again.")
        wait_until(lambda: len(received(tmp_path / "pacs")) == 3, 30, "all are sent")
    store(site, ct_slice(64), ct_slice(64), ct_slice(64))
    wait_until(lambda: site.rows("select 1 from lane where failures > 0"), 30, "the PACS is found away")
    hold()
    with storescp(tmp_path / "pacs", port=ports[0]):
        told(site, "holds", "release", "--all", "--node", "pacs")
        wait_until(lambda: len(received(tmp_path / "pacs")) == 6, 30, "by one command too")
