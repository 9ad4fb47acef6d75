"""The pages of messages in a real browser: find, filter, try again, deal with; by mouse, by keys, without script."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.orders.journal import order_message, send, tell
from support.service.rest import TOKEN, application
from support.web import looking
from support.web.browser import Browser, Screen, chromium
from support.web.serving import serving

from broker.settings import load
from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}
REFUSED = (2, 3, 4)  # rows of the journal
DRAFT = """name = "draft"
extends = "ihe"
[senders]
match = [{ application = "RIS" }]
[values.Modality]
TQQ9 = "CR"
"""


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with 60 messages, of which three are refused; the RIS was told of one exam."""
    file = tmp_path_factory.mktemp("messages") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    send(database, order_message(1, birth="19700000"), *(order_message(n, modality="TQQ9") for n in REFUSED))
    send(database, *(order_message(n) for n in range(5, 61)))
    tell(database, 1, time.time() + 1, code="AE", error="204")
    database.close()
    return file


@pytest.fixture(scope="module")
def browser(filled: Path) -> Iterator[Browser]:
    """It starts after the database is filled: a loop runs in its thread."""
    with chromium() as running:
        yield running


@pytest.fixture
def web(filled: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copyfile(filled, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    with serving(application(database, load(None))) as address:
        yield address
    database.close()


class MessagePage:
    """A page of messages as a person uses it."""

    def __init__(self, browser: Browser, web: str, path: str, *, script: bool = True, language: str = "en") -> None:
        headers = {**KNOWN, "Accept-Language": language}
        self.screen: Screen = browser.open(f"{web}{path}", headers, script=script)
        self.page = self.screen.page

    def settled(self) -> None:
        self.page.locator("#journal:not([aria-busy])").wait_for()

    def rows(self) -> list[str]:
        return self.page.locator("#journal tbody tr").all_inner_texts()


def test_which_orders_were_refused_today_and_why(web: str, browser: Browser) -> None:
    """Question 4: from the start page by two clicks."""
    start = MessagePage(browser, web, "/")
    start.page.click("nav >> text=Messages")
    start.page.click("text=Refused today")
    start.page.wait_for_url("**state=open**")
    assert len(start.rows()) == 3
    assert all("103" in row and "AE: refused" in row for row in start.rows())
    looking.is_quiet(start.screen)


def test_what_the_ris_sent_for_an_exam_and_whether_it_heard(web: str, browser: Browser) -> None:
    """Questions 5 and 7: the list, what is typed, one message. No address names the exam."""
    start = MessagePage(browser, web, "/")
    seen: list[str] = []
    start.page.on("request", lambda request: seen.append(request.url))
    start.page.click("nav >> text=Messages")
    start.page.fill("#number", "A1")
    start.page.press("#number", "Enter")
    start.page.wait_for_url("**/messages?exam=1")
    assert len(start.rows()) == 2
    assert "AE: refused" in start.rows()[0]
    start.page.click("#message-in-1")
    start.page.wait_for_url("**/messages/1")
    expect(start.page.locator("#raw")).to_contain_text("PID|||QZPAT1^^^HOSP")
    expect(start.page.locator("tr", has_text="PID-7")).to_contain_text("102")
    assert not [url for url in seen if "QZ" in url or "A1" in url.rpartition("/")[2]]
    looking.is_quiet(start.screen)


def test_pages_lead_on_and_back(web: str, browser: Browser) -> None:
    listed = MessagePage(browser, web, "/messages?direction=in")
    assert len(listed.rows()) == 50
    listed.page.click("#page-next")
    listed.page.wait_for_url("**after=**")
    listed.settled()
    assert len(listed.rows()) == 10
    listed.page.click("#page-previous")
    listed.page.locator("#journal tbody tr:nth-child(50)").wait_for()


def test_a_refused_message_is_tried_with_a_draft_and_processed_again(web: str, browser: Browser) -> None:
    message = MessagePage(browser, web, "/messages/2")
    message.page.click("#try")
    message.page.wait_for_url("**/messages/2/try")
    expect(message.page.locator("#tried")).to_contain_text("This was a try: nothing was written.")
    message.page.set_input_files("#draft-file", {"name": "d.toml", "mimeType": "text/plain", "buffer": DRAFT.encode()})
    expect(message.page.locator("#draft")).to_have_value(DRAFT)
    message.page.click("#try")
    expect(message.page.locator("#tried")).to_contain_text("New worklist entry")
    looking.is_accessible(message.screen)
    message.page.click("#apply-open")
    looking.is_accessible(message.screen)
    message.page.fill("#reason", "mapping corrected")
    message.page.click("#apply-do")
    message.page.wait_for_url("**/messages/2")
    expect(message.page.locator("#note")).to_have_text("It was processed again, and applied.")
    expect(message.page.locator("#message")).to_contain_text("mapping corrected")
    looking.is_quiet(message.screen)


def test_messages_are_dealt_with_by_keys_alone(web: str, browser: Browser) -> None:
    listed = MessagePage(browser, web, "/messages?state=open")
    page, keyboard = listed.page, listed.page.keyboard
    page.focus("#row-3")
    keyboard.press("Space")
    expect(page.locator(".picked")).to_have_text("Picked: 1")
    page.focus("#deal-open")
    keyboard.press("Enter")
    page.focus("#reason")
    keyboard.type("typed in by hand")
    keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("1 message was dealt with.")
    expect(page.locator("#journal tbody tr")).to_have_count(2)
    assert listed.screen.focused() == "deal-open"
    page.goto(f"{web}/messages/3")
    page.focus("#undeal-open")
    keyboard.press("Enter")
    page.focus("#undeal-reason")
    keyboard.type("a mistake")
    keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("It waits for a person again.")
    looking.is_quiet(listed.screen)


def test_a_filter_is_typed_and_keeps_the_focus(web: str, browser: Browser) -> None:
    listed = MessagePage(browser, web, "/messages")
    listed.page.focus("#filter-finding")
    listed.page.keyboard.type("103")
    listed.page.wait_for_url("**finding=103**")
    listed.settled()
    expect(listed.page.locator("#journal tbody tr")).to_have_count(3)
    assert listed.screen.focused() == "filter-finding"


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(
    "path",
    ["/messages?finding=x", "/messages?exam=1", "/messages/1", "/messages/2", "/messages/sent/1", "/messages/2/try"],
)
def test_it_fits_and_everybody_can_use_it(web: str, browser: Browser, path: str, language: str) -> None:
    shown = MessagePage(browser, web, path, language=language)
    looking.fits(shown.screen)
    looking.is_accessible(shown.screen)
    looking.is_quiet(shown.screen)
    shown.page.close()


def test_without_script(web: str, browser: Browser) -> None:
    listed = MessagePage(browser, web, "/messages", script=False)
    listed.page.fill("#filter-finding", "103")
    listed.page.click("#journal form.filters button")
    listed.page.wait_for_url("**finding=103**")
    assert len(listed.rows()) == 3
    listed.page.goto(f"{web}/messages/4/try")
    listed.page.fill("#draft", DRAFT)
    listed.page.click("#try")
    expect(listed.page.locator("#tried")).to_contain_text("New worklist entry")
    listed.page.goto(f"{web}/messages/4")
    listed.page.click("#deal-open")
    listed.page.fill("#deal-reason", "typed in by hand")
    listed.page.click("#deal-do")
    expect(listed.page.locator("#message")).to_contain_text("typed in by hand")


def test_seven_tabs_at_once(web: str, browser: Browser) -> None:
    tabs = [MessagePage(browser, web, "/messages") for _ in range(7)]
    assert all(len(tab.rows()) == 50 for tab in tabs)
    for tab in tabs:
        looking.is_quiet(tab.screen)
        tab.page.close()
