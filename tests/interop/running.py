"""The broker and what it delivers to, as the cells of the matrix see them."""

from __future__ import annotations

from dataclasses import dataclass

import support.peers.pausing  # noqa: F401
from support.dicom.objects import Encoded
from support.peers.tools import wait_until
from support.service.site import Site


@dataclass(frozen=True)
class Running:
    """The broker, and what a pynetdicom provider has received from it, which gets every object."""

    site: Site
    received: dict[str, Encoded]

    def delivered(self, objects: list[Encoded]) -> list[Encoded]:
        """The same objects as they come out of the broker."""
        wanted = [item.sop_instance for item in objects]
        wait_until(lambda: all(uid in self.received for uid in wanted), 30, "the broker has delivered")
        return [self.received[uid] for uid in wanted]
