"""The tables of `broker.toml` but `[hl7]` and `[web]`: each key with its type, default and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.settings.types import (
    AETitle,
    Code,
    Count,
    Days,
    Hours,
    LocalEntity,
    Port,
    Seconds,
    StorageUID,
)

WorklistCharset = Literal[
    "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126",
    "ISO_IR 138", "ISO_IR 148", "ISO_IR 192", "GB18030",
]  # fmt: skip


class Section(BaseModel):
    """A table of `broker.toml`: no unknown keys, and no changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceSection(Section):
    """`[service]`: where the data lives, which site this is, and how many processes work."""

    data_dir: Path = Field(
        default=Path("broker-data"),
        description="Folder of the SQLite database, the spool of objects, the log key and the identity in leases.",
    )
    site: Path = Field(
        default=Path("site.toml"), description="File of nodes and rules. It is imported while the database holds none."
    )
    timezone: str = Field(default="", description='Time zone of the site, like "Europe/Zurich". Empty: the machine\'s.')
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes on the DICOM port. More than one needs PostgreSQL and Linux.",
    )


class DatabaseSection(Section):
    """`[database]`: SQLite in the data folder, or PostgreSQL."""

    url: str = Field(
        default="",
        description="`postgresql+psycopg://user:password@host/database`. Empty: SQLite in `data_dir`.",
    )


class DicomTlsSection(Section):
    """`[dicom.tls]`: a second DICOM listener, for TLS. The broker's own connections use the same files."""

    certificate: Path = Field(description="Own certificate (PEM) with its chain. It is read again when it changes.")
    key: Path = Field(description="Own private key (PEM), without passphrase.")
    ca: Path = Field(description="Certificates of the authorities (PEM) that may have signed those of peers.")
    crl: Path | None = Field(
        default=None, description="Revoked certificates (PEM). A list that has expired lets nobody in."
    )
    host: str = Field(default="", description="Address to listen on. Empty: that of `[dicom]`.")
    port: Port = Field(default=2762, description="Port of the TLS listener. 0: any free one.")


class DicomSection(Section):
    """`[dicom]`: the DICOM listener, and who may associate."""

    ae_title: AETitle = Field(default="BROKER", description="AE title of the broker.")
    host: str = Field(
        default="127.0.0.1", description='Address to listen on. "0.0.0.0" is reached from the modality network.'
    )
    port: Port = Field(default=11112, description="Port of the plain listener. 0: any free one.")
    plain: bool = Field(default=True, description="false: no plain listener, only that of `[dicom.tls]`.")
    accept: Literal["known", "any"] = Field(
        default="known",
        description='"known": only nodes may associate, others are listed as knocking. "any": every calling AE title.',
    )
    user_identity: Literal["node", "required"] = Field(
        default="node",
        description='"node": only nodes with a `username` must identify themselves. "required": everybody must.',
    )
    private_sop_classes: tuple[StorageUID, ...] = Field(
        default=(), description="Further UIDs that are received like storage SOP classes of the standard."
    )
    tls: DicomTlsSection | None = Field(default=None, description="The TLS listener. Left out: there is none.")

    @model_validator(mode="after")
    def _reachable(self) -> DicomSection:
        if not self.plain and self.tls is None:
            raise ValueError("plain: false needs [dicom.tls], or nothing listens")
        return self


class OrdersSection(Section):
    """`[orders]`: orders that lack something."""

    keep_cancels_days: float = Field(
        default=30, gt=0, le=3650, description="Days that a cancel waits for an order that is not known yet."
    )
    temporary_issuer: LocalEntity = Field(
        default="", description="Issuer of Patient ID of temporary patients (emergency orders). Empty: own AE title."
    )


class RulesSection(Section):
    """`[rules]`: how rules come into force."""

    four_eyes: bool = Field(
        default=False,
        description="true: rules are put in force by a person who did not write them. A token cannot do it.",
    )


