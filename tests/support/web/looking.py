"""What every page must be: it fits, everybody can use it, it complains about nothing."""

from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe

from support.web.browser import NARROW, PHONE, WIDE, Screen

_AXE = Axe()


def fits(screen: Screen) -> None:
    """Nothing lies beside the window, on a telephone and on a narrow one."""
    for size in (NARROW, PHONE, WIDE):
        screen.resize(size)
        over = screen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, (screen.page.url, size, over)


def is_accessible(screen: Screen, *schemes: Literal["light", "dark"]) -> None:
    """No violation that axe-core finds, in colour schemes; without any in both."""
    for scheme in schemes or ("light", "dark"):
        screen.page.emulate_media(color_scheme=scheme)
        found = _AXE.run(screen.page).response["violations"]
        told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
        assert told == [], (screen.page.url, scheme, told)
    screen.page.emulate_media(color_scheme="light")


def is_quiet(screen: Screen) -> None:
    """The console has no error and no warning. That a form was refused (422) is one for Chromium only."""
    assert [text for text in screen.complaints if "status of 422" not in text] == []
