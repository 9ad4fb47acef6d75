"""A small archive on the wire library of the product: every DIMSE service as provider, objects and instances in memory.

It runs on a thread of its own, so that foreign programs and blocking tests can talk to it.
"""

from __future__ import annotations

import asyncio
import fnmatch
import io
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.provider import Provider
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Handler, Request, Service
from broker.dicom.wire.admission import ConnectionOrigin, Grant, Rejection
from broker.dicom.wire.negotiation import AssociationRequest
from broker.errors import PeerFault
from support.dicom.objects import Encoded, fresh_uid

FIND = {"patient": "1.2.840.10008.5.1.4.1.2.1.1", "study": "1.2.840.10008.5.1.4.1.2.2.1"}
MOVE = {"patient": "1.2.840.10008.5.1.4.1.2.1.2", "study": "1.2.840.10008.5.1.4.1.2.2.2"}
GET = {"patient": "1.2.840.10008.5.1.4.1.2.1.3", "study": "1.2.840.10008.5.1.4.1.2.2.3"}
MPPS, MPPS_RETRIEVE = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.3.1.2.3.4"
COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
PRINT = "1.2.840.10008.5.1.1.9"  # Basic Grayscale Print Management Meta
FILM_SESSION, FILM_BOX, IMAGE_BOX = "1.2.840.10008.5.1.1.1", "1.2.840.10008.5.1.1.2", "1.2.840.10008.5.1.1.4"
PRINTER, PRINTER_INSTANCE = "1.2.840.10008.5.1.1.16", "1.2.840.10008.5.1.1.17"
LEVELS = {
    "PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID",
}  # fmt: skip
LIMIT = 64 * 1024 * 1024  # bytes of an object kept here
NATIVE = uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE)


