"""Debian's Chromium: one for a file of tests, with an empty profile that ends with it; a new page for each test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from playwright.sync_api import Browser as Process
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright

from support.peers.tools import tool

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, PHONE, NARROW = (1280, 900), (390, 800), (320, 640)


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


class Browser:
    """One Chromium. Pages are opened as somebody: `headers` go with every request. They share cookies."""

    def __init__(self, process: Process) -> None:
        self._contexts: dict[bool, BrowserContext] = {}
        self._process = process

    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        size: tuple[int, int] = WIDE,
        *,
        script: bool = True,
    ) -> Screen:
        """A new page at a URL. `script`: whether the browser runs any."""
        if script not in self._contexts:
            self._contexts[script] = self._process.new_context(java_script_enabled=script)
        screen = Screen(self._contexts[script].new_page()).resize(size)
        screen.page.set_extra_http_headers(dict(headers or {}))
        screen.page.goto(url)
        return screen


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=tool("chromium"), args=FLAGS)
        yield Browser(process)
        process.close()
