"""A person who asks at three in the morning, with the start page before them."""

from __future__ import annotations

from support.service.site import Site
from support.web.browser import Browser

TOKEN = "a-token-of-the-tests-0123456789"


class AtNight:
    """A person who begins at the start page, and whose clicks are counted."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self.page = browser.open(site.web, {"Authorization": f"Bearer {TOKEN}", "Accept-Language": "en"}).page
        self.clicks = 0

    def click(self, selector: str) -> None:
        """One more, of two at most."""
        self.clicks += 1
        assert self.clicks <= 2
        self.page.click(selector)

    def row(self, table: str, name: str) -> str:
        """A row of a table of the start page, as it is read."""
        rows = self.page.locator(f"section[aria-labelledby={table}-title] tbody tr")
        return rows.filter(has=self.page.get_by_role("rowheader", name=name)).inner_text()

    def read(self) -> str:
        """What the page says."""
        return " ".join(self.page.locator("main").inner_text().split())


def told(site: Site, *command: str, code: int = 0) -> str:
    """What one command says."""
    done = site.command(*command)
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join(done.stdout.split())
