"""Finds the peer that a command is to connect to: a node of the site by its name, or any peer as `AE@host:port`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from broker.dicom.association.user import Remote
from broker.errors import ConfigurationError, StoreUnavailable
from broker.settings import Settings, load
from broker.settings.types import AETitle
from broker.site.nodes import Node

_ADDRESS = re.compile(r"(?P<ae>.+)@(?:\[(?P<v6>[^]]+)\]|(?P<host>[^@:\[\]]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Target:
    """A peer, and how output names it."""

    label: str
    remote: Remote


def find(name: str, config: Path | None, calling: str | None, timeout: float) -> Target:
    """The peer that `name` means. `timeout` (s): to connect, and for each answer. `calling`: our AE title, if another.

    Raises ConfigurationError for an unknown name, an address that is none, or a mistake in the configuration.
    """
    settings = load(config)
    remote = _address(name, settings.dicom.ae_title) if "@" in name else remote_of(settings, _node(name, settings))
    if calling is not None:
        remote = dataclasses.replace(remote, calling_ae=_ae_title(calling, "--calling"))
    remote = dataclasses.replace(remote, connect_timeout=timeout, response_timeout=timeout)
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    return Target(f"{remote.called_ae}@{host}:{remote.port}", remote)


def remote_of(settings: Settings, node: Node) -> Remote:
    """How we connect to a node of the site, as deliveries do. Raises ConfigurationError for its TLS files."""
    from broker.site.remotes import Remotes, tls_files  # loads a library that an address does not need

    return Remotes(settings.dicom.ae_title, tls_files(settings.dicom.tls), settings.service.site.parent)(node)


def _address(text: str, calling: str) -> Remote:
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ConfigurationError(f"{text}: not of the form AE@host:port, like PACS@127.0.0.1:104")
    return Remote(match["v6"] or match["host"], int(match["port"]), _ae_title(match["ae"], text), calling)


def _ae_title(text: str, place: str) -> str:
    try:
        return TypeAdapter(AETitle).validate_python(text)
    except ValidationError:
        raise ConfigurationError(
            f"{place}: an AE title is 1 to 16 printable ASCII characters without backslash"
        ) from None


def _node(name: str, settings: Settings) -> Node:
    from broker.routing.site import nodes_in_force  # loads the database layer, which an address does not need

    try:
        nodes = nodes_in_force(settings.database_url(), settings.service.site)
    except StoreUnavailable:
        raise ConfigurationError("database.url: the nodes in force cannot be read: no database there") from None
    node = next((node for node in nodes if node.name == name), None)
    if node is None:
        known = ", ".join(node.name for node in nodes if node.kind == "dicom" and node.port)
        raise ConfigurationError(f"node {name!r}: unknown; " + (f"there are: {known}" if known else "there are none"))
    if node.kind != "dicom" or not node.host or not node.port:
        raise ConfigurationError(f"node {name!r}: no dicom node with host and port")
    return node
