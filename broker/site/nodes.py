"""Nodes as values: who may speak to us, and where we send."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from broker.errors import ConfigurationError
from broker.settings.mistakes import wording
from broker.settings.types import AETitle
from broker.site.device import Device
from broker.site.feedback import Feedback
from broker.site.node_tls import Name, NodeTls, certificate_name
from broker.site.repository import Repository
from broker.site.source import Source

# `mpps` is passed on what modalities say of performed steps, `mpps-notification` is told that there is something new
State = Literal["active", "disabled", "blocked"]
ACTIVE: Final = "active"
DISABLED: Final = "disabled"
BLOCKED: Final = "blocked"
Role = Literal["modality", "destination", "ris", "mpps", "mpps-notification", "worklist", "audit"]
MPPS, MPPS_NOTIFICATION, AUDIT = "mpps", "mpps-notification", "audit"
_CALLED = {"destination": "a destination", MPPS: "an mpps node", MPPS_NOTIFICATION: "an mpps-notification node"}


def _sha256(value: str) -> str:
    """A fingerprint as OpenSSL and browsers print it, with or without colons."""
    digits = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("a SHA-256 fingerprint is 64 hexadecimal digits")
    return digits


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Fingerprints = Annotated[
    tuple[Annotated[str, AfterValidator(_sha256)], ...],
    BeforeValidator(_one_or_more),
    WithJsonSchema({"type": "string", "format": "64 hexadecimal digits, or list of them"}),
]


class NodeTable(BaseModel):
    """`[[node]]`: a system of the site, by its protocol and its roles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$",
        description="Unique name, used by rules, commands and pages.",
    )
    kind: Literal["dicom", "hl7", "syslog"] = Field(description="Protocol that the node speaks.")
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
    associations: int = Field(default=1, ge=1, le=16, description="Associations to a destination at once.")
    association_idle: float = Field(
        default=20,
        ge=0,
        le=600,
        description="Seconds that an association stays open for the next object. 0 for a node that serves one "
        "caller at a time.",
    )
    tls: NodeTls | None = Field(default=None, description="true, or a table: the broker connects by TLS.")
    feedback: Feedback | None = Field(default=None, description="What a RIS is told of its orders.")
    device: Device | None = Field(default=None, description="How a modality is served.")
    source: Source | None = Field(default=None, description="What is imported from a worklist server.")
    repository: Repository | None = Field(default=None, description="How an audit repository is sent the audit trail.")
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
        description="User name that is asked of a caller and sent to a destination (PS3.7 D.3.3.7).",
    )
    passcode: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        repr=False,
        description="Passcode beside the user name. Left out: the user name alone.",
    )

    @field_validator("tls", mode="before")
    @classmethod
    def _own_files(cls, value: Any) -> Any:
        """`tls = true`: with our own files for its wire, as in `[dicom.tls]`."""
        if isinstance(value, bool):
            return {} if value else None
        return value

    @model_validator(mode="after")
    def _repository(self) -> NodeTable:
        syslog = self.kind == "syslog"
        if syslog != (AUDIT in self.roles) or (syslog and not (len(self.roles) == 1 and self.host and self.port)):
            raise ValueError("roles: audit is the one role of a syslog node, which has host and port")
        if self.repository is not None and self.kind != "syslog":
            raise ValueError("repository: for a syslog node with role audit")
        if self.tls is not None and self.repository is not None and self.repository.transport == "udp":
            raise ValueError("tls: goes with transport tcp")
        return self

    @model_validator(mode="after")
    def _complete(self) -> NodeTable:
        if self.kind == "dicom" and self.ae_title is None:
            raise ValueError("ae_title: a dicom node needs one")
        if self.kind == "hl7" and self.application is None:
            raise ValueError("application: an hl7 node needs one")
        called = next((name for role, name in _CALLED.items() if role in self.roles), "")
        if called and (self.kind != "dicom" or not self.host or not self.port):
            raise ValueError(f"roles: {called} is a dicom node with host and port")
        if self.kind != "dicom" and self.model_fields_set & _DICOM_ONLY:
            raise ValueError(f"{min(self.model_fields_set & _DICOM_ONLY)}: only a dicom node has one")
        if self.feedback is not None and (self.kind != "hl7" or "ris" not in self.roles):
            raise ValueError("feedback: for an hl7 node with role ris")
        if self.device is not None and (self.kind != "dicom" or "modality" not in self.roles):
            raise ValueError("device: for a dicom node with role modality")
        if "worklist" in self.roles and (self.kind != "dicom" or not self.host or not self.port):
            raise ValueError("roles: a worklist is a dicom node with host and port")
        if self.source is not None and "worklist" not in self.roles:
            raise ValueError("source: for a dicom node with role worklist")
        if self.tls is not None and (not self.host or not self.port):
            raise ValueError("tls: for a node with host and port; a caller is bound by certificate_name")
        if self.tls is not None and self.host and not self.tls.server_name:
            _host_name(self.host)
        if self.passcode is not None and self.username is None:
            raise ValueError("passcode: needs a username")
        return self


