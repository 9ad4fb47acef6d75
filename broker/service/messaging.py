"""Builds the HL7 side of the broker: its interfaces, and the MLLP listeners of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from broker import telemetry
from broker.errors import ConfigurationError
from broker.hl7.mllp.secure import Secure
from broker.hl7.mllp.server import Limits, MllpServer
from broker.model.contact import ContactKind
from broker.orders.inbound.reception import Interface, Profiles
from broker.orders.interfaces import interface_of
from broker.orders.listener import OrderDoor
from broker.seats import share_of
from broker.service.foundation import Foundation
from broker.settings import Hl7Listener
from broker.site.closings import closings_of
from broker.site.nodes import Node
from broker.tls import TlsContexts, TlsFiles


class Messaging:
    """All HL7 listeners: for each interface a plain one, one for TLS, or both."""

    def __init__(self, foundation: Foundation, profiles: Callable[[str], Profiles]) -> None:
        """Nothing is open yet. `profiles` by the name of the one for senders that no profile claims.

        Raises ConfigurationError that names the key.
        """
        settings, directory = foundation.settings, foundation.directory
        self._settings = settings
        self._database = foundation.database
        self._profiles = profiles
        self._directory = directory
        self._contacts = foundation.contacts
        self._without: tuple[tuple[Node, ...] | None, frozenset[str]] = (None, frozenset())
        self.doors: list[tuple[str, str, MllpServer]] = []  # kind, place in the configuration, listener
        for number, listener in enumerate(settings.hl7.listeners()):
            place = f"hl7.listener.{number - 1}" if number else "hl7"
            known = directory.knows_sender if listener.accept == "known" else None
            self._add(listener, interface_of(listener, place, known), place)

    def _add(self, listener: Hl7Listener, interface: Interface, place: str) -> None:
        try:
            profiles = self._profiles(listener.profile)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place}.profile: {error}") from None
        orders = OrderDoor(
            self._database,
            interface,
            profiles,
            zone=self._settings.zone(),
            default_station=self._settings.worklist.default_station,
            subscribers=self._directory.subscribers,
            without_results=self._without_results,
            refused_bytes=self._settings.limits.hl7_refused_bytes,
            share=share_of,
            heard=self._heard,
            barred=self._directory.barred_sender,
        )
        if listener.plain:
            self.doors.append(("hl7", place, self._door(listener.host, listener.port, orders, listener.strict)))
        if (tls := listener.tls) is not None:
            limits = self._settings.limits
            files = TlsFiles(tls.certificate, tls.key, tls.ca, tls.crl)
            secure = Secure(
                TlsContexts(files, server=True, place=f"{place}.tls"),
                frozenset(name.lower() for name in tls.client_names),
                limits.tls_handshake_timeout,
                limits.half_open_per_address,
            )
            door = self._door(tls.host or listener.host, tls.port, orders, listener.strict, secure)
            self.doors.append(("hl7-tls", f"{place}.tls", door))

    def _heard(self, application: str, facility: str, refusal: str) -> None:
        kind = ContactKind.REFUSED if refusal else ContactKind.MESSAGE
        self._contacts.sent_by(application, facility, kind, f"message answered {refusal}" if refusal else "")

    def _without_results(self) -> frozenset[str]:
        """The stations whose steps no result ends, by the nodes in force."""
        nodes, titles = self._without
        if nodes is not self._directory.nodes:
            nodes = self._directory.nodes
            titles = closings_of(self._settings, nodes).without_results()
            self._without = nodes, titles
        return titles

    def _door(self, host: str, port: int, orders: OrderDoor, strict: bool, secure: Secure | None = None) -> MllpServer:
        limits = self._settings.limits
        return MllpServer(
            host,
            port,
            orders.handle,
            on_oversize=orders.on_oversize,
            on_truncated=orders.on_truncated,
            limits=Limits(
                limits.hl7_message,
                limits.hl7_connections,
                limits.hl7_frame_timeout,
                limits.hl7_idle_timeout,
                limits.hl7_first_message_timeout,
                limits.hl7_connections_per_address,
                limits.hl7_open_frames,
            ),
            strict=strict,
            secure=secure,
            known=self._directory.is_ris,
        )

    @property
    def accepting(self) -> bool:
        """Every listener is open."""
        return all(door.accepting for _, _, door in self.doors)

    def listening(self) -> Iterator[tuple[str, tuple[str, int]]]:
        """Kind (`hl7`, `hl7-tls`), host and bound port of each open listener, in the order of the configuration."""
        return ((kind, (door.host, door.port)) for kind, _, door in self.doors if door.accepting)

    async def start(self) -> None:
        """Open the listeners. Raises ConfigurationError when a port cannot be bound."""
        for kind, place, door in self.doors:
            try:
                await door.start()
            except OSError as error:
                raise ConfigurationError(f"{place}.port: cannot listen: {error.strerror or error}") from None
            telemetry.logger().info("listener.open", listener=kind, host=door.host, port=door.port)

    async def stop(self, grace: float) -> None:
        """Close the listeners; let running messages be answered within `grace` seconds."""
        await asyncio.gather(*(door.stop(grace) for _, _, door in self.doors))