def to_bytes(ds: Dataset, syntax: str) -> bytes:
    """A data set in a native little endian syntax."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == uids.IMPLICIT_LE
    write_dataset(out, ds)
    return out.getvalue()


def from_bytes(data: bytes, syntax: str) -> Dataset:
    """A data set out of a native little endian syntax."""
    return read_dataset(io.BytesIO(data), syntax == uids.IMPLICIT_LE, True)


def matches(keys: Dataset, found: Dataset) -> bool:
    """Single value, list of UID and wildcard matching (PS3.4 C.2.2.2)."""
    for key in keys:
        if key.tag.group < 8 or key.keyword in ("QueryRetrieveLevel", "SpecificCharacterSet") or key.VR == "SQ":
            continue
        wanted = [str(v) for v in key.value] if key.VM > 1 else [str(key.value or "")]
        value = str(found.get(key.keyword, ""))
        if wanted != [""] and not any(fnmatch.fnmatchcase(value, pattern) for pattern in wanted):
            return False
    return True


class Archive:
    """What it holds, and what was done to it. `nodes`: ports of other AE titles on this machine."""

    def __init__(self, ae_title: str = "ARCHIVE") -> None:
        self.ae_title = ae_title
        self.objects: dict[str, Encoded] = {}
        self.instances: dict[str, Dataset] = {}  # normalized ones, by SOP Instance UID
        self.done: list[tuple[str, str]] = []  # service and SOP Instance UID
        self.reports: list[tuple[int, Dataset]] = []  # N-EVENT-REPORTs to us
        self.originators: list[tuple[str, int]] = []  # of stores that a C-MOVE caused
        self.nodes: dict[str, int] = {}
        self.associations: list[Association] = []  # those that brought a request
        self.port = 0
        self._reporting: set[asyncio.Task[None]] = set()
        self._reported = asyncio.Event()

    def put(self, *objects: Encoded) -> None:
        """Hold these."""
        self.objects.update({item.sop_instance: item for item in objects})

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant:
        """Everybody may come in, and is believed to be who it says."""
        return Grant(identity_checked=True)

    # --- composite services ------------------------------------------------------------------------------

    async def echo(self, request: Request) -> None:
        """C-ECHO."""
        self.done.append(("C-ECHO", ""))
        await request.respond(st.SUCCESS)

    async def store(self, request: Request) -> None:
        """C-STORE: the bytes as they came."""
        uid, command = request.command.sop_instance, request.command
        data = await request.data.read_all(LIMIT)
        self.put(Encoded(command.sop_class, uid, request.context.transfer_syntax, data))
        if originator := command.text(cmd.MOVE_ORIGINATOR_AE):
            self.originators.append((originator, command.number(cmd.MOVE_ORIGINATOR_MESSAGE_ID)))
        self.done.append(("C-STORE", uid))
        await request.respond(st.SUCCESS)

    async def find(self, request: Request) -> None:
        """C-FIND at any level of both roots."""
        syntax = request.context.transfer_syntax
        keys = from_bytes(await request.data.read_all(LIMIT), syntax)
        unique = LEVELS[keys.QueryRetrieveLevel]
        self.done.append(("C-FIND", ""))
        answers = {str(ds.get(unique, "")): ds for _, ds in self._selected(keys)}
        for found in answers.values():
            answer = Dataset()
            for key in keys:
                if key.VR != "SQ":
                    answer.add_new(key.tag, key.VR, found.get(key.keyword, ""))
            answer.QueryRetrieveLevel, answer.RetrieveAETitle = keys.QueryRetrieveLevel, self.ae_title
            if request.cancelled:
                await request.respond(st.CANCEL)
                return
            await request.respond(st.PENDING, to_bytes(answer, syntax))
        await request.respond(st.SUCCESS)

    async def move(self, request: Request) -> None:
        """C-MOVE to a known node, over one association, each object in its own transfer syntax."""
        keys = from_bytes(await request.data.read_all(LIMIT), request.context.transfer_syntax)
        destination = request.command.text(cmd.MOVE_DESTINATION)
        self.done.append(("C-MOVE", destination))
        if destination not in self.nodes:
            await request.respond(st.MOVE_DESTINATION_UNKNOWN)
            return
        items = [item for item, _ in self._selected(keys)]
        pairs = dict.fromkeys((item.sop_class, item.transfer_syntax) for item in items)
        remote = Remote("127.0.0.1", self.nodes[destination], destination, self.ae_title)
        originator = (request.peer.calling_ae, request.command.message_id)
        async with associate(remote, [Proposal(sop_class, (syntax,)) for sop_class, syntax in pairs]) as association:

            async def send(item: Encoded) -> bool:
                context = association.context(item.sop_class, item.transfer_syntax)
                if context is None:
                    return False
                answer = await association.store(context, item.sop_instance, item.data, originator=originator)
                return st.is_success_or_warning(answer.status)

            await self._each(request, items, send)

    async def get(self, request: Request) -> None:
        """C-GET over the association that asks."""
        keys = from_bytes(await request.data.read_all(LIMIT), request.context.transfer_syntax)
        self.done.append(("C-GET", ""))

        async def send(item: Encoded) -> bool:
            context = request.association.context(item.sop_class, item.transfer_syntax)
            if context is None:
                return False
            answer = await request.association.store(context, item.sop_instance, item.data)
            return st.is_success_or_warning(answer.status)

        await self._each(request, [item for item, _ in self._selected(keys)], send)

    async def _each(
        self, request: Request, items: Sequence[Encoded], send: Callable[[Encoded], Awaitable[bool]]
    ) -> None:
        """Sub-operations, with a pending response after each but the last (PS3.4 C.4.2.1.6)."""
        completed, failed = 0, Dataset()
        failed.FailedSOPInstanceUIDList = []
        for position, item in enumerate(items, 1):
            if request.cancelled:
                break
            if await send(item):
                completed += 1
            else:
                failed.FailedSOPInstanceUIDList.append(item.sop_instance)
            if position < len(items):
                await request.respond(st.PENDING, more=_counts(len(items) - position, completed, failed))
        left = len(items) - completed - len(failed.FailedSOPInstanceUIDList)
        counts = _counts(left, completed, failed)
        if left:
            await request.respond(st.CANCEL, more=counts)
            return
        del counts[cmd.REMAINING]
        if failed.FailedSOPInstanceUIDList:
            data = to_bytes(failed, request.context.transfer_syntax)
            await request.respond(st.SUB_OPERATIONS_WARNING, data, more=counts)
        else:
            await request.respond(st.SUCCESS, more=counts)

    def _selected(self, keys: Dataset) -> Iterator[tuple[Encoded, Dataset]]:
        for item in list(self.objects.values()):
            ds = pydicom.dcmread(io.BytesIO(item.part10()), stop_before_pixels=True)
            if matches(keys, ds):
                yield item, ds

    # --- normalized services -----------------------------------------------------------------------------

    async def create(self, request: Request) -> None:
        """N-CREATE; a film box comes with one image box."""
        data = await request.data.read_all(LIMIT)
        command, syntax = request.command, request.context.transfer_syntax
        uid = command.sop_instance or fresh_uid()
        ds = self.instances[uid] = from_bytes(data, syntax)
        if command.sop_class == FILM_BOX:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = IMAGE_BOX, fresh_uid()
            ds.ReferencedImageBoxSequence = [item]
            self.instances[item.ReferencedSOPInstanceUID] = Dataset()
        self.done.append(("N-CREATE", uid))
        await request.respond(st.SUCCESS, to_bytes(ds, syntax), more={cmd.AFFECTED_SOP_INSTANCE: uid})

    async def n_set(self, request: Request) -> None:
        """N-SET."""
        ds = self.instances.get(request.command.sop_instance)
        if await self._known(request, ds, "N-SET") and ds is not None:
            ds.update(from_bytes(await request.data.read_all(LIMIT), request.context.transfer_syntax))
            await request.respond(st.SUCCESS)

    async def n_get(self, request: Request) -> None:
        """N-GET of all or the named attributes."""
        ds = self.instances.get(request.command.sop_instance)
        if await self._known(request, ds, "N-GET") and ds is not None:
            named = request.command.tags(cmd.ATTRIBUTES)
            answer = Dataset({e.tag: e for e in ds if not named or int(e.tag) in named})
            await request.respond(st.SUCCESS, to_bytes(answer, request.context.transfer_syntax))

    async def delete(self, request: Request) -> None:
        """N-DELETE."""
        if await self._known(request, self.instances.pop(request.command.sop_instance, None), "N-DELETE"):
            await request.respond(st.SUCCESS)

    async def action(self, request: Request) -> None:
        """N-ACTION: print, or storage commitment with its report."""
        data = await request.data.read_all(LIMIT)
        asked = from_bytes(data, request.context.transfer_syntax)
        self.done.append(("N-ACTION", request.command.sop_instance))
        await request.respond(st.SUCCESS)
        if request.command.sop_class == COMMITMENT:
            task = asyncio.get_running_loop().create_task(self._commit(request, asked))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)

    async def event(self, request: Request) -> None:
        """N-EVENT-REPORT."""
        ds = from_bytes(await request.data.read_all(LIMIT), request.context.transfer_syntax)
        self.reports.append((request.command.number(cmd.EVENT_TYPE), ds))
        await request.respond(st.SUCCESS)
        self._reported.set()

    async def has(self, count: int) -> None:
        """Wait, in the loop in which they come, until so many N-EVENT-REPORTs have been answered."""
        while len(self.reports) < count:
            self._reported = asyncio.Event()
            await self._reported.wait()

    async def _commit(self, request: Request, asked: Dataset) -> None:
        """Report what is held: to the node of the requestor if it is known, else on its own association."""
        result = Dataset()
        result.TransactionUID = asked.TransactionUID
        wanted = list(asked.ReferencedSOPSequence)
        result.ReferencedSOPSequence = [i for i in wanted if i.ReferencedSOPInstanceUID in self.objects]
        missing = [item for item in wanted if item.ReferencedSOPInstanceUID not in self.objects]
        for item in missing:
            item.FailureReason = st.NO_SUCH_SOP_INSTANCE
        if missing:
            result.FailedSOPSequence = missing
        kind = 2 if missing else 1
        port = self.nodes.get(request.peer.calling_ae)
        if port is None:
            data = to_bytes(result, request.context.transfer_syntax)
            await request.association.event_report(COMMITMENT, COMMITMENT_INSTANCE, kind, data, context=request.context)
            return
        remote = Remote("127.0.0.1", port, request.peer.calling_ae, self.ae_title)
        proposal = Proposal(COMMITMENT, (uids.IMPLICIT_LE,), scu=False, scp=True)
        async with associate(remote, [proposal]) as association:
            await association.event_report(COMMITMENT, COMMITMENT_INSTANCE, kind, to_bytes(result, uids.IMPLICIT_LE))

    async def _known(self, request: Request, ds: Dataset | None, service: str) -> bool:
        self.done.append((service, request.command.sop_instance))
        if ds is None:
            await request.data.drain()
            await request.respond(st.NO_SUCH_SOP_INSTANCE)
        return ds is not None

    # --- life --------------------------------------------------------------------------------------------

    def ends(self) -> set[str]:
        """How its associations ended, as codes; empty for one that has not."""
        return {association.ended_by for association in self.associations}

    def _noting(self, service: Service) -> Service:
        """The same service, whose requests leave their association behind."""

        def noting(handler: Handler) -> Handler:
            async def handle(request: Request) -> None:
                assert isinstance(request.association, Association)
                if request.association not in self.associations:
                    self.associations.append(request.association)
                await handler(request)

            return handle

        return replace(service, handlers={field: noting(handler) for field, handler in service.handlers.items()})

    def services(self) -> list[Service]:
        """What it registers with the wire."""
        storage = {cmd.C_STORE_RQ: self.store}
        performed = {cmd.N_CREATE_RQ: self.create, cmd.N_SET_RQ: self.n_set, cmd.N_DELETE_RQ: self.delete}
        printing = performed | {cmd.N_GET_RQ: self.n_get, cmd.N_ACTION_RQ: self.action}
        commitment = {cmd.N_ACTION_RQ: self.action, cmd.N_EVENT_REPORT_RQ: self.event}
        members = frozenset({FILM_SESSION, FILM_BOX, IMAGE_BOX, PRINTER})
        services = [
            Service(frozenset({uids.VERIFICATION}), NATIVE, {cmd.C_ECHO_RQ: self.echo}),
            Service(
                uids.STORAGE_CLASSES, uids.for_storage, storage, also_user=True, service_class=uids.STORAGE_SERVICE
            ),
            Service(frozenset(FIND.values()), NATIVE, {cmd.C_FIND_RQ: self.find}),
            Service(frozenset(MOVE.values()), NATIVE, {cmd.C_MOVE_RQ: self.move}),
            Service(frozenset(GET.values()), NATIVE, {cmd.C_GET_RQ: self.get}),
            Service(frozenset({MPPS}), NATIVE, performed),
            Service(frozenset({MPPS_RETRIEVE}), NATIVE, {cmd.N_GET_RQ: self.n_get}),
            Service(frozenset({COMMITMENT}), NATIVE, commitment, also_user=True),
            Service(frozenset({PRINT}), NATIVE, printing, members=members),
        ]
        return [self._noting(service) for service in services]

    async def _serve(self, ready: threading.Event, stop: list[Callable[[], object]]) -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(over.set))
        provider = Provider("127.0.0.1", 0, admission=self, services=self.services())
        await provider.start()
        self.port = provider.port
        ready.set()
        await over.wait()
        for task in list(self._reporting):
            try:
                await asyncio.wait_for(task, 5)
            except PeerFault:
                continue  # who asked has gone without waiting for its report
        await provider.stop(1)


def _counts(remaining: int, completed: int, failed: Dataset) -> dict[int, cmd.Value]:
    lost = len(failed.FailedSOPInstanceUIDList)
    return {cmd.REMAINING: remaining, cmd.COMPLETED: completed, cmd.FAILED: lost, cmd.WARNING: 0}


@contextmanager
def archive(ae_title: str = "ARCHIVE", made: Archive | None = None) -> Iterator[Archive]:
    """An archive that serves until the end of the block: one of this title, or `made`."""
    made = made or Archive(ae_title)
    ready, stop = threading.Event(), []
    thread = threading.Thread(target=lambda: asyncio.run(made._serve(ready, stop)))
    thread.start()
    try:
        assert ready.wait(10)
        yield made
    finally:
        for call in stop:
            call()
        thread.join(20)
        assert not thread.is_alive()
