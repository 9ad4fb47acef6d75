"""The pictures of the README: two pages of a hospital. With `--update-golden` they are made again."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import expect
from support.service.rest import TOKEN, application
from support.tree import ROOT
from support.web import looking
from support.web.browser import WIDE, Browser, Screen
from support.web.hospital import DEVICES, Furnished, Hospital, furnish

from broker.settings import load
from broker.store.db.database import Database

IMAGES = ROOT / "deploy" / "images"
LARGEST = 200_000  # bytes


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    hospital = Hospital(trouble=False)
    return application(database, load(None), source=hospital.source, lane_rates=hospital.lane_rates)


@pytest.fixture(scope="module")
def furnished(web: str, database: Database) -> Furnished:
    with httpx.Client(base_url=web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http:
        return furnish(database, http)


def opened(browser: Browser, url: str, session: str, scheme: Literal["light", "dark"]) -> Screen:
    screen = browser.open("about:blank", {"Accept-Language": "en"}, WIDE, session=session)
    screen.page.emulate_media(color_scheme=scheme)
    screen.page.goto(url)
    expect(screen.page.locator("#pulse.ok")).to_have_text("All well")
    return screen


def keep(screen: Screen, file: Path, config: pytest.Config) -> None:
    """The README shows a picture of this size; make it if that is asked for."""
    picture = screen.page.screenshot(animations="disabled", caret="hide")
    if config.getoption("--update-golden"):
        file.write_bytes(picture)
    kept = file.read_bytes()
    assert struct.unpack(">II", kept[16:24]) == struct.unpack(">II", picture[16:24])
    assert len(kept) < LARGEST
    assert f"(deploy/images/{file.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_now(web: str, browser: Browser, furnished: Furnished, pytestconfig: pytest.Config) -> None:
    screen = opened(browser, web, furnished.session, "light")
    assert screen.page.locator("#verdict-word").inner_text() == "All well"
    expect(screen.page.locator("live-plot polyline")).to_have_count(4)
    looking.is_quiet(screen)
    keep(screen, IMAGES / "now.png", pytestconfig)


def test_nodes(web: str, browser: Browser, furnished: Furnished, pytestconfig: pytest.Config) -> None:
    screen = opened(browser, f"{web}/nodes", furnished.session, "dark")
    assert screen.page.locator("#nodes tbody tr").count() == len(DEVICES) + 1
    looking.is_quiet(screen)
    keep(screen, IMAGES / "nodes.png", pytestconfig)
