"""Nodes as values: who may speak to us, and where we send."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from broker.errors import ConfigurationError
from broker.settings.mistakes import wording
from broker.site.device import Device
from broker.site.feedback import Feedback
from broker.site.node_tls import NodeTls
from broker.site.repository import Repository
from broker.site.source import Source
from broker.site.tables.folder import FolderFiles
from broker.site.tables.mail import Mail
from broker.site.tables.node_table import NodeTable
from broker.site.tables.roles import ACTIVE, AUDIT, CALLED, NO_COMMITMENT, NOTIFY, Commitment, State
from broker.site.tables.s3 import S3
from broker.site.tables.stow import Stow
from broker.site.tables.web_address import place_of
from broker.site.times.week_window import WeekWindow, window


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A system of the site. What is given binds a caller: `host` to its address, the certificate, the user name.

    `association_idle`: seconds that an association to it waits for more to send; `answer_timeout`: for an answer.
    `username` and `passcode` are also what we identify ourselves with to this node (PS3.7 D.3.3.7).
    `url`, `mail` and `timeout` are those of a webhook or mail node; it, a stow and an s3 node have `host` and
    `port` of their url.
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
    answer_timeout: float = 60
    send_windows: WeekWindow | None = None  # when objects are sent to it; None: always
    failover: tuple[str, ...] = ()  # destinations that get its objects while it is away, the first that works
    failover_after: float = 300  # seconds that it must have been away
    bandwidth: int | None = None  # bytes of objects in a second; None: no limit
    send_windows_stat: bool = False  # what is STAT is sent at any time
    commitment: Commitment = NO_COMMITMENT  # what proves to a modality that it has its objects
    feedback: Feedback | None = None
    device: Device | None = None
    source: Source | None = None
    repository: Repository | None = None  # of a syslog node
    url: str = field(default="", repr=False)  # some services have a secret in its path
    mail: Mail | None = None
    timeout: float = 30
    path: str = ""  # of a folder node
    files: FolderFiles = field(default_factory=FolderFiles)
    stow: Stow = field(default_factory=Stow)
    s3: S3 | None = None  # of an s3 node

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
        return not self.roles.isdisjoint(CALLED)

    @property
    def audits(self) -> bool:
        """It is an audit repository."""
        return AUDIT in self.roles

    @property
    def notified(self) -> bool:
        """It is told that rules matched."""
        return NOTIFY in self.roles

    @property
    def encrypted(self) -> bool:
        """We connect to it by TLS."""
        if self.url:
            return place_of(self.url).tls
        return self.tls is not None or (self.mail is not None and self.mail.security != "none")

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
    if table.get("kind") == "webhook" and table.get("url") is None:
        yield Mistake("url", "a webhook node needs one")
    if table.get("kind") == "stow" and table.get("url") is None:
        yield Mistake("url", "a stow node needs one")
    if table.get("kind") == "s3" and table.get("url") is None:
        yield Mistake("url", "an s3 node needs one")
    if table.get("kind") == "s3" and table.get("s3") is None:
        yield Mistake("s3", "an s3 node needs one, with its bucket")
    if table.get("kind") == "folder" and table.get("path") is None:
        yield Mistake("path", "a folder node needs one")
    if table.get("kind") == "mail" and table.get("mail") is None:
        yield Mistake("mail", "a mail node needs one")


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
    _check_failover(nodes)
    return tuple(nodes)


def _check_failover(nodes: Sequence[Node]) -> None:
    """Raises NodeMistakes for a node whose objects would go to what is no other destination."""
    known = {node.name for node in nodes if "destination" in node.roles}
    for node in nodes:
        for name in node.failover:
            if name not in known - {node.name}:
                raise NodeMistakes(f"node {node.name!r}", [Mistake("failover", f"{name} is no other destination")])


def _node(table: NodeTable) -> Node:
    web = place_of(table.url) if table.url else None
    return Node(
        name=table.name,
        kind=table.kind,
        state=table.state,
        ae_title=table.ae_title or "",
        application=table.application or "",
        facility=table.facility or "",
        host=web.host if web else table.host or "",
        port=web.port if web else table.port or 0,
        roles=frozenset(table.roles),
        associations=table.associations,
        tls=table.tls,
        certificate_name=table.certificate_name or "",
        certificate_sha256=frozenset(table.certificate_sha256),
        username=table.username or "",
        passcode=table.passcode or "",
        association_idle=table.association_idle,
        answer_timeout=table.answer_timeout,
        send_windows=window(table.send_windows) if table.send_windows else None,
        failover=table.failover,
        failover_after=table.failover_after,
        bandwidth=table.bandwidth,
        send_windows_stat=table.send_windows_stat,
        commitment=table.commitment,
        feedback=table.feedback,
        device=table.device,
        source=table.source,
        repository=(table.repository or Repository()) if table.kind == "syslog" else None,
        url=table.url or "",
        mail=table.mail,
        timeout=table.timeout or 30,
        path=table.path or "",
        files=table.files or FolderFiles(),
        stow=table.stow or Stow(),
        s3=table.s3,
    )
