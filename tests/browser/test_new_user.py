"""The broker as somebody meets it who has just installed it: an empty folder, a browser, and a modality (findscu)."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.peers.tools import ENVIRONMENT, run, wait_until
from support.service import program
from support.service.people import PASSWORD
from support.web import looking
from support.web.browser import Browser

PORTS = {f"BROKER_{door}__PORT": "0" for door in ("DICOM", "HL7", "WEB")}  # the usual ones may be in use here
LINK = re.compile(r"http://\S+/first/\S+")
ORDERS = """accession,patient_id,name,birth_date,sex,modality,station,date,time,description
A4711,P80012,Müller^Käthe,1976-02-29,F,US,US07,2030-03-12,10:30,Ultrasound abdomen
"""


@dataclass(frozen=True)
class Installed:
    """`broker serve` in a folder, and what its terminal shows."""

    folder: Path
    terminal: Path

    def printed(self) -> str:
        """Everything so far."""
        return self.terminal.read_text(encoding="utf-8")

    @property
    def dicom(self) -> str:
        """The port of the worklist."""
        return str(json.loads((self.folder / "broker-data" / "listeners.json").read_text())["dicom"][0][1])

    def command(self, *words: str) -> str:
        """What a `broker` command says in this folder."""
        done = program.run(*words, folder=self.folder, environment=PORTS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def findscu(self) -> subprocess.CompletedProcess[str]:
        """The modality asks for what is planned on it."""
        keys = ("PatientName", "AccessionNumber", "SpecificCharacterSet",
                "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=US07")  # fmt: skip
        words = [word for key in keys for word in ("-k", key)]
        return run("findscu", "-v", "-W", "-aet", "US07", "-aec", "BROKER", "127.0.0.1", self.dicom, *words)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    here = Installed(tmp_path / "empty", tmp_path / "terminal")
    here.folder.mkdir()
    with here.terminal.open("wb") as terminal:
        process = program.start(
            "serve", folder=here.folder, environment=ENVIRONMENT | PORTS, stdout=terminal, stderr=terminal
        )
    try:
        wait_until(lambda: LINK.search(here.printed()) or process.poll() is not None, 60, "the link is printed")
        yield here
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, here.printed()
    finally:
        process.kill()


def typed(page: Page, *texts: str) -> None:
    """Type into the field that has the focus, and into those behind it."""
    for place, text in enumerate(texts):
        if place:
            page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_from_an_empty_folder_to_an_answered_modality(installed: Installed, browser: Browser) -> None:
    link = LINK.search(installed.printed())
    assert link is not None
    screen = browser.open(link[0], {"Accept-Language": "en"})
    page = screen.page
    assert screen.focused() == "name"
    typed(page, "anna.keller", PASSWORD, PASSWORD)
    expect(page.locator("h1")).to_have_text("Now")
    expect(page.locator("#verdict-word")).to_have_text("All well")

    refused = installed.findscu()
    assert refused.returncode != 0
    assert "Association Rejected" in refused.stdout
    knocks = page.locator(".needs li", has_text="device knocks")
    expect(knocks).to_be_visible(timeout=30_000)  # by itself
    page.click("nav.pages >> text=Nodes")
    page.click("#add")
    page.fill("#name", "us-of-the-ward")
    page.fill("#ae_title", "US01")
    page.check("#role-modality")
    page.fill("#more", '[device]\ncharset = "ISO_IR 100"')
    page.click("#save")
    expect(page.locator("#note")).to_be_visible()
    page.click("nav.pages >> text=Now")
    knocks.get_by_role("link").click()
    row = page.locator("#knocks tbody tr", has_text="US07")
    expect(row).to_contain_text("It is no node.")
    row.get_by_text("Admit…").click()
    row.locator("select[name=like]").select_option("us-of-the-ward")
    row.locator("dialog[open] button").click()
    expect(page.locator("#note")).to_contain_text("US07 is let in from now on, without a restart.")
    (installed.folder / "orders.csv").write_text(ORDERS, encoding="utf-8")
    installed.command("import", "orders.csv")

    answered = installed.findscu()
    assert answered.returncode == 0
    assert "A4711" in answered.stdout
    assert "ISO_IR 100" in answered.stdout  # as its profile says
    page.click("nav.pages >> text=Now")
    seen = page.locator("section[aria-labelledby=nodes-title] tr", has_text="us07")
    expect(seen).to_contain_text("in contact", timeout=30_000)
    assert {file.name for file in installed.folder.iterdir()} == {"broker-data", "orders.csv"}
    looking.is_quiet(screen)
