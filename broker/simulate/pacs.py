"""Simulates a PACS: takes every object, keeps only its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from broker.dicom import uids
from broker.dicom.association.provider import Provider
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.admission import CALLED_AE_UNKNOWN, ConnectionOrigin, Rejection
from broker.dicom.wire.negotiation import AssociationRequest

_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """Facts of an object that arrived. `changed`: it came more than once, with different bytes."""

    sop_class: str
    transfer_syntax: str
    length: int
    sha256: str
    _: KW_ONLY
    arrivals: int = 1
    changed: bool = False


class VirtualPacs:
    """A storage SCP on 127.0.0.1 that can go away and come back on the same port."""

    def __init__(self, ae_title: str, on_arrival: Callable[[], None] = lambda: None) -> None:
        self.ae_title = ae_title
        self.kept: dict[str, Kept] = {}
        self.port = 0
        self._on_arrival = on_arrival
        self._provider: Provider | None = None

    async def start(self) -> None:
        """Listen; on the same port as before if there was one. Raises OSError."""
        storage = Service(uids.STORAGE_CLASSES, uids.for_storage, {cmd.C_STORE_RQ: self._store})
        echo = Service(
            frozenset({uids.VERIFICATION}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE), {cmd.C_ECHO_RQ: _echo}
        )
        provider = Provider("127.0.0.1", self.port, admission=self, services=[storage, echo])
        await provider.start()
        self._provider, self.port = provider, provider.port

    async def stop(self) -> None:
        """Go away at once: running associations are aborted. What arrived is remembered."""
        provider, self._provider = self._provider, None
        if provider is not None:
            await provider.stop(0)

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        """Anyone who calls this PACS by its name."""
        return None if request.called_ae == self.ae_title else CALLED_AE_UNKNOWN

    async def _store(self, request: Request) -> None:
        digest, length = hashlib.sha256(), 0
        while piece := await request.data.read(_READ):
            digest.update(piece)
            length += len(piece)
        new = Kept(request.command.sop_class, request.context.transfer_syntax, length, digest.hexdigest())
        before = self.kept.get(request.command.sop_instance)
        if before is not None:
            changed = before.changed or before.sha256 != new.sha256
            new = replace(new, arrivals=before.arrivals + 1, changed=changed)
        self.kept[request.command.sop_instance] = new
        await request.respond(st.SUCCESS)
        self._on_arrival()


async def _echo(request: Request) -> None:
    await request.respond(st.SUCCESS)
