"""How we connect to a node: address, TLS; for a DICOM one AE titles and user identity."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from broker.dicom.association.user import Remote
from broker.errors import ConfigurationError
from broker.hl7.client import Receiver
from broker.settings import DicomTlsSection, Hl7TlsSection
from broker.site.nodes import Node
from broker.site.proof import identity_of
from broker.tls import TlsContexts, TlsFiles


class Remotes:
    """Makes a `Remote` of a node, with certificates that may change while the broker runs."""

    def __init__(self, calling_ae: str, nodes: Iterable[Node], own: TlsFiles | None, folder: Path) -> None:
        """`own`: the files of `[dicom.tls]`; relative paths of a node count from `folder`.

        Raises ConfigurationError that names node, key and file.
        """
        self._calling_ae = calling_ae
        self._contexts = _contexts(nodes, "dicom", own, folder)

    def __call__(self, node: Node) -> Remote:
        """Where the next association to this node goes."""
        contexts = self._contexts.get(node.name)
        return Remote(
            node.host,
            node.port,
            node.ae_title,
            self._calling_ae,
            tls=contexts() if contexts else None,
            server_name=(node.tls.server_name or "") if node.tls else "",
            identity=identity_of(node),
        )


class Receivers:
    """Makes a `Receiver` of an hl7 node, with certificates that may change while the broker runs."""

    def __init__(self, nodes: Iterable[Node], own: TlsFiles | None, folder: Path) -> None:
        """`own`: our files for this wire; relative paths of a node count from `folder`.

        Raises ConfigurationError that names node, key and file.
        """
        self._contexts = _contexts(nodes, "hl7", own, folder)

    def __call__(self, node: Node) -> Receiver:
        """Where the next connection to this node goes."""
        contexts = self._contexts.get(node.name)
        name = (node.tls.server_name or "") if node.tls else ""
        return Receiver(node.host, node.port, contexts() if contexts else None, name)


def _contexts(nodes: Iterable[Node], kind: str, own: TlsFiles | None, folder: Path) -> dict[str, TlsContexts]:
    """By name, for those of the nodes that are of this kind and spoken to over TLS."""
    return {
        node.name: TlsContexts(_files(node, own, folder), server=False, place=f"node {node.name!r}: tls")
        for node in nodes
        if node.tls is not None and node.kind == kind
    }


def _files(node: Node, own: TlsFiles | None, folder: Path) -> TlsFiles:
    """The files the node names, ours where it names none. One with a CA of its own has its own revocation list too."""
    wanted = node.tls
    assert wanted is not None
    ours = (own.certificate, own.key, own.ca) if own else (None, None, None)
    named = (folder / path if path else None for path in (wanted.certificate, wanted.key, wanted.ca))
    certificate, key, ca = (theirs or our for theirs, our in zip(named, ours, strict=True))
    if certificate is None or key is None or ca is None:
        raise ConfigurationError(f"node {node.name!r}: tls: needs certificate, key and ca without [{node.kind}.tls]")
    crl = folder / wanted.crl if wanted.crl else own.crl if own and wanted.ca is None else None
    return TlsFiles(certificate, key, ca, crl)


def tls_files(tls: DicomTlsSection | Hl7TlsSection | None) -> TlsFiles | None:
    """Files of `[dicom.tls]` or `[hl7.tls]`, ours for both sides of a connection."""
    return TlsFiles(tls.certificate, tls.key, tls.ca, tls.crl) if tls else None
