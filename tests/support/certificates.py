"""Certificates as a hospital's authority issues them, and as it should not."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def now() -> datetime:
    """The time at which it is asked: a run of the tests is longer than some certificates here."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Files:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path

    @property
    def der(self) -> bytes:
        """The certificate."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    @property
    def serial(self) -> int:
        """Its serial number."""
        return x509.load_der_x509_certificate(self.der).serial_number


def _key(kind: str) -> Any:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """A certificate authority that writes into a folder; `ca` is its own certificate."""

    def __init__(self, folder: Path, name: str = "Hospital CA", kind: str = "ec") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._kind = folder, kind
        self._key, self._subject = _key(kind), _name(name)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        own = (
            self._begin(self._subject, self._key, now() - DAY, now() + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(own.public_bytes(Encoding.PEM))

    def _begin(
        self, subject: x509.Name, key: Any, start: datetime, end: datetime, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or self._subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(end)

    def issue(
        self, common: str, *, dns: tuple[str, ...] = (), start: datetime | None = None, end: datetime | None = None,
        usage: tuple[Any, ...] = (SERVER, CLIENT), self_signed: bool = False, file: str = "",
    ) -> Files:  # fmt: skip
        """A certificate for a device, valid from yesterday for 90 days, for the names `dns` and 127.0.0.1."""
        start, end = start or now() - DAY, end or now() + 90 * DAY
        key = _key(self._kind)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = self._begin(_name(common), key, start, end, _name(common) if self_signed else None)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        made = builder.sign(key if self_signed else self._key, hashes.SHA256())
        stem = file or common.replace("*", "_")
        files = Files(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        files.certificate.write_bytes(made.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def revoke(self, *serials: int, end: datetime | None = None) -> Path:
        """Write the list of revoked certificates, which is valid for 30 days."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._subject)
        builder = builder.last_update(now() - 2 * DAY).next_update(end or now() + 30 * DAY)
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        file = self.folder / "crl.pem"
        part = self.folder / "crl.part"
        part.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        part.replace(file)
        return file


def client(files: Files | None, ca: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """How a modality connects: its certificate, its trust in the broker, one TLS version or what both like best."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
