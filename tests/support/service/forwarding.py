"""A broker with a destination that remembers what it got."""

from __future__ import annotations

from hashlib import sha256

from support.dicom.objects import Encoded
from support.dicom.raw import RawScu
from support.peers.tools import wait_until
from support.service.site import Site


class Archive:
    """A broker that sends all it takes to a destination, which keeps the SHA-256 of each data set."""

    def __init__(self, site: Site, received: set[bytes]) -> None:
        self.site, self._received = site, received

    def store(self, thing: Encoded, size: int = 60_000) -> int | None:
        """Status of a C-STORE."""
        with RawScu(self.site.dicom, timeout=120) as modality:
            assert modality.associate([(thing.sop_class, thing.transfer_syntax)])[0] == 2
            return modality.store(thing, size=size)

    def passes(self, thing: Encoded) -> None:
        """The object is taken, and reaches the destination byte by byte."""
        assert self.store(thing) == 0
        wait_until(lambda: sha256(thing.data).digest() in self._received, 20, "it is forwarded as it came")

    def refuses(self, thing: Encoded, status: int = 0xC000) -> None:
        """The object is refused and not kept, and the next one is welcome."""
        assert self.store(thing) == status
        query = "select count(*) from instance where sop_instance_uid = ?"
        assert self.site.rows(query, thing.sop_instance) == [(0,)]
