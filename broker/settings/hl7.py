"""The tables `[hl7]`, `[[hl7.listener]]` and their `tls`: interfaces to senders of HL7 messages."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from broker.settings.sections import Section
from broker.settings.types import Hl7Version, ListenerName, Port

ProcessingId = Literal["P", "T", "D"]
OptionalField = Literal["MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7", "MSH-11", "MSH-12"]


class Hl7TlsSection(Section):
    """`[hl7.tls]`, or `tls` of a further listener: its port for TLS, with certificates on both sides."""

    certificate: Path = Field(description="Own certificate (PEM) with its chain. It is read again when it changes.")
    key: Path = Field(description="Own private key (PEM), without passphrase.")
    ca: Path = Field(description="Certificates of the authorities (PEM) that may have signed those of senders.")
    crl: Path | None = Field(
        default=None, description="Revoked certificates (PEM). A list that has expired lets nobody in."
    )
    host: str = Field(default="", description="Address to listen on. Empty: that of the interface.")
    port: Port = Field(default=2576, description="Port of the TLS listener. 0: any free one.")
    client_names: tuple[str, ...] = Field(
        default=(), description="Names (common or DNS name) of certificates that may send. Empty: all that `ca` signed."
    )


class Hl7Listener(Section):
    """`[[hl7.listener]]`: a further interface, with a plain listener, one for TLS, or both."""

    name: ListenerName = Field(
        default="", description="Unique name in log and journal. Empty: hl7-1 for `[hl7]`, then hl7-2, hl7-3 …"
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=2575, description="Port of the plain listener. 0: any free one.")
    plain: bool = Field(default=True, description="false: no plain listener, only that of `tls`.")
    tls: Hl7TlsSection | None = Field(default=None, description="The TLS listener. Left out: there is none.")
    accept: Literal["known", "any"] = Field(
        default="any", description='"known": only sending applications of nodes with role "ris". "any": all.'
    )
    on_transient: Literal["close", "AE", "AR"] = Field(
        default="close",
        description='Answer while database or disk is away. "close": none, the sender keeps the message.',
    )
    answers: Literal["ack", "order"] = Field(
        default="ack",
        description='Answer to orders. "ack": ACK. "order": ORR, ORI or ORG with reply code, status and identifiers.',
    )
    profile: str = Field(default="ihe", description="Mapping of senders that no mapping claims.")
    processing_ids: tuple[ProcessingId, ...] = Field(
        default=("P",),
        min_length=1,
        description='Values of MSH-11 that are taken. Add "T" and "D" only where test messages may come.',
    )
    receiving: tuple[str, ...] = Field(
        default=(),
        description='Receivers (MSH-5 and MSH-6) that are taken: "APPLICATION" or "APPLICATION|FACILITY". Empty: all.',
    )
    optional_fields: tuple[OptionalField, ...] = Field(
        default=("MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7"), description="Fields of MSH that may be empty."
    )
    default_version: Hl7Version = Field(
        default="2.3.1", description="Version of a message without MSH-12, where that is optional."
    )
    charset: str = Field(
        default="",
        description='Character set of messages without MSH-18, like "8859/1". Empty: ASCII, UTF-8 or Windows-1252, '
        "whichever fits.",
    )
    override_charset: str = Field(
        default="",
        description="Character set of all messages, whatever their MSH-18 says. A mapping may have another one for its "
        "senders (`[reading] charset`). Empty: MSH-18 counts.",
    )
    charset_errors: Literal["refuse", "replace"] = Field(
        default="refuse",
        description='Text that does not fit its character set. "refuse": AE. "replace": U+FFFD, with a warning.',
    )
    segment_ends: Literal["any", "cr"] = Field(
        default="any", description='"cr": a segment that ends with LF is refused.'
    )
    strict: bool = Field(
        default=False,
        description="true: segments that end with LF and blank segments are refused, and a fault of framing closes the "
        "connection.",
    )
    duplicates: Literal["same-body", "refuse"] = Field(
        default="same-body",
        description='A known control id with another content. "same-body": it is a new message, with a warning. '
        '"refuse": AE.',
    )

    @model_validator(mode="after")
    def _usable(self) -> Hl7Listener:
        if not self.plain and self.tls is None:
            raise ValueError("plain: false needs a table tls, or nothing listens")
        for entry in self.receiving:
            if not entry.partition("|")[0] or entry.count("|") > 1:
                raise ValueError("receiving: each entry is APPLICATION or APPLICATION|FACILITY")
        return self


class Hl7Section(Hl7Listener):
    """`[hl7]`: the first interface, further ones, and the broker's own names in messages to a RIS."""

    application: str = Field(
        default="BROKER", min_length=1, max_length=180, description="MSH-3 of messages that the broker sends."
    )
    facility: str = Field(default="", max_length=180, description="MSH-4 of messages that the broker sends.")
    listener: tuple[Hl7Listener, ...] = Field(
        default=(), description="Further interfaces. They have the keys of `[hl7]`, and do not inherit its values."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Hl7Section:
        names = [interface.name for interface in self.listeners()]
        for number, name in enumerate(names[1:]):
            if name in names[: number + 1]:
                raise ValueError(f"listener.{number}.name: {name!r} is the name of another listener")
        return self

    def listeners(self) -> tuple[Hl7Listener, ...]:
        """All interfaces, that of `[hl7]` first. Those without a name are called hl7-1, hl7-2 …"""
        return tuple(
            interface if interface.name else interface.model_copy(update={"name": f"hl7-{number}"})
            for number, interface in enumerate((self, *self.listener), 1)
        )
