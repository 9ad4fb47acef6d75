"""Simulates a PACS: takes every object, or fails as it is told; keeps only the checksum of what it takes."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from weakref import WeakKeyDictionary

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.provider import Provider
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.admission import CALLED_AE_UNKNOWN, ConnectionOrigin, Rejection
from broker.dicom.wire.connection import ConnectionLost
from broker.dicom.wire.negotiation import AssociationRequest
from broker.simulate.sink_faults import SinkFaults

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


@dataclass(frozen=True, slots=True)
class SinkAnswer:
    """What became of an object that came: its status, None if its association was ended; its length in bytes."""

    sop_instance: str
    status: int | None
    length: int


class VirtualPacs:
    """A storage SCP that can go away and come back on the same port."""

    def __init__(
        self,
        ae_title: str,
        on_arrival: Callable[[], None] = lambda: None,
        *,
        faults: SinkFaults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        on_answer: Callable[[SinkAnswer], None] = lambda answer: None,
    ) -> None:
        """`on_arrival` is called for each object that is taken, `on_answer` for each that came. Port 0: any."""
        self.ae_title = ae_title
        self.kept: dict[str, Kept] = {}
        self.host, self.port = host, port
        self._on_arrival, self._on_answer = on_arrival, on_answer
        self._faults = faults or SinkFaults()
        self._tried: set[str] = set()
        self._answered: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        self._provider: Provider | None = None

    async def start(self) -> None:
        """Listen; on the same port as before if there was one. Raises OSError."""
        storage = Service(uids.STORAGE_CLASSES, uids.for_storage, {cmd.C_STORE_RQ: self._store})
        echo = Service(
            frozenset({uids.VERIFICATION}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE), {cmd.C_ECHO_RQ: _echo}
        )
        provider = Provider(self.host, self.port, admission=self, services=[storage, echo], known=lambda address: True)
        await provider.start()
        self._provider, self.port = provider, provider.port

    async def stop(self) -> None:
        """Go away at once: running associations are aborted. What arrived is remembered."""
        provider, self._provider = self._provider, None
        if provider is not None:
            await provider.stop(0)

    async def serve(self, listening: Callable[[], None]) -> None:
        """Be there until SIGINT or SIGTERM; `listening` is called once it is. Raises OSError."""
        over = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        await self.start()
        listening()
        await over.wait()
        await self.stop()

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        """Anyone who calls this PACS by its name."""
        return None if request.called_ae == self.ae_title else CALLED_AE_UNKNOWN

    async def _store(self, request: Request) -> None:
        """Read an object and answer it. Raises ConnectionLost where a fault ends the association."""
        faults, association = self._faults, request.association
        assert isinstance(association, Association)
        sop_class, sop_instance = request.command.sop_class, request.command.sop_instance
        if faults.never_read:
            await asyncio.Event().wait()  # until the peer ends the association
        if faults.ends(sop_class, sop_instance):
            self._on_answer(SinkAnswer(sop_instance, None, 0))
            association.abort()
            raise ConnectionLost("the simulated PACS ends this association")
        digest, length = hashlib.sha256(), 0
        while piece := await request.data.read(_READ):
            digest.update(piece)
            length += len(piece)
        if faults.delay:
            await asyncio.sleep(faults.delay)
        status = faults.status(sop_class, sop_instance, again=sop_instance in self._tried)
        self._tried.add(sop_instance)
        if taken := st.is_success_or_warning(status):
            self._keep(request, length, digest.hexdigest())
        await request.respond(status)
        self._on_answer(SinkAnswer(sop_instance, status, length))
        if taken:
            self._on_arrival()
        self._answered[association] = number = self._answered.get(association, 0) + 1
        if number == faults.disconnect_after:
            association.abort()

    def _keep(self, request: Request, length: int, sha256: str) -> None:
        new = Kept(request.command.sop_class, request.context.transfer_syntax, length, sha256)
        before = self.kept.get(request.command.sop_instance)
        if before is not None:
            changed = before.changed or before.sha256 != new.sha256
            new = replace(new, arrivals=before.arrivals + 1, changed=changed)
        self.kept[request.command.sop_instance] = new


async def _echo(request: Request) -> None:
    await request.respond(st.SUCCESS)
