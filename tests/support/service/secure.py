"""A broker with a TLS door in its configuration, and raw peers that come through it."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any, Self

from support.certificates import Authority, Files
from support.dicom import raw
from support.dicom.raw import RawScu
from support.service.site import Site

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
AC, RJ = 2, 3
HERE = "127.0.0.1"


def node(name: str, **more: Any) -> str:
    """A `[[node]]` of site.toml; its AE title is its name in capitals."""
    keys = {"name": name, "kind": "dicom", "ae_title": name.upper(), "roles": ["modality"]} | more
    return "[[node]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def door(authority: Authority, own: Files, **more: Any) -> dict[str, Any]:
    """`[dicom.tls]`."""
    files = {"certificate": own.certificate, "key": own.key, "ca": authority.ca, "port": 0} | more
    return {key: str(value) if isinstance(value, Path) else value for key, value in files.items()}


def tls_port(site: Site) -> int:
    """Port of the TLS door."""
    return int(site.listeners["dicom-tls"][0][1])


class TlsScu(RawScu):
    """A raw peer over TLS, from an address of its choice."""

    def __init__(self, port: int, context: ssl.SSLContext, *, source: str = HERE) -> None:
        plain = socket.create_connection((HERE, port), 10, (source, 0))
        try:
            self.socket = context.wrap_socket(plain, server_hostname=HERE)
        except BaseException:
            plain.close()
            raise

    def echo(self) -> int | None:
        """C-ECHO on context 1; the status."""
        command = raw.command(
            raw.element(0x0002, VERIFICATION.encode()), raw.element(0x0100, raw.us(0x30)),
            raw.element(0x0110, raw.us(1)), raw.element(0x0800, raw.us(0x0101)),
        )  # fmt: skip
        self.socket.sendall(raw.p_data(1, command, is_command=True))
        return self.status()

    @property
    def shown(self) -> bytes:
        """The certificate of the broker (DER)."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.getpeercert(binary_form=True) or b""

    def __enter__(self) -> Self:
        return self


def associates(port: int, context: ssl.SSLContext, calling: str, *, source: str = HERE) -> tuple[int, bytes]:
    """Type and body of the answer to an association request; after AC also a C-ECHO must succeed."""
    with TlsScu(port, context, source=source) as peer:
        answer = peer.associate([(VERIFICATION, IMPLICIT)], calling=calling.encode())
        if answer[0] == AC:
            assert peer.echo() == 0
        return answer
