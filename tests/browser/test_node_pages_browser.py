"""The pages of nodes in a real browser: by mouse, by keys alone, without script."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Connection, delete
from support.peers.tools import free_port
from support.service.rest import TOKEN
from support.web import looking
from support.web.browser import NARROW, Browser, Screen

from broker.model.contact import Contact, ContactKind
from broker.store import contacts, knocks
from broker.store.db.database import Database
from broker.store.schema import tables

KNOWN = {"Authorization": f"Bearer {TOKEN}"}
CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"], "device": {"charset": "ISO_IR 100"}}
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "roles": ["destination"]}
WORKLIST = "1.2.840.10008.5.1.4.31"


@dataclass
class NodePages:
    """What a person does on the pages of nodes."""

    screen: Screen
    web: str

    @property
    def page(self) -> Page:
        return self.screen.page

    def go(self, path: str) -> None:
        self.page.goto(self.web + path)

    def admit(self, title: str, like: str) -> None:
        """By mouse, from the list of nodes on."""
        self.page.click("text=Knocking")
        row = self.page.locator("#knocks tbody tr", has_text=title)
        row.get_by_text("Admit…").click()
        row.locator("select[name=like]").select_option(like)
        row.locator("dialog[open] button").click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def site(web: str, database: Database) -> str:
    """Two nodes, one device that knocks, one that calls a wrong title; the address of the pages."""

    def begin(connection: Connection) -> None:
        connection.execute(delete(tables.knock))
        knocks.record(connection, "US07", "10.0.0.7", time.time(), 3, [WORKLIST])
        knocks.record(connection, "<b>MR3", "10.0.0.8", time.time(), 3, [WORKLIST], "BROKRE")
        contacts.keep(connection, [Contact("ct1", ContactKind.QUERY, time.time() - 130)])

    database.execute(begin)
    with httpx.Client(base_url=web, headers=KNOWN) as http:
        assert http.put("/api/v1/nodes", json={"node": [], "replace": True}).status_code == 200
        pacs = PACS | {"port": free_port()}
        assert http.put("/api/v1/nodes", json={"node": [CT, pacs], "reason": "as before"}).status_code == 200
    return web


@pytest.fixture
def pages(browser: Browser, site: str) -> Iterator[NodePages]:
    opened = NodePages(browser.open(f"{site}/nodes", KNOWN), site)
    yield opened
    opened.page.close()


def test_a_device_is_admitted_with_a_profile_by_mouse(pages: NodePages) -> None:
    pages.page.click("text=Knocking")
    pages.page.locator("#knocks tbody tr", has_text="US07").get_by_text("Admit…").click()
    looking.is_accessible(pages.screen)
    pages.go("/nodes")
    pages.admit("US07", "ct1")
    expect(pages.page.locator("h1")).to_have_text("us07")
    expect(pages.page.locator("#note")).to_contain_text("US07 is let in from now on")
    expect(pages.page.locator("pre")).to_contain_text('charset = "ISO_IR 100"')
    looking.is_quiet(pages.screen)


def test_a_node_is_disabled_and_enabled_by_keys_alone(pages: NodePages) -> None:
    pages.page.focus("#node-pacs")
    pages.press("Enter")
    expect(pages.page.locator("h1")).to_have_text("pacs")
    pages.page.focus("#disable-open")
    pages.press("Enter")
    expect(pages.page.locator("#disable")).to_be_visible()
    looking.is_accessible(pages.screen)
    pages.press("Escape")
    assert pages.screen.focused() == "disable-open"
    pages.press("Enter")
    pages.page.focus("#disable-reason")
    pages.page.keyboard.type("upgrade")
    pages.press("Tab")
    assert pages.screen.focused() == "disable-do"
    pages.press("Enter")
    expect(pages.page.locator("#note")).to_contain_text("It is neither served nor sent to.")
    expect(pages.page.locator("#node .lead .pill")).to_have_text("disabled")
    assert pages.screen.focused() not in ("", "body")
    pages.page.focus("#enable-open")
    pages.press("Enter")
    pages.page.focus("#enable-do")
    pages.press("Enter")
    expect(pages.page.locator("#node .lead .pill")).to_have_text("active")
    looking.is_quiet(pages.screen)


def test_a_test_shows_its_result_without_loading_the_page(pages: NodePages) -> None:
    pages.go("/nodes/pacs")
    pages.page.click("#test")
    expect(pages.page.locator("#node_test")).to_contain_text("refuses connections on port", timeout=20_000)
    expect(pages.page.locator("#node_test")).to_contain_text("start the application, or correct the port")
    expect(pages.page.locator("#node_test .lead .pill").first).to_have_text("It does not work")
    assert pages.screen.focused() == "test"
    looking.is_accessible(pages.screen)
    looking.is_quiet(pages.screen)


def test_what_is_wrong_stands_beside_the_field_and_is_mended(pages: NodePages) -> None:
    pages.page.click("#add")
    pages.page.fill("#name", "mr2")
    pages.page.fill("#port", "x")
    pages.page.press("#port", "Enter")
    expect(pages.page.locator("#ae_title-wrong")).to_have_text("A DICOM node needs an AE title.")
    expect(pages.page.locator("#port-wrong")).to_have_text("Type a whole number.")
    assert pages.page.get_attribute("#port", "aria-describedby") == "port-wrong"
    assert pages.screen.focused() == "port"
    looking.is_accessible(pages.screen)
    looking.fits(pages.screen)
    pages.page.fill("#ae_title", "MR02")
    pages.page.fill("#port", "104")
    pages.page.click("#save")
    expect(pages.page.locator("h1")).to_have_text("mr2")
    looking.is_quiet(pages.screen)


def test_history_compares_and_goes_back(pages: NodePages) -> None:
    pages.go("/nodes/ct1/edit")
    pages.page.fill("#host", "10.0.0.99")
    pages.page.click("#save")
    expect(pages.page.locator("pre")).to_contain_text("10.0.0.99")
    pages.page.click("text=History >> nth=0")
    first = pages.page.locator(".versions > li").first
    expect(first).to_contain_text("10.0.0.99")
    newest = int(re.findall(r"\d+", first.locator("h2").inner_text())[0])
    pages.page.fill("#from", str(newest - 1))
    pages.page.fill("#to", str(newest))
    pages.page.click("#compare")
    expect(pages.page.locator("#node_history")).to_contain_text(f"From version {newest - 1} to {newest}")
    pages.go("/nodes/history")
    pages.page.click(f"#back-{newest - 1}-open")
    looking.is_accessible(pages.screen)
    pages.page.click(f"#back-{newest - 1}-do")
    expect(pages.page.locator("#note")).to_have_text(f"Version {newest - 1} is in force again, as {newest + 1}.")
    looking.is_quiet(pages.screen)


def test_all_of_it_works_without_script(browser: Browser, site: str) -> None:
    pages = NodePages(browser.open(f"{site}/nodes/knocking", KNOWN, script=False), site)
    row = pages.page.locator("#knocks tbody tr", has_text="US07")
    row.get_by_text("Admit…").click()
    row.locator("dialog button.primary").click()
    assert pages.page.locator("h1").inner_text() == "us07"
    pages.page.click("#block-open")
    pages.page.click("#block-do")
    assert pages.page.locator("#node .lead .pill").inner_text() == "blocked"
    pages.page.click("#edit")
    pages.page.fill("#port", "x")
    pages.page.click("#save")
    assert pages.page.locator("#port-wrong").inner_text() == "Type a whole number."
    pages.go("/nodes/pacs")
    pages.page.click("#test")
    assert pages.page.locator("h1").inner_text() == "pacs"
    pages.page.close()


def test_the_question_fits_on_a_narrow_screen(pages: NodePages) -> None:
    pages.screen.resize(NARROW)
    pages.go("/nodes/knocking")
    row = pages.page.locator("#knocks tbody tr", has_text="US07")
    row.get_by_text("Admit…").click()
    expect(row.locator("dialog[open]")).to_be_visible()
    assert pages.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    looking.is_accessible(pages.screen, "dark")


def test_a_device_is_admitted_by_keys_alone(pages: NodePages) -> None:
    pages.go("/nodes/knocking")
    opener = pages.page.locator("#knocks tbody tr", has_text="US07").get_by_text("Admit…")
    known = opener.get_attribute("id") or ""
    stem = known.removesuffix("-admit-open")
    opener.focus()
    pages.press("Enter")
    assert pages.screen.focused() == f"{stem}-name"
    pages.press("Escape")
    assert pages.screen.focused() == known
    pages.press("Enter", "Tab")
    assert pages.screen.focused() == f"{stem}-like"
    pages.page.keyboard.type("ct1")
    pages.press("Tab", "Tab", "Tab")
    assert pages.screen.focused() == f"{stem}-admit-do"
    pages.press("Enter")
    expect(pages.page.locator("h1")).to_have_text("us07")
    expect(pages.page.locator("pre")).to_contain_text('charset = "ISO_IR 100"')
    looking.is_quiet(pages.screen)


def test_a_node_is_added_and_edited_by_keys_alone(pages: NodePages) -> None:
    pages.page.focus("#add")
    pages.press("Enter")
    expect(pages.page.locator("h1")).to_have_text("Add a node")
    pages.page.focus("#name")
    pages.page.keyboard.type("mr3")
    pages.press("Enter")
    expect(pages.page.locator("#ae_title-wrong")).to_be_visible()
    assert pages.screen.focused() == "name"
    pages.press("Tab", "Tab")
    assert pages.screen.focused() == "ae_title"
    pages.page.keyboard.type("MR03")
    pages.press("Enter")
    expect(pages.page.locator("h1")).to_have_text("mr3")
    pages.page.focus("#edit")
    pages.press("Enter")
    expect(pages.page.locator("h1")).to_have_text("Edit mr3")
    pages.page.focus("#host")
    pages.page.keyboard.type("10.0.0.3")
    pages.press("Enter")
    expect(pages.page.locator("pre")).to_contain_text("10.0.0.3")
    looking.is_quiet(pages.screen)


def changed(pages: NodePages) -> int:
    """Change a node once more; the version of before."""
    with httpx.Client(base_url=pages.web, headers=KNOWN) as http:
        before: int = http.get("/api/v1/nodes/history").json()[0]["version"]
        body = {"changes": {"host": "10.0.0.99"}, "reason": "moved"}
        assert http.patch("/api/v1/nodes/ct1", json=body).status_code == 200
    return before


def test_history_compares_and_goes_back_by_keys_alone(pages: NodePages) -> None:
    before = changed(pages)
    pages.go("/nodes/history")
    pages.page.focus("#from")
    pages.page.keyboard.type(str(before))
    pages.press("Tab")
    assert pages.screen.focused() == "to"
    pages.page.keyboard.type(str(before + 1))
    pages.press("Tab")
    assert pages.screen.focused() == "compare"
    pages.press("Enter")
    expect(pages.page.locator("#node_history")).to_contain_text(f"From version {before} to {before + 1}")
    pages.page.focus(f"#back-{before}-open")
    pages.press("Enter")
    assert pages.screen.focused() == f"back-{before}-reason"
    pages.page.keyboard.type("it was right")
    pages.press("Enter")
    expect(pages.page.locator("#note")).to_have_text(f"Version {before} is in force again, as {before + 2}.")
    assert pages.screen.focused() not in ("", "body")
    looking.is_quiet(pages.screen)


def test_history_goes_back_without_script(browser: Browser, pages: NodePages) -> None:
    before = changed(pages)
    plain = NodePages(browser.open(f"{pages.web}/nodes/history", KNOWN, script=False), pages.web)
    plain.page.fill("#from", str(before))
    plain.page.fill("#to", str(before + 1))
    plain.page.click("#compare")
    assert f"From version {before} to {before + 1}" in plain.page.inner_text("#node_history")
    plain.page.click(f"#back-{before}-open")
    plain.page.click(f"#back-{before}-do")
    assert plain.page.inner_text("#note") == f"Version {before} is in force again, as {before + 2}."
    plain.page.close()
