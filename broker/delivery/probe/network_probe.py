"""The steps that DICOM and HL7 share: look up the name, connect, shake hands by TLS and look at the certificate."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker import tls
from broker.delivery.probe.outcome import ProbeLog, StepOutcome, shortened
from broker.model.wording import Sentence
from broker.tls import WARN_BEFORE

RESOLVE, CONNECT, HANDSHAKE = 5.0, 5.0, 8.0  # seconds
MOST_ADDRESSES = 8  # told of a name


@dataclass(frozen=True, slots=True)
class Place:
    """Where the broker connects to. `server_name`: expected in the certificate."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str


async def reach(log: ProbeLog, place: Place) -> bool:
    """Look up, connect and shake hands; False if it cannot be reached, which the log says."""
    if not await resolve(log, place.host) or not await _connect(log, place):
        return False
    return place.tls is None or await _handshake(log, place, place.tls)


async def resolve(log: ProbeLog, host: str) -> bool:
    """Look up the name of a host; False if it is not known, which the log says."""
    log.begin()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        log.add("name", StepOutcome.SKIPPED, Sentence("%(host)s is an address: no name to look up", {"host": host}))
        return True
    try:
        async with asyncio.timeout(RESOLVE):
            entries = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        log.add(
            "name",
            StepOutcome.BAD,
            Sentence("The name %(host)s is not known here", {"host": host}),
            Sentence("Check its spelling and the name server of this machine, or enter the address itself."),
        )
        return False
    found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    told = ", ".join(found[:MOST_ADDRESSES])
    log.add("name", StepOutcome.GOOD, Sentence("%(host)s is %(addresses)s", {"host": host, "addresses": told}))
    return True


async def _connect(log: ProbeLog, place: Place) -> bool:
    where = {"host": place.host, "port": str(place.port)}
    try:
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(place.host, place.port)
    except TimeoutError:
        log.add(
            "connection",
            StepOutcome.BAD,
            Sentence("No answer from %(host)s port %(port)s within %(seconds)s s", where | {"seconds": int(CONNECT)}),
            Sentence("Is the machine on, is the address right, does a firewall drop what comes from the broker?"),
        )
        return False
    except ConnectionRefusedError:
        log.add(
            "connection",
            StepOutcome.BAD,
            Sentence("%(host)s refuses connections on port %(port)s", where),
            Sentence("The machine answers, but nothing listens there: start the application, or correct the port."),
        )
        return False
    except OSError as error:
        log.add(
            "connection",
            StepOutcome.BAD,
            Sentence(
                "%(host)s port %(port)s cannot be reached: %(reason)s",
                where | {"reason": shortened(error.strerror or type(error).__name__)},
            ),
            Sentence("Check the address, the route to it, and firewalls between the broker and the node."),
        )
        return False
    writer.transport.abort()
    log.add("connection", StepOutcome.GOOD, Sentence("Connected to %(host)s port %(port)s", where))
    return True


async def _handshake(log: ProbeLog, place: Place, context: ssl.SSLContext) -> bool:
    """Shake hands as the broker would; if that fails, look at the certificate without trust, to say what is wrong."""
    try:
        certificate, version = await _shaken(place, context)
    except (OSError, TimeoutError) as error:
        code = tls.failure(error).removeprefix("tls-").replace("-", " ")
        seen = await _seen_without_trust(place)
        log.add(
            "tls",
            StepOutcome.BAD,
            Sentence("No TLS: %(reason)s. %(certificate)s", {"reason": code, "certificate": seen}),
            _tls_advice(error),
        )
        return False
    found = _facts(certificate)
    values = {"version": version, "names": ", ".join(found.names), "issuer": found.issuer, "until": found.until}
    if found.days < WARN_BEFORE:
        log.add(
            "tls",
            StepOutcome.WARNING,
            Sentence(
                "%(version)s; the certificate of %(names)s by %(issuer)s ends on %(until)s, in %(n)s day",
                values | {"n": found.days},
                "%(version)s; the certificate of %(names)s by %(issuer)s ends on %(until)s, in %(n)s days",
            ),
            Sentence("Have it renewed at the node before it ends: then nothing can be sent there any more."),
        )
    else:
        log.add(
            "tls",
            StepOutcome.GOOD,
            Sentence(
                "%(version)s; the certificate of %(names)s by %(issuer)s is trusted and good until %(until)s",
                values,
            ),
        )
    return True


async def _shaken(place: Place, context: ssl.SSLContext) -> tuple[bytes, str]:
    """The certificate (DER) and version of a handshake. Raises OSError, TimeoutError."""
    async with asyncio.timeout(HANDSHAKE):
        _, writer = await asyncio.open_connection(
            place.host, place.port, ssl=context, server_hostname=place.server_name or place.host
        )
        try:
            session = writer.get_extra_info("ssl_object")
            certificate = session.getpeercert(binary_form=True) if session is not None else None
            return certificate or b"", (session.version() if session is not None else "") or "TLS"
        finally:
            writer.transport.abort()


async def _seen_without_trust(place: Place) -> str:
    """What certificate a node presents, trusted or not, in words; empty if it presents none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        certificate, _ = await _shaken(place, context)
    except (OSError, TimeoutError):
        return ""
    found = _facts(certificate)
    if not found.names:
        return ""
    return shortened(f"({', '.join(found.names)}; {found.issuer}; {found.since} – {found.until})")


def _tls_advice(error: BaseException) -> Sentence:
    code = tls.failure(error)
    if "wrong-name" in code:
        return Sentence("Enter the name that its certificate has as server name, or have a certificate made for it.")
    if code in (tls.CLOSED, tls.DEADLINE):
        return Sentence("It may not speak TLS on this port, or it does not trust our certificate: look at its log.")
    if "clock" in code:
        return Sentence("Have the certificate renewed, or correct the clock that is wrong.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Sentence("Enter the authority that has signed its certificate as `ca`, if that is to be trusted.")
    return Sentence(
        "Compare TLS versions and cipher suites: the node must know TLS 1.3, or 1.2 with ECDHE and AES-GCM."
    )


@dataclass(frozen=True, slots=True)
class _CertificateFacts:
    """What a certificate says; dates as text, `days` until it ends."""

    names: Sequence[str]
    issuer: str
    since: str
    until: str
    days: int


def _facts(certificate: bytes) -> _CertificateFacts:
    try:
        found = x509.load_der_x509_certificate(certificate)
        names = sorted(tls.identity(certificate).names)[:MOST_ADDRESSES]
        issuer = [str(entry.value) for entry in found.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)]
        begins, end = found.not_valid_before_utc, found.not_valid_after_utc
    except ValueError:
        return _CertificateFacts((), "", "", "", 0)
    return _CertificateFacts(
        [shortened(name) for name in names],
        shortened(issuer[0]) if issuer else "?",
        f"{begins:%Y-%m-%d}",
        f"{end:%Y-%m-%d}",
        (end - datetime.now(UTC)).days,
    )