_DICOM_ONLY = {"certificate_name", "certificate_sha256", "username", "passcode"}


def _host_name(host: str) -> None:
    try:
        certificate_name(host)
    except ValueError as error:
        raise ValueError(f"host: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A system of the site. What is given binds a caller: `host` to its address, the certificate, the user name.

    `association_idle`: seconds that an association to it waits for more to send.
    `username` and `passcode` are also what we identify ourselves with to this node (PS3.7 D.3.3.7).
    """

    name: str
    kind: str
    state: State = "active"
    ae_title: str = ""
    application: str = ""
    facility: str = ""
    host: str = ""
    port: int = 0
    roles: frozenset[str] = frozenset()
    associations: int = 1
    tls: NodeTls | None = None
    certificate_name: str = ""
    certificate_sha256: frozenset[str] = frozenset()
    username: str = ""
    passcode: str = field(default="", repr=False)
    association_idle: float = 20
    feedback: Feedback | None = None
    device: Device | None = None
    source: Source | None = None
    repository: Repository | None = None  # of a syslog node

    def sends_as(self, application: str, facility: str) -> bool:
        """Messages with this MSH-3 and MSH-4 are its own."""
        return self.application == application and self.facility in ("", facility)

    @property
    def active(self) -> bool:
        """It is served and sent to: neither disabled nor blocked."""
        return self.state == ACTIVE

    @property
    def called(self) -> bool:
        """We open associations to it."""
        return not self.roles.isdisjoint(_CALLED)

    @property
    def audits(self) -> bool:
        """It is an audit repository."""
        return AUDIT in self.roles

    @property
    def told(self) -> bool:
        """It is sent feedback on orders: it wants some and says where it listens."""
        return self.feedback is not None and bool(self.host and self.port)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at one key of a table, in words; the key as site.toml has it: `device.charset`."""

    key: str
    words: str


class NodeMistakes(ConfigurationError):
    """A table that is no node."""

    def __init__(self, label: str, mistakes: Sequence[Mistake]) -> None:
        """`label` names the table."""
        first = mistakes[0]
        super().__init__(f"{label}: {first.key + ': ' if first.key else ''}{first.words}")
        self.mistakes = tuple(mistakes)


def mistakes_of(table: Any) -> list[Mistake]:
    """All that is wrong with a `[[node]]` table; empty for one that is a node."""
    if not isinstance(table, Mapping):
        return [Mistake("", "must be a table")]
    try:
        NodeTable.model_validate(table)
    except ValidationError as error:
        found = [_mistake(one) for one in error.errors(include_url=False, include_input=False)]
        return found + [one for one in _lacking(table) if one.key not in {mistake.key for mistake in found}]
    return []


def _lacking(table: Mapping[str, Any]) -> Iterable[Mistake]:
    """What a kind of node needs, which pydantic tells only where nothing else is wrong."""
    if table.get("kind") == "dicom" and table.get("ae_title") is None:
        yield Mistake("ae_title", "a dicom node needs one")
    if table.get("kind") == "hl7" and table.get("application") is None:
        yield Mistake("application", "an hl7 node needs one")


def _mistake(error: ErrorDetails) -> Mistake:
    """A mistake of pydantic; one of a whole table begins with the key that it is about."""
    key, words = ".".join(str(part) for part in error["loc"]), wording(error)
    about = re.match(r"([a-z_0-9]+): (?=.)", words)
    if about is None:
        return Mistake(key, words)
    return Mistake(f"{key}.{about[1]}" if key else about[1], words[about.end() :])


def parse_nodes(tables: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Nodes of `[[node]]` tables. Raises ConfigurationError that names the node and key."""
    nodes: list[Node] = []
    names: set[str] = set()
    for position, table in enumerate(tables, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        label = f"node {name[:64] if isinstance(name, str) and name else position!r}"
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{label}: must be a table")
        try:
            parsed = NodeTable.model_validate(table)
        except ValidationError:
            raise NodeMistakes(label, mistakes_of(table)) from None
        if parsed.name in names:
            raise ConfigurationError(f"{label}: the name is used twice")
        names.add(parsed.name)
        nodes.append(_node(parsed))
    return tuple(nodes)


def _node(table: NodeTable) -> Node:
    return Node(
        name=table.name,
        kind=table.kind,
        state=table.state,
        ae_title=table.ae_title or "",
        application=table.application or "",
        facility=table.facility or "",
        host=table.host or "",
        port=table.port or 0,
        roles=frozenset(table.roles),
        associations=table.associations,
        tls=table.tls,
        certificate_name=table.certificate_name or "",
        certificate_sha256=frozenset(table.certificate_sha256),
        username=table.username or "",
        passcode=table.passcode or "",
        association_idle=table.association_idle,
        feedback=table.feedback,
        device=table.device,
        source=table.source,
        repository=(table.repository or Repository()) if table.kind == "syslog" else None,
    )
