"""Makes TLS contexts from files, reads those again when they change, and names the owner of a verified certificate.

The profile is that of PS3.15 B.12 (BCP 195: RFC 8996 and RFC 9325), which has no way down: TLS 1.2 and 1.3, ephemeral
key exchange and authenticated encryption only, both sides with a certificate. Validity, chain, purpose (extended key
usage) and revocation are checked by OpenSSL inside the handshake.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker import telemetry
from broker.errors import ConfigurationError
from broker.whole_files import read_whole

# TLS 1.2 suites that RFC 9325 4.2 recommends; those of TLS 1.3 are all of this kind
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=2"
)
OLDEST = ssl.TLSVersion.TLSv1_2
DEADLINE, CLOSED = "tls-deadline", "tls-closed"  # the peer did not finish: no word about who it is
LOOK_AGAIN = 1.0  # seconds between two looks at the files
WARN_BEFORE = 30  # days before the end of a certificate of ours
# X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _CRL_NOT_YET_VALID, _CRL_HAS_EXPIRED; what a peer says of ours
_BY_CLOCK = (9, 10, 11, 12)
_BY_CLOCK_OF_PEER = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
OR_CLOCK = "-or-clock-wrong"  # a wrong clock is as likely as a certificate that nobody replaced
_NOT_A_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: their text quotes the name

Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate (with its chain) and key, who may sign a peer's, and what was revoked.

    Without `ca` a peer needs no certificate: browsers have none.
    """

    certificate: Path
    key: Path
    ca: Path | None
    crl: Path | None = None


