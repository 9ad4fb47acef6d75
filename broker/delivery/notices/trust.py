"""Makes the TLS of connections to webhook, mail, stow and s3 nodes.

Without a table `tls` the authorities of the machine count, as for a browser. A context is made for each connection, so
that files may change while the broker runs.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import ConfigurationError
from broker.site.node_tls import NodeTls
from broker.site.nodes import Node


class NoticeTls:
    """Gives the TLS context of the next connection to a node. Its methods read files."""

    def __init__(self, folder: Path) -> None:
        """Relative paths of a node count from `folder`."""
        self._folder = folder

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Read the files of these nodes. Raises ConfigurationError that names node, key and file."""
        for node in nodes:
            if (node.notified or node.kind in ("stow", "s3")) and node.tls is not None:
                self(node)

    def __call__(self, node: Node) -> ssl.SSLContext | None:
        """For the next connection; None for one in clear. Raises ConfigurationError."""
        if not node.encrypted:
            return None
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if node.tls is not None:
            context = self._own(node.name, node.tls)
        return context

    def _own(self, name: str, files: NodeTls) -> ssl.SSLContext:
        """A context by the table `tls` of a node."""
        place = f"node {name!r}: tls"
        context = ssl.create_default_context() if files.ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for key, path in (("ca", files.ca), ("crl", files.crl)):
            if path is not None:
                with _named(f"{place}.{key}: {self._folder / path}"):
                    context.load_verify_locations(self._folder / path)
        if files.crl is not None:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if files.certificate is not None and files.key is not None:
            with _named(f"{place}.certificate: {self._folder / files.certificate}"):
                context.load_cert_chain(self._folder / files.certificate, self._folder / files.key, password=lambda: "")
        return context


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Turn what a file raises into a ConfigurationError that names it."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        reason = (getattr(error, "reason", None) or error.strerror or "not PEM").lower().replace("_", " ")
        raise ConfigurationError(f"{place}: cannot be used: {reason}") from None