class WorklistSection(Section):
    """`[worklist]`: answers to modalities, and the end of steps that nobody ends. A device may have its own hours."""

    default_station: AETitle = Field(
        default="UNASSIGNED", description="Scheduled Station AE Title of a step to which no message gives a station."
    )
    max_answers: Count = Field(default=10_000, description="Answers to one query. After these it ends with A700.")
    modalities: tuple[Code, ...] = Field(
        default=(),
        max_length=256,
        description="Modalities that orders may ask for besides those of PS3.16 CID 29, whichever door they come by.",
    )
    charset: WorklistCharset = Field(
        default="ISO_IR 192", description="Character set of answers that do not fit into the set of the query."
    )
    no_show_after: Hours = Field(
        default=0,
        description="Hours after its start at which a step without any sign becomes DISCONTINUED: the patient did not "
        "come. 0: never.",
    )
    expire_after: Hours = Field(
        default=0,
        description="Hours after its start at which a step that has not begun leaves the worklist, until it is given a "
        "new start. 0: never.",
    )
    mpps_after: Hours = Field(
        default=24, description="Hours of silence after which an MPPS that is IN PROGRESS is overdue. 0: never."
    )
    mpps_overdue: Literal["list", "discontinue"] = Field(
        default="list", description='"list": a person looks at an overdue MPPS. "discontinue": the broker ends it.'
    )
    mpps_compare_after: Hours = Field(
        default=1,
        description="Hours after which the objects that a completed MPPS lists must be here, or a person looks at it.",
    )
    closing_every: Seconds = Field(default=60, description="Seconds between two searches for steps to end.")
    outage_copy_age: float = Field(
        default=3600,
        ge=0,
        le=7 * 86_400,
        description="Seconds for which the worklist is answered from a copy while the database is away. 0: no copy is "
        "kept, the answer is A700.",
    )


class DeliverySection(Section):
    """`[delivery]`: tries of everything that the broker sends, and how long objects are kept."""

    retry_first: Seconds = Field(default=15, description="Seconds until the second try. The wait doubles each time.")
    retry_last: Seconds = Field(default=1800, description="Longest wait between two tries, in seconds.")
    give_up: Seconds = Field(
        default=7 * 86_400, description="Seconds that a job waits for its destination before a person must look."
    )
    keep_days: float = Field(default=7, ge=0, description="Days that delivered objects stay in the spool.")
    keep_discarded_days: Days = Field(
        default=30,
        description="Days that discarded objects stay, so that a discard can be undone, and objects with a delivery "
        "that was given up, so that it can be sent again. 0: for ever.",
    )
    keep_held_days: Days = Field(
        default=0,
        description="Days after which an object that waits for a person is discarded, and a held delivery given up. "
        "0: never.",
    )


class RetentionSection(Section):
    """`[retention]`: days after which rows of the database are deleted. 0: never."""

    jobs_days: Days = Field(
        default=30,
        description="Done jobs, requests for storage commitment whose jobs are gone, and studies whose objects are all "
        "purged. Jobs of an object stay until it is purged. An object that comes again later is "
        "delivered again. Notices of rules go with their jobs: if an object of the study comes after that, the rule "
        "tells of it again.",
    )
    objects_days: Days = Field(
        default=400,
        description="What is known of objects whose bytes were purged and whose jobs are gone, counted from reception. "
        "Those of a study stay while one of its steps is open, an MPPS waits to be compared or for a person, or it is "
        "not complete. An object that comes again later is a new one, and is delivered again.",
    )
    exams_days: Days = Field(
        default=400,
        description="Orders with their steps, performed steps, visits and patients. An order counts from the end of "
        "its last step, or from the day of one that was never ended. It stays while something of it waits: objects "
        "that are not purged, jobs, a performed step that a person must look at. A patient stays while an order, visit "
        "or study names him. The medical record is kept by RIS and PACS. What comes later finds no order here.",
    )
    step_events_days: Days = Field(
        default=0,
        description="The event log of steps that have ended, counted from their end. It goes with its order at the "
        "latest.",
    )
    audit_days: Days = Field(
        default=3650, description="The audit trail. Many countries demand ten years (3650) or more; 0: for ever."
    )
    import_notes_days: Days = Field(
        default=90, description="Notes of imported items that were refused, left out or taken with findings."
    )
    messages_days: Days = Field(
        default=400, description="HL7 messages. One that comes again later is a new one. They hold patient data."
    )
    refused_messages_days: Days = Field(default=30, description="HL7 messages that were refused.")
    knocks_days: Days = Field(default=90, description="Unknown devices, counted from their last call.")


