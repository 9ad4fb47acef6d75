"""What every page must be: it fits, everybody can use it, it complains about nothing."""

from __future__ import annotations

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe

from support.scale import FULL
from support.web.browser import NARROW, PHONE, WIDE, Screen

Scheme = Literal["light", "dark"]
_AXE = Axe()
_RUN = """async ([part, options]) =>
  (await axe.run(part ? document.querySelector(part) : document, options)).violations"""


def fits(screen: Screen) -> None:
    """Nothing lies beside the window, on a telephone and on a narrow one."""
    for size in (NARROW, PHONE, WIDE):
        screen.resize(size)
        over = screen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, (screen.page.url, size, over)


def is_accessible(screen: Screen, *schemes: Scheme, part: str = "") -> None:
    """No violation that axe-core finds, in colour schemes; without any in light, and in full size in dark too.

    A further scheme differs by its colours alone: of these their contrast is looked at. `part`: a selector of what is
    looked at in place of the whole page, as a question that makes the rest inert.
    """
    page = screen.page
    for number, scheme in enumerate(schemes or (("light", "dark") if FULL else ("light",))):
        page.emulate_media(color_scheme=scheme)
        if not page.evaluate("typeof axe === 'object'"):
            page.evaluate(_AXE.axe_script)
        only: dict[str, Any] = {"runOnly": ["color-contrast"]} if number and not FULL else {}
        found = page.evaluate(_RUN, [part, {"resultTypes": ["violations"], **only}])
        told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
        assert told == [], (page.url, scheme, told)
    page.emulate_media(color_scheme="light")


def is_quiet(screen: Screen) -> None:
    """The console has no error and no warning. That a form was refused (422) is one for Chromium only."""
    assert [text for text in screen.complaints if "status of 422" not in text] == []


# all that Tab must reach, in its order
REACHABLE = """() => {
  const name = (part) => part.id || part.getAttribute("href") || part.textContent.trim().slice(0, 40);
  window.describe = (part) => `${part.tagName} ${name(part)}`;
  const kinds = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  return [...document.querySelectorAll(kinds)]
    .filter((part) => part.tabIndex >= 0 && !part.disabled && part.checkVisibility({ visibilityProperty: true }))
    .map(window.describe);
}"""

# notes what gets the focus, whether a mark shows it, and whether nothing covers it; begins with the first element
WATCH_THE_FOCUS = """() => {
  const between = (low, value, high) => Math.min(Math.max(low, value), high);
  window.reached = [];
  document.addEventListener("focusin", ({ target }) => {
    const style = getComputedStyle(target), box = target.getBoundingClientRect();
    const x = between(0, box.left + box.width / 2, innerWidth - 1);
    const y = between(0, box.top + Math.min(box.height / 2, 20), innerHeight - 1);
    const top = document.elementFromPoint(x, y);
    window.reached.push({
      what: window.describe(target),
      marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
      seen: box.width > 0 && (target.contains(top) || (top?.contains(target) ?? false)),
    });
  });
  document.querySelector(".skip").focus();
}"""
