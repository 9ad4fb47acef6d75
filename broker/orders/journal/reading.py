"""Reads one message of the journal for people: its text, its fields, the answer, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from broker.hl7.reply import ToldFinding, read_reply
from broker.hl7.tolerance import USUAL
from broker.model.message import MessageRecord, SentMessage
from broker.orders.inbound.reception import Interface, open_message
from broker.orders.interfaces import interfaces_of
from broker.orders.journal.anatomy import Anatomy, anatomy
from broker.orders.mapping.book import DEFAULT
from broker.orders.mapping.profile import Profile
from broker.orders.mapping_versions import Mappings
from broker.orders.trying import preview
from broker.orders.trying.explanation import Part, explain
from broker.orders.trying.reading import text_of
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.audit import trail
from broker.store.db.database import Database
from broker.store.journal import linked, sent
from broker.store.journal.linked import MessageEffect
from broker.store.orders import messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedDetail:
    """A received message. `text` and `reply`: a line for each segment; `told`: what its sender was told.

    `profile`: by which mapping it is read now; empty if it cannot be opened. `patient` (row): whom it names, if known.
    """

    record: MessageRecord
    text: str
    reply: str
    told: tuple[ToldFinding, ...]
    anatomy: Anatomy
    effects: tuple[MessageEffect, ...]
    profile: str
    patient: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentDetail:
    """A message that was sent, and the answer. `accession`: of the order that it tells of."""

    message: SentMessage
    text: str
    reply: str
    told: tuple[ToldFinding, ...]
    anatomy: Anatomy
    accession: str


class JournalReader:
    """Reads messages by the interfaces and mapping profiles in force. Its methods block."""

    def __init__(self, database: Database, settings: Settings, directory: Directory, mappings: Mappings) -> None:
        self._database = database
        self._settings = settings
        self._directory = directory
        self._mappings = mappings

    def received(self, row: int) -> ReceivedDetail | None:
        """A received message by its row; None if there is none."""
        record: MessageRecord | None = self._database.read(messages.load_record, row).result()
        if record is None:
            return None
        interfaces = interfaces_of(self._settings, self._directory.knows_sender)
        interface = interfaces.get(record.listener) or next(iter(interfaces.values()))
        profiles = self._mappings.profiles(interface.profile or DEFAULT)
        opened = open_message(record.raw, interface, profiles)
        tolerance = opened.tolerance if opened else interface.tolerance
        text = text_of(record.raw, record.listener, interfaces, self._mappings.profiles)
        told = read_reply(record.answer).findings if record.answer else ()
        parts = () if opened is None else self._parts(record.raw, opened.profile, interface)
        numbered = patient_number(text)
        patients = self._database.read(trail.patients, numbered).result() if numbered else ()
        effects = self._database.read(linked.effects, row, record.sender, record.received_at).result()
        return ReceivedDetail(
            record=record,
            text=text,
            reply=preview.readable(record.answer),
            told=told,
            anatomy=anatomy(record.raw, tolerance, parts, told),
            effects=tuple(effects),
            profile=opened.profile.name if opened else "",
            patient=patients[0] if len(patients) == 1 else None,
        )

    def _parts(self, raw: bytes, profile: Profile, interface: Interface) -> tuple[Part, ...]:
        """Where the attributes of its orders come from, whatever the checks of the interface say of its sender."""
        open_to_all = replace(interface, known=None, receiving=frozenset())
        zone, station = self._settings.zone(), self._settings.worklist.default_station
        found = explain(raw, profile, zone, interface=open_to_all, default_station=station)
        return found.parts

    def sent(self, row: int) -> SentDetail | None:
        """A message that was sent, by its row; None if there is none."""
        message: SentMessage | None = self._database.read(sent.load, row).result()
        if message is None:
            return None
        told = read_reply(message.answer).findings if message.answer else ()
        return SentDetail(
            message=message,
            text=preview.readable(message.raw),
            reply=preview.readable(message.answer),
            told=told,
            anatomy=anatomy(message.raw, USUAL, (), told),
            accession=self._database.read(linked.accession_of, message.request).result(),
        )


def patient_number(text: str) -> str:
    """The first identifier in PID-3 of a message as it is shown, a line for each segment; empty for none."""
    head = next((line for line in text.splitlines() if line.startswith("MSH")), "")
    field, component, repetition = head[3:4], head[4:5], head[5:6]
    pid = next((line for line in text.splitlines() if field and line.startswith(f"PID{field}")), "")
    values = pid.split(field) if pid else []
    first = values[3].partition(repetition)[0] if len(values) > 3 and repetition else ""
    return first.partition(component)[0].strip()[:250] if component else ""
