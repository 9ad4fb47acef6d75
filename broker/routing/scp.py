"""The storage door: C-STORE in (PS3.4 annex B). Streams into the spool; answers after the commit."""

from __future__ import annotations

from collections.abc import Iterable

from broker import faults, telemetry
from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.dimse.served import storage
from broker.errors import BadContent
from broker.routing.reception import IncomingObject, Reception
from broker.threads import Threads
from broker.traces import spans
from broker.traces.spans import TracedStep

CHUNK = 128 * 1024  # bytes handed to a spool thread at once, while the rest is still on its way
THREADS = 16
_MISMATCH = frozenset({"uid-mismatch", "uid-invalid"})
ANSWERED = (
    st.AnsweredStatus(st.SUCCESS, "The object is on stable storage, and so are the jobs that deliver it."),
    st.AnsweredStatus(
        st.OUT_OF_RESOURCES,
        "The disk is short of room, the database is away, or an internal error. The sender keeps the object and sends "
        "it again. The Error Comment has a code.",
    ),
    st.AnsweredStatus(st.DATASET_MISMATCH, "A UID of the command is no UID, or is not that of the data set."),
    st.AnsweredStatus(
        st.CANNOT_UNDERSTAND,
        "The data set cannot be read to its end, or is longer than allowed. The Error Comment has a code.",
    ),
)


class StorageService:
    """Serves all storage SOP classes in all transfer syntaxes."""

    def __init__(self, reception: Reception, private_classes: Iterable[str] = ()) -> None:
        """`private_classes`: SOP classes beyond those of the standard that are taken in like them."""
        self._reception = reception
        self._offer = storage(private_classes)
        self._threads = Threads(THREADS, "spool")

    def service(self) -> Service:
        """Registration with the provider."""
        return Service(
            self._offer.classes,
            self._offer.choose,
            {cmd.C_STORE_RQ: self.store},
            service_class=uids.STORAGE_SERVICE,
            ended=self._reception.parted,
        )

    def close(self) -> None:
        """Wait for running spool work."""
        self._threads.close()

    async def store(self, request: Request) -> None:
        """Handle a C-STORE-RQ."""
        arrival = IncomingObject(
            request.command.sop_class, request.command.sop_instance, request.context.transfer_syntax, request.peer
        )
        try:
            arrival.check()
            await self._receive(request, arrival)
        except BadContent as error:
            await request.data.drain()
            telemetry.logger().warning(
                "instance.refused",
                reason=error.code,
                calling_ae=request.peer.calling_ae,
                instance=telemetry.identifier(arrival.sop_instance),
                bytes=request.data.received,
            )
            status = st.DATASET_MISMATCH if error.code in _MISMATCH else st.CANNOT_UNDERSTAND
            await request.respond(status, comment=error.code)
            return
        except Exception:
            await request.data.drain()
            raise
        faults.point("dicom.answer")
        await request.respond(st.SUCCESS)
        faults.point("dicom.answered")

    async def _receive(self, request: Request, arrival: IncomingObject) -> None:
        parts = await request.data.take(self._reception.small + 1)
        if request.data.ended:
            with spans.span(TracedStep.WRITE):
                await self._threads.call(self._reception.whole, arrival, b"".join(parts))
            return
        file = await self._threads.call(self._reception.begin, arrival, *parts)
        try:
            parts = await request.data.take(CHUNK)
            while not request.data.ended:
                await self._threads.call(file.write, *parts)
                parts = await request.data.take(CHUNK)
        except BaseException:
            await self._threads.call(file.abandon)
            raise
        with spans.span(TracedStep.WRITE):
            await self._threads.call(self._reception.complete, arrival, file, *parts)
