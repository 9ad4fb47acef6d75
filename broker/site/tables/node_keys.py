"""Declares the keys of the table `[[node]]` and their ranges. `node_table.py` says which of them go together."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from broker.settings.types import AETitle
from broker.site.device import Device
from broker.site.feedback import Feedback
from broker.site.node_tls import Name, NodeTls
from broker.site.repository import Repository
from broker.site.source import Source
from broker.site.tables.folder import FolderFiles
from broker.site.tables.mail import Mail, one_or_more
from broker.site.tables.roles import NO_COMMITMENT, Commitment, Role, State
from broker.site.tables.s3 import S3
from broker.site.tables.stow import Stow
from broker.site.tables.web_address import WebAddress
from broker.site.times.week_window import window


def _sha256(value: str) -> str:
    """A fingerprint as OpenSSL and browsers print it, with or without colons."""
    digits = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("a SHA-256 fingerprint is 64 hexadecimal digits")
    return digits


Fingerprints = Annotated[
    tuple[Annotated[str, AfterValidator(_sha256)], ...],
    BeforeValidator(one_or_more),
    WithJsonSchema({"type": "string", "format": "64 hexadecimal digits, or list of them"}),
]


def _window(value: str) -> str:
    """Raises NoWindow, a ValueError."""
    window(value)
    return value


Windows = Annotated[
    str,
    Field(max_length=500),
    AfterValidator(_window),
    WithJsonSchema({"type": "string", "format": "times of the week as `Mon-Fri 18:00-06:00`, several with `;`"}),
]


class NodeKeys(BaseModel):
    """The keys of `[[node]]`, each by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$",
        description="Unique name, used by rules, commands and pages.",
    )
    kind: Literal["dicom", "hl7", "stow", "folder", "s3", "syslog", "webhook", "mail"] = Field(
        description="Protocol that the node speaks."
    )
    state: State = Field(
        default="active",
        description='"disabled": for now it is neither served nor sent to; what is for it waits. "blocked": it is '
        "refused, and nothing is sent to it.",
    )
    ae_title: AETitle | None = Field(default=None, description="AE title. A dicom node needs one.")
    application: str | None = Field(
        default=None, min_length=1, max_length=180, description="MSH-3 of its messages. An hl7 node needs one."
    )
    facility: str | None = Field(default=None, max_length=180, description="MSH-4 of its messages. Left out: any.")
    host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Its address. A caller with its title must come from there. Left out: from anywhere.",
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Port on which it listens. Needed where the broker connects to it."
    )
    roles: tuple[Role, ...] = Field(default=(), description="What the node is to the broker; several are possible.")
    associations: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Associations to a destination at once; connections to a stow or s3 node, files of a folder node.",
    )
    association_idle: float = Field(
        default=20,
        ge=0,
        le=600,
        description="Seconds that an association stays open for the next object. 0 for a node that serves one "
        "caller at a time.",
    )
    answer_timeout: float = Field(
        default=60,
        ge=5,
        le=1800,
        description="Seconds that a destination has for each answer. An object that was not answered in time gets up "
        "to four times as long. More delays the others behind a node that hangs; less sends objects twice.",
    )
    send_windows: Windows | None = Field(
        default=None,
        description="Times at which objects are sent to a destination: `Mon-Fri 18:00-06:00; Sat,Sun; holiday`. "
        "Outside of them they wait. Left out: always.",
    )
    send_windows_stat: bool = Field(
        default=False, description="Objects that a rule makes STAT are sent outside of send_windows too."
    )
    failover: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = Field(
        default=(),
        max_length=8,
        description="Destinations that get its objects while it is away, the first that works.",
    )
    failover_after: float = Field(
        default=300,
        ge=0,
        le=604_800,
        description="Seconds that a destination must have been away until its objects go to failover.",
    )
    bandwidth: int | None = Field(
        default=None,
        ge=1024,
        le=10_000_000_000,
        description="Bytes of objects that are sent to a destination in a second, over all its associations, requests "
        "or files. Left out: no limit.",
    )
    commitment: Commitment = Field(
        default=NO_COMMITMENT,
        description="What proves to a modality that asks for storage commitment that this destination has its objects. "
        '"ask": it says so itself, asked by storage commitment; a dicom node. "delivered": it has taken each of them. '
        '"none": nothing does.',
    )
    tls: NodeTls | None = Field(default=None, description="true, or a table: the broker connects by TLS.")
    feedback: Feedback | None = Field(default=None, description="What a RIS is told of its orders.")
    device: Device | None = Field(default=None, description="How a modality is served.")
    source: Source | None = Field(default=None, description="What is imported from a worklist server.")
    repository: Repository | None = Field(default=None, description="How an audit repository is sent the audit trail.")
    url: WebAddress | None = Field(
        default=None,
        description="Address of a webhook, of the DICOMweb service of a stow node without /studies, or of the storage "
        "of an s3 node without the bucket. http or https. Host and port are in it.",
    )
    path: str | None = Field(
        default=None, min_length=1, max_length=4096, description="Folder that a folder node is. It is never made."
    )
    files: FolderFiles | None = Field(default=None, description="Names of the files in a folder node.")
    stow: Stow | None = Field(default=None, description="How a stow node knows who sends.")
    s3: S3 | None = Field(default=None, description="The bucket that an s3 node is.")
    mail: Mail | None = Field(default=None, description="Whose mail a mail node sends, and to whom.")
    timeout: float | None = Field(
        default=None,
        ge=1,
        le=120,
        description="Seconds for one notice to a webhook or mail node, its answer included. Left out: 30.",
    )
    certificate_name: Name | None = Field(
        default=None, description="Common or DNS name that the certificate of a caller must have."
    )
    certificate_sha256: Fingerprints = Field(
        default=(), description="SHA-256 fingerprints of its certificate; several while it is being renewed."
    )
    username: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="User name that is asked of a caller and sent to a destination (PS3.7 D.3.3.7). A webhook "
        "and a stow node get it by basic authentication (RFC 7617), a mail server by AUTH (RFC 4954).",
    )
    passcode: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        repr=False,
        description="Passcode beside the user name. Left out: the user name alone. A webhook without a user name "
        "gets it as bearer token (RFC 6750).",
    )
