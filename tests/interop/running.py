"""The broker and what it delivers to, as the cells of the matrix see them."""

from __future__ import annotations

from dataclasses import dataclass

from support.archive import Archive
from support.objects import Encoded
from support.site import Site
from support.tools import wait_until


@dataclass(frozen=True)
class Running:
    """The broker, and the archive that it delivers every object to."""

    site: Site
    archive: Archive

    def delivered(self, objects: list[Encoded]) -> list[Encoded]:
        """The same objects as they come out of the broker."""
        wanted = [item.sop_instance for item in objects]
        wait_until(lambda: all(uid in self.archive.objects for uid in wanted), 30, "the broker has delivered")
        return [self.archive.objects[uid] for uid in wanted]
