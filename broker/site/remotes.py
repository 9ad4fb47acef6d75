"""Makes of a node where the next connection to it goes: address, TLS, AE titles, user identity."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from broker.dicom.association.user import Remote
from broker.errors import ConfigurationError
from broker.hl7.mllp.client import Receiver
from broker.settings import DicomTlsSection, Hl7TlsSection
from broker.site.node_tls import NodeTls
from broker.site.nodes import Node
from broker.site.proof import identity_of
from broker.tls import TlsContexts, TlsFiles


class _Contexts:
    """The TLS of each node that is spoken to by one wire. Files are read again when they change."""

    def __init__(self, kind: str, own: TlsFiles | None, folder: Path) -> None:
        self._kind = kind
        self._own = own
        self._folder = folder
        self._made: dict[tuple[str, NodeTls], TlsContexts] = {}

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Read the files of these nodes. Raises ConfigurationError that names node, key and file."""
        for node in nodes:
            if node.kind == self._kind:
                self.of(node)

    def of(self, node: Node) -> TlsContexts | None:
        """For the next connection to a node; None for one without TLS. Raises ConfigurationError."""
        if node.tls is None:
            return None
        key = (node.name, node.tls)
        contexts = self._made.get(key)
        if contexts is None:
            files = _files(node, self._own, self._folder)
            contexts = TlsContexts(files, server=False, place=f"node {node.name!r}: tls")
            self._made = {made: one for made, one in self._made.items() if made[0] != node.name} | {key: contexts}
        return contexts


class Remotes:
    """Makes a `Remote` of a node as it is now, with certificates that may change while the broker runs."""

    def __init__(self, calling_ae: str, own: TlsFiles | None, folder: Path) -> None:
        """`own`: the files of `[dicom.tls]`; relative paths of a node count from `folder`."""
        self._calling_ae = calling_ae
        self._contexts = _Contexts("dicom", own, folder)

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Read the TLS files of nodes. Raises ConfigurationError that names node, key and file."""
        self._contexts.prepare(nodes)

    def __call__(self, node: Node) -> Remote:
        """Where the next association to this node goes. Raises ConfigurationError for its TLS files."""
        contexts = self._contexts.of(node)
        return Remote(
            node.host,
            node.port,
            node.ae_title,
            self._calling_ae,
            response_timeout=node.answer_timeout,
            tls=contexts() if contexts else None,
            server_name=(node.tls.server_name or "") if node.tls else "",
            identity=identity_of(node),
        )


class Receivers:
    """Makes a `Receiver` of an hl7 node as it is now, with certificates that may change while the broker runs."""

    def __init__(self, own: TlsFiles | None, folder: Path) -> None:
        """`own`: our files for this wire; relative paths of a node count from `folder`."""
        self._contexts = _Contexts("hl7", own, folder)

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Read the TLS files of nodes. Raises ConfigurationError that names node, key and file."""
        self._contexts.prepare(nodes)

    def __call__(self, node: Node) -> Receiver:
        """Where the next connection to this node goes. Raises ConfigurationError for its TLS files."""
        contexts = self._contexts.of(node)
        name = (node.tls.server_name or "") if node.tls else ""
        return Receiver(node.host, node.port, contexts() if contexts else None, name)


class Repositories:
    """Makes the TLS of connections to audit repositories, with certificates that may change while the broker runs."""

    def __init__(self, own: TlsFiles | None, folder: Path) -> None:
        """`own`: the files of `[dicom.tls]`; relative paths of a node count from `folder`."""
        self._contexts = _Contexts("syslog", own, folder)

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Read the TLS files of nodes. Raises ConfigurationError that names node, key and file."""
        self._contexts.prepare(nodes)

    def __call__(self, node: Node) -> ssl.SSLContext | None:
        """For the next connection to a node; None for one without TLS. Raises ConfigurationError."""
        contexts = self._contexts.of(node)
        return contexts() if contexts else None


def _files(node: Node, own: TlsFiles | None, folder: Path) -> TlsFiles:
    """The files the node names, ours where it names none. One with a CA of its own has its own revocation list too."""
    wanted = node.tls
    assert wanted is not None
    ours = (own.certificate, own.key, own.ca) if own else (None, None, None)
    named = (folder / path if path else None for path in (wanted.certificate, wanted.key, wanted.ca))
    certificate, key, ca = (theirs or our for theirs, our in zip(named, ours, strict=True))
    if certificate is None or key is None or ca is None:
        ours_are = "hl7" if node.kind == "hl7" else "dicom"
        raise ConfigurationError(f"node {node.name!r}: tls: needs certificate, key and ca without [{ours_are}.tls]")
    crl = folder / wanted.crl if wanted.crl else own.crl if own and wanted.ca is None else None
    return TlsFiles(certificate, key, ca, crl)


def tls_files(tls: DicomTlsSection | Hl7TlsSection | None) -> TlsFiles | None:
    """Files of `[dicom.tls]` or `[hl7.tls]`, ours for both sides of a connection."""
    return TlsFiles(tls.certificate, tls.key, tls.ca, tls.crl) if tls else None
