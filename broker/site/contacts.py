"""Remembers when each node was last in contact, in and out, and what it did; bounded, cheap, kept over a restart.

Doors and lanes note contacts in memory (`called`, `sent_by`, `noted`); `flush` writes them behind. For pages, REST and
commands `all` and `of` answer "is CT1 alive: last query, last image?" (`AdminContext.contacts`). A further process of
`[service] workers` writes its own contacts, and tells the first one of them (`untold`, `heard`) each second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import TimeoutError as NotInTime

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.model.contact import Contact, ContactKind, NodeContacts
from broker.site.directory import Directory
from broker.store import contacts as store
from broker.store.db.database import Database
from broker.store.db.pace import Pace

INTERVAL = 10.0  # seconds between two writes of one node and kind
FRESH = 2.0  # seconds for which what was read of the database is good
PATIENCE = 2.0  # seconds for the database, before what is known here has to do
MAX_CALLERS = 4096  # whose node is remembered
MAX_TITLE = 256  # characters of what a caller calls itself
MAX_DETAIL = 200  # characters


class ContactBook:
    """The last contacts with all nodes, as this process and the database know them. Callable from any thread."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        self._pace = Pace(database)
        self._lock = threading.Lock()
        self._last: dict[tuple[str, ContactKind], Contact] = {}
        self._written: dict[tuple[str, ContactKind], tuple[float, float]] = {}  # `at` that is stored, and when
        self._heard: dict[tuple[str, ContactKind], Contact] = {}  # of further processes, which write them
        self._untold: dict[tuple[str, ContactKind], Contact] | None = None
        self._follower: Callable[[str], None] = lambda node: None
        self._callers: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._directory_state = -1
        self._stored: Sequence[Contact] = ()
        self._read_at = float("-inf")

    # --- noting ------------------------------------------------------------------------------------------

    def called(self, ae_title: str, address: str, kind: ContactKind, detail: str = "") -> None:
        """A DICOM caller did something; nothing is noted of a caller that is no node."""
        for node in self._nodes_of("dicom", ae_title, address):
            self.noted(node, kind, detail)

    def sent_by(self, application: str, facility: str, kind: ContactKind, detail: str = "") -> None:
        """An HL7 sender did something; nothing is noted of a sender that is no node."""
        for node in self._nodes_of("hl7", application, facility):
            self.noted(node, kind, detail)

    def noted(self, node: str, kind: ContactKind, detail: str = "") -> None:
        """Something happened between a node and the broker."""
        contact = Contact(node, kind, time.time(), detail[:MAX_DETAIL])
        with self._lock:
            self._last[node, kind] = contact
            if self._untold is not None:
                self._untold[node, kind] = contact
        if kind is ContactKind.ECHO:
            self._follower(node)

    def _nodes_of(self, wire: str, name: str, more: str) -> tuple[str, ...]:
        """The names of the nodes that a caller is; as the directory knows it, without a search for each object."""
        if len(name) > MAX_TITLE or len(more) > MAX_TITLE:
            return ()
        state = self._directory.state
        if state != self._directory_state or len(self._callers) >= MAX_CALLERS:
            self._callers, self._directory_state = {}, state
        callers, key = self._callers, (wire, name, more)
        names = callers.get(key)
        if names is None:
            if wire == "hl7":
                nodes = self._directory.senders(name, more)
            else:
                node = self._directory.caller(name, more)
                nodes = (node,) if node is not None else ()
            names = callers[key] = tuple(node.name for node in nodes)
        return names

    # --- between processes -------------------------------------------------------------------------------

    def untold(self) -> list[Contact]:
        """What has happened since the last call: the first process is told of it, long before it is written."""
        with self._lock:
            fresh, self._untold = self._untold or {}, {}
        return list(fresh.values())

    def follow_echoes(self, follower: Callable[[str], None]) -> None:
        """Call `follower` with the name of each node that sends C-ECHO, from any thread."""
        self._follower = follower

    def heard(self, contacts: Sequence[Contact]) -> None:
        """A further process has told of these, which it writes itself."""
        with self._lock:
            for contact in contacts:
                key = contact.node, contact.kind
                if key not in self._heard or self._heard[key].at <= contact.at:
                    self._heard[key] = contact
        for contact in contacts:
            if contact.kind is ContactKind.ECHO:
                self._follower(contact.node)

    # --- writing behind ----------------------------------------------------------------------------------

    def flush(self, *, everything: bool = False) -> None:
        """Write what is new, in small steps (blocking); of one node and kind at most every INTERVAL seconds.

        `everything`: without regard to INTERVAL. Raises StoreUnavailable; what was not written stays for the next time.
        """
        now = time.monotonic()
        with self._lock:
            due = [
                contact
                for key, contact in self._last.items()
                if contact.at != (before := self._written.get(key, (0.0, float("-inf"))))[0]
                and (everything or now - before[1] >= INTERVAL)
            ]
        for part in self._pace.write(store.keep, due):
            with self._lock:
                self._written.update({(contact.node, contact.kind): (contact.at, now) for contact in part})

    def close(self) -> None:
        """Write all that is known: the broker stops."""
        try:
            self.flush(everything=True)
        except StoreUnavailable as error:
            telemetry.logger().warning("node.contacts_not_kept", error=telemetry.describe(error))

    # --- reading -----------------------------------------------------------------------------------------

    def all(self) -> dict[str, NodeContacts]:
        """The last contacts by the name of the node; a node without any is missing (blocking, at most PATIENCE).

        While the database is away: what this process has seen, and what it read before.
        """
        if time.monotonic() - self._read_at >= FRESH:
            self._read()
        with self._lock:
            here = [*self._last.values(), *self._heard.values()]
        return _sorted_by_node([*self._stored, *here])

    def of(self, node: str) -> NodeContacts:
        """The last contacts with one node, as `all` has them (blocking, at most PATIENCE)."""
        return self.all().get(node, NodeContacts())

    def _read(self) -> None:
        self._read_at = time.monotonic()
        try:
            self._stored = self._database.read(store.all_of).result(PATIENCE)
        except (StoreUnavailable, NotInTime) as error:
            telemetry.logger().debug("node.contacts_not_read", error=telemetry.describe(error))


def _sorted_by_node(contacts: Iterable[Contact]) -> dict[str, NodeContacts]:
    """The newest of each node and kind."""
    newest: dict[str, dict[ContactKind, Contact]] = {}
    for contact in contacts:
        of_node = newest.setdefault(contact.node, {})
        if contact.kind not in of_node or of_node[contact.kind].at < contact.at:
            of_node[contact.kind] = contact
    return {node: NodeContacts(by_kind) for node, by_kind in newest.items()}