class LimitsSection(Section):
    """`[limits]`: sizes in bytes, times in seconds. With several workers, DICOM limits hold in each of them."""

    hl7_message: Count = Field(default=10_485_760, description="Bytes of one HL7 message.")
    hl7_connections: Count = Field(
        default=500,
        description="HL7 connections at once. A quarter of them is kept for the addresses of nodes with role ris.",
    )
    hl7_frame_timeout: Seconds = Field(default=60, description="Seconds for one message, from its first byte.")
    hl7_idle_timeout: Seconds = Field(default=3600, description="Seconds without a message until HL7 hangs up.")
    hl7_first_message_timeout: Seconds = Field(
        default=30,
        description="Seconds until a message must be here that is taken, from an address without a node of role ris "
        "that has sent none yet.",
    )
    hl7_connections_per_address: Count = Field(
        default=100,
        description="HL7 connections at once of one address (of a /64 with IPv6) without a node of role ris.",
    )
    hl7_open_frames: Count = Field(
        default=64 * 1024**2,
        description="Bytes of unfinished HL7 messages at one listener. Beyond them the largest of strangers end first.",
    )
    hl7_refused_bytes: Count = Field(
        default=10 * 1024**2,
        description="Bytes of refused HL7 messages of strangers that are kept in an hour for one address. Of each the "
        "first 4 KiB are kept, and nothing beyond the limit.",
    )
    half_open_per_address: Count = Field(
        default=20,
        description="DICOM connections that have no association yet, of one address (of a /64 with IPv6) without a "
        "node.",
    )
    associations_per_address: Count = Field(default=100, description="DICOM associations of one address at once.")
    associations: Count = Field(
        default=1000,
        description="DICOM associations at once. A quarter of them is kept for nodes. As many more connections as that "
        "quarter may be without an association.",
    )
    associations_per_second: float = Field(
        default=50,
        gt=0,
        description="Association requests of one address (of a /64 with IPv6) per second, a hundred at once. The next "
        "ones wait half a second at most, the others are rejected as temporary congestion. No limit for nodes.",
    )
    association_request_timeout: Seconds = Field(
        default=30,
        description="Seconds from the connection to the whole association request; for a caller that is no node also "
        "from there to its first request.",
    )
    tls_handshake_timeout: Seconds = Field(default=5, description="Seconds for a whole TLS handshake.")
    pdu_timeout: Seconds = Field(default=60, description="Seconds for one PDU, and between two PDUs of one message.")
    association_idle_timeout: Seconds = Field(
        default=600, description="Seconds without a message until an association is aborted."
    )
    dicom_open_pdus: Count = Field(
        default=64 * 1024**2,
        description="Bytes of unfinished PDUs of strangers at one listener. Beyond them the largest end first.",
    )
    dicom_object: Count = Field(default=64 * 1024**3, description="Bytes of one DICOM object.")
    small_object: int = Field(
        default=32 * 1024,
        ge=0,
        le=1024**2,
        description="Objects up to so many bytes are kept in the database, larger ones in files.",
    )
    disk_for_large: Count = Field(
        default=2 * 1024**3,
        description="Free bytes of the data folder's disk below which objects over 32 MiB are refused for a while. Not "
        "more than 5 % of the disk.",
    )
    disk_for_objects: Count = Field(
        default=512 * 1024**2,
        description="Free bytes below which all objects are refused for a while. Not more than 2 % of the disk.",
    )
    disk_for_orders: Count = Field(
        default=64 * 1024**2,
        description="Free bytes below which orders are refused too, with SQLite. Not more than 0.5 % of the disk.",
    )
    web_body: Count = Field(default=1024**2, description="Bytes of the body of one HTTP request.")
    web_bodies: Count = Field(default=64 * 1024**2, description="Bytes of the bodies of all HTTP requests at once.")
    web_connections: Count = Field(
        default=200,
        description="HTTP connections of other machines at once. Where they are reached, a silent connection ends for "
        "a new one. The machine itself has 32 more, so that health checks and metrics always get in.",
    )
    web_connections_per_address: Count = Field(
        default=50, description="HTTP connections of one address at once; of a /64 with IPv6."
    )
    web_requests_per_second: float = Field(
        default=20,
        gt=0,
        description="HTTP requests without a token of one address (of a /64 with IPv6) per second, a hundred at once. "
        "The others are answered with 429. There is no limit for 127.0.0.1 and ::1.",
    )
    web_head_timeout: Seconds = Field(default=10, description="Seconds for the whole head of one HTTP request.")
    web_idle_timeout: Seconds = Field(default=10, description="Seconds of silence between two HTTP requests.")


class LogSection(Section):
    """`[log]`: no patient data at any level."""

    level: Literal["debug", "info", "warning"] = Field(default="info", description="The least level that is logged.")
    format: Literal["console", "json"] = Field(
        default="console", description='"console": lines for people. "json": one JSON object per line.'
    )
    identifiers: bool = Field(
        default=False, description="true: accession numbers and UIDs are logged in clear, not as a short keyed hash."
    )
