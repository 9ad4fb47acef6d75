"""Builds the DICOM side of one process: admission, services and listeners. Every worker builds its own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from broker import telemetry
from broker.commitment.scp import CommitmentService
from broker.dicom.association.provider import Provider
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Handler, Request, Service
from broker.dicom.wire.limits import AssociationLimits
from broker.errors import ConfigurationError, PeerFault, StoreUnavailable
from broker.model.audit import AuditRecord
from broker.model.contact import ContactKind
from broker.mpps.scp import PerformedStepService
from broker.queue.hand_over import HandOver
from broker.routing.reception import Reception
from broker.routing.scp import StorageService
from broker.seats import share_of
from broker.service.doors import descriptors
from broker.service.foundation import Foundation
from broker.site.directory import NodeAdmission
from broker.site.knocking import KnockBook
from broker.site.remotes import tls_files
from broker.store.worklist.outage import WorklistCopy
from broker.tls import TlsContexts
from broker.worklist.explain.memory import QueryMemory
from broker.worklist.query.negotiation import negotiate
from broker.worklist.scp import WorklistService

_CONTACTS = {
    cmd.C_ECHO_RQ: ContactKind.ECHO,
    cmd.C_FIND_RQ: ContactKind.QUERY,
    cmd.C_STORE_RQ: ContactKind.IMAGE,
    cmd.N_CREATE_RQ: ContactKind.PERFORMED,
    cmd.N_SET_RQ: ContactKind.PERFORMED,
    cmd.N_ACTION_RQ: ContactKind.REQUEST,
}


class Imaging:
    """Storage, worklist, performed procedure steps and verification behind the DICOM listeners of this process."""

    def __init__(
        self,
        foundation: Foundation,
        wake: Callable[[], None],
        ports: Mapping[str, int] | None = None,
        hand_over: HandOver | None = None,
        reported: Callable[[str], None] = lambda node: None,
    ) -> None:
        """`wake` is called, from any thread, after each commit that made work for the queue.

        `ports`: by listener, what the first process has bound; this one joins it there.
        `hand_over`: the lanes of this process, if it has some. `reported` hears, in a thread, which archive reports.
        """
        settings, database, directory = foundation.settings, foundation.database, foundation.directory
        self._settings = settings
        self._database = database
        self._directory = directory
        self._contacts = foundation.contacts
        self._ports = ports
        self._knocks = KnockBook(database)
        self._tally = foundation.audit.tally
        self._memory = QueryMemory(database, foundation.log_key)
        self.reception = Reception(
            database,
            foundation.spool,
            foundation.rules,
            settings.zone(),
            wake,
            small=settings.limits.small_object,
            subscribers=directory.subscribers,
            tally=self._tally,
            hand_over=hand_over,
        )
        age = settings.worklist.outage_copy_age
        self.worklist_copy = WorklistCopy(foundation.worklist_copy, age) if age else None
        self._storage = StorageService(self.reception, settings.dicom.private_sop_classes)
        self._performed = PerformedStepService(
            database, directory, settings.zone(), settings.worklist.charset, wake, self._tally
        )
        self._commitment = CommitmentService(database, directory, wake, self._tally, reported)
        self._wanted: dict[str, int] = {}  # configured port of each listener
        self.doors: dict[str, Provider] = {}
        self._worklists: list[WorklistService] = []
        if settings.dicom.plain:
            self._add("dicom", settings.dicom.host, settings.dicom.port)
        tls, files = settings.dicom.tls, tls_files(settings.dicom.tls)
        if tls is not None and files is not None:
            contexts = TlsContexts(files, server=True, place="dicom.tls")
            self._add("dicom-tls", tls.host or settings.dicom.host, tls.port, contexts)

    def _add(self, name: str, host: str, port: int, tls: TlsContexts | None = None) -> None:
        """Add a listener. Each serves the same; limits count per listener and process."""
        self._wanted[name] = port
        self.doors[name] = self._door(host, self._ports[name] if self._ports else port, tls)

    def _door(self, host: str, port: int, tls: TlsContexts | None) -> Provider:
        settings, limits = self._settings, self._settings.limits
        worklist = WorklistService(
            self._database,
            max_answers=settings.worklist.max_answers,
            charset=settings.worklist.charset,
            copy=self.worklist_copy,
            zone=settings.zone(),
            profile=self._directory.profile,
            memory=self._memory,
            tally=self._tally,
        )
        self._worklists.append(worklist)
        admission = NodeAdmission(
            self._directory,
            settings.dicom.ae_title,
            settings.dicom.accept,
            self._knocks.knocked,
            identity_required=settings.dicom.user_identity == "required",
            noted=self._contacts.noted,
            refused=self._refused,
        )
        return Provider(
            host,
            port,
            admission=admission,
            services=[self._noting(service) for service in self._services(worklist)],
            tls=tls,
            reuse_port=settings.service.workers > 1,
            known=self._directory.is_caller,
            limits=AssociationLimits(
                half_open_per_address=limits.half_open_per_address,
                associations_per_address=limits.associations_per_address,
                associations=limits.associations,
                association_request_timeout=limits.association_request_timeout,
                pdu_timeout=limits.pdu_timeout,
                idle_timeout=limits.association_idle_timeout,
                tls_handshake_timeout=limits.tls_handshake_timeout,
                max_object=limits.dicom_object,
                associations_per_second=limits.associations_per_second,
                open_bytes=limits.dicom_open_pdus,
            ),
        )

    def _services(self, worklist: WorklistService) -> Sequence[Service]:
        offer, echo = served.WORKLIST, served.VERIFICATION
        return (
            Service(echo.classes, echo.choose, {cmd.C_ECHO_RQ: self._echo}),
            Service(offer.classes, offer.choose, {cmd.C_FIND_RQ: worklist.find}, negotiate=negotiate),
            self._storage.service(),
            *self._performed.services(),
            self._commitment.service(),
        )

    def _noting(self, service: Service) -> Service:
        """The same service, which notes what its callers did as their last contact."""

        def note(request: Request, kind: ContactKind, status: int) -> None:
            peer, refused = request.peer, st.is_failure(status)
            detail = f"{kind} with status {status:04X}" if refused else ""
            self._contacts.called(peer.calling_ae, peer.address, ContactKind.REFUSED if refused else kind, detail)

        def noting(handler: Handler, kind: ContactKind) -> Handler:
            async def handle(request: Request) -> None:
                try:
                    await handler(request)
                except PeerFault:
                    raise  # nobody is left to answer
                except Exception as error:
                    note(request, kind, request.failure(error)[0])
                    raise
                note(request, kind, request.status)

            return handle

        handlers = {
            field: noting(handler, _CONTACTS[field]) if field in _CONTACTS else handler
            for field, handler in service.handlers.items()
        }
        return replace(service, handlers=handlers)

    def _refused(self, calling_ae: str, address: str, reason: str) -> None:
        """Let the audit trail know of a caller that is not let in: one row for each address and reason in a while."""
        title = "".join(letter if " " <= letter <= "~" else "?" for letter in calling_ae)[:64]
        row = AuditRecord(
            at=time.time(),
            actor=f"dicom:{title}",
            action="device.refused",
            kind="device",
            object_id=0,
            detail={"why": reason},
            address=address,
        )
        self._tally.repeated(("refused", share_of(address), reason), lambda: row)

    async def _echo(self, request: Request) -> None:
        """Answer C-ECHO with success only while the database can be read: a modality's test button must not lie."""
        await asyncio.shield(asyncio.wrap_future(self._database.ping()))
        await request.respond(st.SUCCESS)

    @property
    def unanswered(self) -> int:
        """How many worklist queries in a row had no answer by trouble of ours, at the worst listener."""
        return max((worklist.unanswered for worklist in self._worklists), default=0)

    @property
    def accepting(self) -> bool:
        """Every listener is open."""
        return all(door.accepting for door in self.doors.values())

    def listening(self) -> dict[str, tuple[str, int]]:
        """Host and bound port of each open listener, by its name."""
        return {name: (door.host, door.port) for name, door in self.doors.items() if door.accepting}

    def write_behind(self, *, everything: bool = False) -> None:
        """Write what callers did and asked since the last time (blocking). Raises StoreUnavailable.

        `everything`: also of those that were written within the last minute.
        """
        self._contacts.flush(everything=everything)
        self._knocks.flush(everything=everything)
        self._memory.flush()

    async def start(self) -> None:
        """Open the listeners. Raises ConfigurationError when a port cannot be bound."""
        descriptors.serve_first(self._directory.is_caller, self._directory.is_ris)
        first_of_many = self._settings.service.workers > 1 and self._ports is None
        for name, door in self.doors.items():
            try:
                if first_of_many:
                    _claim(door.host, self._wanted[name])
                await door.start()
            except OSError as error:
                raise ConfigurationError(
                    f"{name.replace('-', '.')}.port: cannot listen: {error.strerror or error}"
                ) from None
            telemetry.logger().info("listener.open", listener=name, host=door.host, port=door.port)

    async def stop(self, grace: float) -> None:
        """Close the listeners; let running requests end within `grace` seconds."""
        await asyncio.gather(*(door.stop(grace) for door in self.doors.values()))

    def close(self) -> None:
        """Wait for the threads that receive, and write what callers did since the last time."""
        self._storage.close()
        self._performed.close()
        self._commitment.close()
        try:
            self.write_behind(everything=True)
        except StoreUnavailable as error:
            telemetry.logger().warning("callers.not_kept", error=telemetry.describe(error))


def _claim(host: str, port: int) -> None:
    """Check that nobody listens there: SO_REUSEPORT would share the port with another broker without a word.

    Raises OSError.
    """
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