class TlsContexts:
    """Gives the context for the next handshake; made anew once a file changed.

    While the files do not fit together (a key is replaced before its certificate), the last good context stays.
    """

    def __init__(
        self, files: TlsFiles, *, server: bool, place: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`place` is where the files are named, for errors. Raises ConfigurationError: the text names the key."""
        self._files = files
        self._server = server
        self._place = place
        self._clock = clock
        self._looked = clock()
        self._stamp = _stamp(files)
        self._context = self._make()

    def __call__(self) -> ssl.SSLContext:
        """The context in force. Looks at the files once a second at most; never raises for what they hold."""
        now = self._clock()
        if now - self._looked < LOOK_AGAIN:
            return self._context
        self._looked = now
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return self._context
        self._stamp = stamp
        try:
            self._context = self._make()
        except ConfigurationError as error:
            telemetry.logger().error("tls.not_reloaded", key=self._place, message=str(error))
        else:
            telemetry.logger().info("tls.reloaded", key=self._place)
        return self._context

    def _make(self) -> ssl.SSLContext:
        context = _profile(server=self._server, peers=self._files.ca is not None)
        begins, end = _load(context, self._files, self._place)
        telemetry.TLS_CERTIFICATE_END.labels(self._place).set(end.timestamp())
        now = datetime.now(UTC)
        if begins > now:  # it was in force when it was made: our clock is behind
            telemetry.logger().warning("tls.certificate_not_yet_valid", key=self._place, reason="clock-behind")
        days = (end - now).days
        if days < WARN_BEFORE:
            telemetry.logger().warning("tls.certificate_ends", key=self._place, count=days)
        return context


def _profile(*, server: bool, peers: bool) -> ssl.SSLContext:
    """An empty context, for our side as server or as client, which also checks the server's name.

    `peers`: they must have a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = OLDEST
    context.set_ciphers(CIPHERS)
    # without tickets every association authenticates anew, and no ticket key weakens forward secrecy
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    if server:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 0
    context.check_hostname = not server
    context.verify_mode = ssl.CERT_REQUIRED if peers else ssl.CERT_NONE
    return context


def _load(context: ssl.SSLContext, files: TlsFiles, place: str) -> tuple[datetime, datetime]:
    """Fill a context; begin and end of our certificate. Raises ConfigurationError: one line with key and file."""
    certificate = _certificates(files.certificate, f"{place}.certificate")[0]
    if files.ca is not None:
        _certificates(files.ca, f"{place}.ca")
    _read(files.key, f"{place}.key")
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        reason = (getattr(error, "reason", None) or "no PEM private key without passphrase").lower().replace("_", " ")
        key = "certificate" if reason.startswith(("ee key", "ca md", "ca key")) else "key"
        fault = "does not belong to the certificate" if reason == "key values mismatch" else f"cannot be used: {reason}"
        raise ConfigurationError(f"{place}.{key}: {getattr(files, key)}: {fault}") from None
    if files.ca is not None:
        _trust(context, files.ca, f"{place}.ca")
    if files.crl is not None:
        data = _read(files.crl, f"{place}.crl")
        if b"-----BEGIN X509 CRL-----" not in data or b"CERTIFICATE-----" in data:  # a certificate would be trusted
            raise ConfigurationError(f"{place}.crl: {files.crl}: holds no PEM revocation list, or more than that")
        _trust(context, files.crl, f"{place}.crl")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def begin(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, context: ssl.SSLContext, early: bytes, within: float
) -> asyncio.Task[asyncio.Transport | None]:
    """Start a handshake as server on a connection of the running loop, `within` seconds long at most.

    `early` is what came before: uvloop begins to read after `connection_made` in spite of a pause there. The task
    gives the new transport, None when the peer went meanwhile, or raises an OSError: see `failure`.
    """
    loop = asyncio.get_running_loop()
    starting = loop.create_task(
        loop.start_tls(transport, protocol, context, server_side=True, ssl_handshake_timeout=within)
    )
    if early:  # at the next turn its protocol stands in the place of the first, and reading has not gone on yet
        loop.call_soon(_feed, transport, early)
    return starting


class Threshold(asyncio.Protocol):
    """A new connection before its handshake: nothing is read, and what comes in spite of that is kept."""

    def __init__(self, enter: Callable[[asyncio.Transport, bytearray], None]) -> None:
        """`enter` begins with the connection, and gets the bytes that fill up."""
        self._enter = enter
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand it on."""
        plain = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        plain.pause_reading()
        self._enter(plain, self._early)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self._early += data


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    """Hand over bytes as a transport does."""
    protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())
    while data and not transport.is_closing():
        room = memoryview(protocol.get_buffer(len(data)))
        count = min(len(room), len(data))
        room[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


def failure(error: BaseException) -> str:
    """A code for log and metrics of what ended a handshake, such as `tls-no-shared-cipher`.

    Where a wrong clock of either side may be the cause it says so: `tls-certificate-is-not-yet-valid-or-clock-wrong`.
    """
    if isinstance(error, TimeoutError):
        return DEADLINE
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    clock = False
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = error.verify_code in _BY_CLOCK
        text = "wrong name" if error.verify_code in _NOT_A_NAME else error.verify_message or "certificate"
    else:
        clock = error.reason == _BY_CLOCK_OF_PEER
        text = error.reason or "failed"
    return "tls-" + re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] + (OR_CLOCK if clock else "")


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """Owner of a certificate: common and DNS names in lower case, and the SHA-256 of the certificate in hexadecimal."""

    names: frozenset[str]
    sha256: str


def identity(certificate: bytes) -> CertificateIdentity:
    """Read a verified certificate (DER). One that cannot be read has no names."""
    digest = hashlib.sha256(certificate).hexdigest()
    try:
        owner = x509.load_der_x509_certificate(certificate)
        names = [str(entry.value) for entry in owner.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        for extension in owner.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names += extension.value.get_values_for_type(x509.DNSName)
    except ValueError:
        return CertificateIdentity(frozenset(), digest)
    return CertificateIdentity(frozenset(name.lower() for name in names), digest)


def subject(certificate: bytes | None) -> str:
    """The subject of a verified certificate (DER) as RFC 4514 writes it; empty without one that can be read."""
    if certificate is None:
        return ""
    try:
        return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except ValueError:
        return ""


def _stamp(files: TlsFiles) -> Stamp:
    """State of the files that differs once one has changed, also by a rename, a link that moves or new permissions."""
    stamps: list[tuple[int, ...] | None] = []
    for path in (files.certificate, files.key, files.ca, files.crl):
        try:
            state = path.stat() if path is not None else None
        except OSError:
            state = None
        stamps.append(state and (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
    return tuple(stamps)


def _read(path: Path, key: str) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        raise ConfigurationError(f"{key}: {path}: {error.strerror or 'cannot be read'}") from None


def _certificates(path: Path, key: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, key))
    except ValueError:
        raise ConfigurationError(f"{key}: {path}: holds no PEM certificate") from None


def _trust(context: ssl.SSLContext, path: Path, key: str) -> None:
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise ConfigurationError(f"{key}: {path}: cannot be used") from None
