"""The page of studies in a real browser: one is found, looked at, sent again and elsewhere; by mouse and by keys."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import Connection, delete, update
from support.delivery.receiving import STUDY, ReceptionPlace
from support.service.rest import TOKEN
from support.web import looking
from support.web.browser import PHONE, WIDE, Browser, Hand

from broker.store.db.database import Database
from broker.store.schema import tables

KNOWN = {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}
RULE = {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}
_t = tables.job


def node(name: str) -> dict[str, object]:
    return {
        "name": name, "kind": "dicom", "ae_title": name.upper(), "host": "192.0.2.1", "port": 104,
        "roles": ["destination"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def place(database: Database, web: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceptionPlace]:
    """Three objects of a study of P1 for pacs, and one of another study."""
    site = {"node": [node("pacs"), node("cad")], "rule": [RULE], "reason": "first rules"}
    assert httpx.post(f"{web}/api/v1/site", json=site, headers=KNOWN).status_code == 201
    made = ReceptionPlace(database, tmp_path_factory.mktemp("studies"))
    made.in_force({"rule": [RULE]}, 1)
    for number in (1, 2, 3):
        made.take(number, PatientID="P1.77", AccessionNumber="A77")
    made.take(4, PatientID="P2", StudyInstanceUID="2.999.78")
    yield made
    made.spool.close()


@pytest.fixture
def study(database: Database, place: ReceptionPlace) -> str:
    """The study: pacs took one with a warning, refused one, and one waits for it."""
    states = {1: ("done", "status-B000"), 2: ("held", "status-C123"), 3: ("ready", ""), 4: ("done", "")}

    def put(connection: Connection) -> None:
        connection.execute(delete(_t).where(_t.c.lane == "deliver:cad"))
        for subject, (state, error) in states.items():
            connection.execute(update(_t).where(_t.c.subject == subject).values(state=state, last_error=error))

    database.execute(put)
    return STUDY


@pytest.mark.parametrize(("size", "keys"), [(WIDE, False), (PHONE, True)], ids=["mouse", "keys-on-a-telephone"])
def test_a_study_is_found_and_sent_again(
    web: str, browser: Browser, study: str, size: tuple[int, int], keys: bool
) -> None:
    screen = browser.open(f"{web}/studies", KNOWN, size)
    page, hand = screen.page, Hand(screen.page, keys=keys)
    expect(page.locator("#studies tbody tr")).to_have_count(2)
    hand.write("#filter-patient", "P1.77")
    expect(page.locator("#studies .found b")).to_have_text("1")
    assert "P1.77" not in page.url.partition("?")[2]
    row = page.locator("#studies tbody tr")
    expect(row).to_contain_text("1 sent with a warning")
    looking.is_accessible(screen)
    hand.press(f"#{row.locator('a').first.get_attribute('id')}")
    pacs = page.locator("#study tbody tr")
    for words in ("1 sent with a warning", "1 waiting", "it cannot understand the object (status C123)"):
        expect(pacs).to_contain_text(words)
    expect(page.locator("#study_objects tbody tr")).to_have_count(3)
    expect(page.locator("main")).to_contain_text("3 images came from CT01.")
    looking.is_accessible(screen)
    looking.fits(screen)
    screen.resize(size)
    hand.press("#resend-open")
    expect(page.locator("#resend-to")).to_have_value("pacs")
    hand.press("#resend-do")
    expect(page.locator("#resend-reason-wrong")).to_be_visible()
    hand.write("#resend-reason", "the PACS lost a disk")
    expect(page.locator("#note")).to_contain_text("Sent to pacs: 2. They wait for it already: 1.")
    expect(pacs).to_contain_text("3 waiting")
    hand.press("#reroute-open")
    hand.choose("#reroute-to", "cad")
    hand.write("#reroute-reason", "the PACS is down")
    expect(page.locator("#note")).to_have_text("3 deliveries go to cad now.")
    expect(page.locator("#study tbody")).to_contain_text("3 sent elsewhere")
    looking.is_quiet(screen)
    page.close()


def test_without_script(web: str, browser: Browser, study: str) -> None:
    page = browser.open(f"{web}/studies", KNOWN, script=False).page
    page.fill("#filter-accession", "A77")
    page.keyboard.press("Enter")
    expect(page.locator("#studies tbody tr")).to_have_count(1)
    page.locator("#studies tbody a").first.click()
    page.click("#series-1")
    assert page.inner_text("#objects-title") == "Objects of series 1 3"
    page.click("#resend-open")
    page.select_option("#resend-to", "cad")
    page.fill("#resend-reason", "asked for by the ward")
    page.click("#resend-do")
    assert page.inner_text("#note") == "3 objects are sent to cad."
    page.close()
