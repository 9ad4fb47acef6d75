"""Debian's Chromium: one for all files of a folder, with empty profiles for each file, and a new page for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Self

from playwright.sync_api import Browser as Process
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright

from support.peers.tools import tool
from support.scale import FULL

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, PHONE, NARROW = (1280, 900), (390, 800), (320, 640)
MOST_TABS = 300  # of a page


class Screen:
    """A page of the browser that notes what it complains about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def resize(self, size: tuple[int, int]) -> Self:
        """Give the window a size in CSS pixels."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        return self

    def focused(self) -> str:
        """The id of the element that has the focus."""
        return str(self.page.evaluate("document.activeElement.id"))


class Hand:
    """A person with a mouse, or with keys alone, who goes from one part of the page to the next by Tab."""

    def __init__(self, page: Page, *, keys: bool) -> None:
        self._page, self._keys = page, keys

    def press(self, selector: str) -> None:
        """Press a link or a button."""
        if self._keys:
            self._go(selector)
            self._page.keyboard.press("Enter")
        else:
            self._page.click(selector)

    def choose(self, selector: str, word: str) -> None:
        """Choose from a list."""
        if self._keys:
            self._go(selector)
            self._page.keyboard.type(word)
        else:
            self._page.select_option(selector, word)

    def write(self, selector: str, text: str) -> None:
        """Type a text, and Enter."""
        if self._keys:
            self._go(selector)
            self._page.keyboard.type(text)
        else:
            self._page.fill(selector, text)
        self._page.keyboard.press("Enter")

    def _go(self, selector: str) -> None:
        """Press Tab until an element has the focus."""
        wanted = self._page.locator(selector)
        for _ in range(MOST_TABS):
            if wanted.evaluate("(one) => one === document.activeElement"):
                return
            self._page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {selector}")


class Browser:
    """Chromium with profiles of its own: who is signed in elsewhere is not so here. Pages of a profile share cookies.

    `headers` go with every request of a page; `session` is the text of the cookie of somebody who is signed in.
    """

    def __init__(self, process: Process) -> None:
        self._contexts: dict[tuple[bool, str], BrowserContext] = {}
        self._process = process

    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        size: tuple[int, int] = WIDE,
        *,
        script: bool = True,
        session: str = "",
    ) -> Screen:
        """A new page at a URL. `script`: whether the browser runs any."""
        screen = Screen(self._context(script, session).new_page()).resize(size)
        screen.page.set_extra_http_headers(dict(headers or {}))
        screen.page.goto(url)
        return screen

    def _context(self, script: bool, session: str) -> BrowserContext:
        if (script, session) not in self._contexts:
            context = self._contexts[script, session] = self._process.new_context(java_script_enabled=script)
            if session:
                cookie = {"name": "broker_session", "value": session, "domain": "127.0.0.1", "path": "/"}
                context.add_cookies([cookie])  # type: ignore[list-item]
        return self._contexts[script, session]

    def close(self) -> None:
        """Forget all profiles, and close their pages."""
        for context in self._contexts.values():
            context.close()


_running: list[Process] = []


def _program() -> str:
    """Chromium; beside full size without its windows, if that is installed: a page then costs a third.

    Six pages of 300 lines at three widths took 2.8 s of processor in `chromium-headless-shell`, 7.7 s in `chromium`.
    """
    shell = None if FULL else shutil.which("chromium-headless-shell")
    return shell or tool("chromium")


@contextmanager
def one_chromium() -> Iterator[Process]:
    """Start Chromium, and end it. It holds an event loop in this thread: there can be one at a time."""
    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=_program(), args=FLAGS)
        _running.append(process)
        yield process
        _running.remove(process)
        process.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Fresh profiles of the Chromium that runs; of one of its own if none does."""
    with nullcontext(_running[0]) if _running else one_chromium() as process:
        browser = Browser(process)
        yield browser
        browser.close()
