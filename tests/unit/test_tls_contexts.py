"""TLS contexts: the profile, mistakes that name their key, files that change while the broker runs."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as pem
from structlog.testing import capture_logs
from support.certificates import CLIENT, DAY, Authority, Files, client, now

from broker import tls
from broker.dicom.dimse import words
from broker.errors import ConfigurationError, PeerFault
from broker.tls import TlsContexts, TlsFiles

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


def handshake(server: ssl.SSLContext, peer: ssl.SSLContext, name: str = "broker.example") -> tuple[Any, Any]:
    """Both sides in memory; the server's object and the client's. Raises what the first failing side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    other = peer.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(6):
        for side in (other, one):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one, other


def refusal(server: ssl.SSLContext, peer: ssl.SSLContext, name: str = "broker.example") -> str:
    with pytest.raises(ssl.SSLError) as caught:
        handshake(server, peer, name)
    return tls.failure(caught.value)


def files(authority: Authority, own: Files, crl: Path | None = None) -> TlsFiles:
    return TlsFiles(own.certificate, own.key, authority.ca, crl)


def contexts(what: TlsFiles, *, server: bool = True, clock: Callable[[], float] | None = None) -> TlsContexts:
    return TlsContexts(what, server=server, place="dicom.tls", **({"clock": clock} if clock else {}))


# --- the profile -----------------------------------------------------------------------------------------


def test_only_the_suites_of_the_profile_are_offered(hospital: Authority) -> None:
    own = hospital.issue("broker")
    for server in (True, False):
        context = contexts(files(hospital, own), server=server)()
        offered = [suite["name"] for suite in context.get_ciphers()]
        assert all("GCM" in name or "CHACHA20" in name for name in offered)
        assert all(name.startswith(("TLS_", "ECDHE-")) for name in offered)
        assert context.minimum_version == V12
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.check_hostname is not server


@pytest.mark.parametrize("version", [V12, V13])
def test_both_sides_speak_either_version_and_resume_nothing(hospital: Authority, version: ssl.TLSVersion) -> None:
    server = contexts(files(hospital, hospital.issue("broker", dns=("broker.example",))))()
    modality = client(hospital.issue("ct"), hospital.ca, version)
    for _ in range(2):
        one, other = handshake(server, modality)
        assert one.version() == ("TLSv1.2" if version == V12 else "TLSv1.3")
        assert tls.identity(one.getpeercert(binary_form=True)).names == {"ct"}
        assert not other.session or not other.session.has_ticket
        assert not one.session_reused


def test_suites_of_the_server_come_first(hospital: Authority) -> None:
    server = contexts(files(hospital, hospital.issue("broker", dns=("broker.example",))))()
    modality = client(hospital.issue("ct"), hospital.ca, V12)
    modality.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert handshake(server, modality)[0].cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_our_side_checks_the_name_of_the_server(hospital: Authority, tmp_path: Path) -> None:
    pacs = hospital.issue("pacs", dns=("pacs.example",))
    server = contexts(files(hospital, pacs))()
    ours = contexts(files(hospital, hospital.issue("broker")), server=False)()
    for name in ("pacs.example", "127.0.0.1"):
        assert handshake(server, ours, name)[1].version() == "TLSv1.3"
    for name in ("ris.example", "127.0.0.2"):
        assert refusal(server, ours, name) == "tls-wrong-name"
    assert refusal(contexts(files(hospital, hospital.issue("pacs", usage=(CLIENT,))))(), ours, "127.0.0.1") == (
        "tls-unsuitable-certificate-purpose"
    )
    other = Authority(tmp_path, "Other CA")
    stranger = contexts(TlsFiles(*_pair(other.issue("pacs")), hospital.ca))()
    assert refusal(stranger, ours, "127.0.0.1") == "tls-unable-to-get-local-issuer-certificate"


def _pair(own: Files) -> tuple[Path, Path]:
    return own.certificate, own.key


def test_revocation_needs_a_list_that_is_still_valid(hospital: Authority, tmp_path: Path) -> None:
    own = Authority(tmp_path)
    broker, ct = own.issue("broker", dns=("broker.example",)), own.issue("ct")
    modality = client(ct, own.ca, V12)
    assert handshake(contexts(files(own, broker, own.revoke()))(), modality)
    assert refusal(contexts(files(own, broker, own.revoke(ct.serial)))(), modality) == "tls-certificate-revoked"
    old = contexts(files(own, broker, own.revoke(end=now() - DAY)))()
    assert refusal(old, modality) == "tls-crl-has-expired-or-clock-wrong"


# --- a clock that is wrong: TM-08 ------------------------------------------------------------------------


def test_tm_08_a_certificate_outside_its_time_names_the_clock(hospital: Authority) -> None:
    """Skew of ten minutes: the certificate of a PACS was issued just now, or ended just now."""
    ours = contexts(files(hospital, hospital.issue("broker")), server=False)()
    early = hospital.issue("pacs", start=now() + DAY / 144, file="early")
    late = hospital.issue("pacs", end=now() - DAY / 144, file="late")
    code = refusal(contexts(files(hospital, early))(), ours, "127.0.0.1")
    assert code == "tls-certificate-is-not-yet-valid-or-clock-wrong"
    assert refusal(contexts(files(hospital, late))(), ours, "127.0.0.1") == (
        "tls-certificate-has-expired-or-clock-wrong"
    )
    said = words.failure(PeerFault(code=code))
    assert said == "no TLS handshake: certificate is not yet valid or clock wrong"


def test_tm_08_a_peer_that_finds_ours_expired_names_the_clock() -> None:
    said = ssl.SSLError(1, "alert")
    said.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    assert tls.failure(said) == "tls-sslv3-alert-certificate-expired-or-clock-wrong"


def test_tm_08_a_certificate_of_ours_that_is_not_valid_yet_is_a_clock_behind(hospital: Authority) -> None:
    with capture_logs() as logs:
        contexts(files(hospital, hospital.issue("new", start=now() + DAY, file="tomorrow")))
    assert [(line["event"], line["reason"]) for line in logs] == [("tls.certificate_not_yet_valid", "clock-behind")]


# --- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("certificate", None, "No such file"), ("key", None, "No such file"), ("ca", None, "No such file"),
        ("crl", None, "No such file"),
        ("certificate", b"", "no PEM certificate"), ("ca", b"", "no PEM certificate"), ("key", b"", "cannot be used"),
        ("key", b"\0" * 1000, "cannot be used"), ("certificate", b"-----BEGIN CERTIFICATE-----\n!!\n", "no PEM"),
        ("crl", b"", "no PEM revocation list"), ("key", "other", "does not belong to the certificate"),
        ("key", "locked", "cannot be used"), ("crl", "ca", "no PEM revocation list"),
    ],
)  # fmt: skip
def test_a_mistake_names_key_and_file(
    hospital: Authority, tmp_path: Path, key: str, content: bytes | str | None, words: str
) -> None:
    own = hospital.issue("broker")
    secret = own.key.read_bytes()
    if content == "other":
        content = hospital.issue("another").key.read_bytes()
    elif content == "locked":
        encryption = pem.BestAvailableEncryption(b"secret")
        loaded = pem.load_pem_private_key(secret, None)
        content = loaded.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption)
    elif content == "ca":  # would be trusted as an authority, were it loaded
        content = hospital.revoke().read_bytes() + hospital.ca.read_bytes()
    file = tmp_path / "bad.pem"
    if isinstance(content, bytes):
        file.write_bytes(content)
    given = {"certificate": own.certificate, "key": own.key, "ca": hospital.ca, "crl": None} | {key: file}
    with pytest.raises(ConfigurationError) as caught:
        contexts(TlsFiles(**given))
    text = str(caught.value)
    assert text.startswith(f"dicom.tls.{key}: {file}: ")
    assert words in text
    assert "\n" not in text
    assert secret.splitlines()[1].decode() not in text


def test_a_key_nobody_may_read_is_named(hospital: Authority, tmp_path: Path) -> None:
    own = hospital.issue("broker")
    with pytest.raises(ConfigurationError, match=r"^dicom\.tls\.key: .*: Is a directory"):
        contexts(TlsFiles(own.certificate, tmp_path, hospital.ca))


# --- files that change -----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def serial(context: ssl.SSLContext, hospital: Authority) -> int:
    """Of the certificate that a server shows."""
    peer = client(hospital.issue("ct"), hospital.ca)
    peer.check_hostname = False
    shown = handshake(context, peer)[1].getpeercert()["serialNumber"]
    return int(shown, 16)


def test_changed_files_are_in_force_a_second_later(hospital: Authority) -> None:
    clock = Clock()
    first = hospital.issue("renewed")
    old = first.serial
    made = contexts(files(hospital, first), clock=clock)
    kept = made()
    new = hospital.issue("renewed").serial
    clock.now += 0.9
    assert made() is kept
    with capture_logs() as logs:
        clock.now += 0.2
        renewed = made()
        assert made() is renewed
        clock.now += 5
        assert made() is renewed
    assert (serial(kept, hospital), serial(renewed, hospital)) == (old, new)
    assert [line["event"] for line in logs] == ["tls.reloaded"]


def test_half_replaced_files_leave_the_last_good_context(hospital: Authority) -> None:
    clock = Clock()
    own = hospital.issue("swapped")
    made = contexts(files(hospital, own), clock=clock)
    kept = made()
    new = hospital.issue("swapped", file="next")
    with capture_logs() as logs:
        own.key.write_bytes(new.key.read_bytes())
        for _ in range(3):
            clock.now += 2
            assert made() is kept
        own.certificate.unlink()
        clock.now += 2
        assert made() is kept
        own.certificate.write_bytes(new.certificate.read_bytes())
        clock.now += 2
        assert serial(made(), hospital) == new.serial
    assert [line["event"] for line in logs] == ["tls.not_reloaded", "tls.not_reloaded", "tls.reloaded"]
    secrets = {line for line in new.key.read_text().splitlines() if not line.startswith("-")}
    assert not [secret for secret in secrets if secret in str(logs)]


def test_a_file_that_moves_under_a_link_is_seen(hospital: Authority, tmp_path: Path) -> None:
    clock = Clock()
    link = tmp_path / "current"
    versions = []
    for number in (1, 2):
        own = hospital.issue("linked")
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in _pair(own):
            (folder / path.name).write_bytes(path.read_bytes())
        versions.append(own.serial)
    link.symlink_to(tmp_path / "1")
    made = contexts(TlsFiles(link / "linked.pem", link / "linked.key", hospital.ca), clock=clock)
    assert serial(made(), hospital) == versions[0]
    (tmp_path / "next").symlink_to(tmp_path / "2")
    os.replace(tmp_path / "next", link)
    clock.now += 2
    assert serial(made(), hospital) == versions[1]


def test_a_certificate_that_ends_soon_is_a_warning(hospital: Authority) -> None:
    with capture_logs() as logs:
        contexts(files(hospital, hospital.issue("old", end=now() + 10 * DAY)))
        contexts(files(hospital, hospital.issue("new", end=now() + 300 * DAY)))
    assert [(line["event"], line["count"]) for line in logs] == [("tls.certificate_ends", 9)]


# --- identity --------------------------------------------------------------------------------------------


def test_names_are_common_and_dns_names(hospital: Authority) -> None:
    found = tls.identity(hospital.issue("CT 01", dns=("CT01.example", "x.example")).der)
    assert found.names == {"ct 01", "ct01.example", "x.example"}
    assert len(found.sha256) == 64


@pytest.mark.parametrize("bad", [b"", b"\0" * 500, b"\x30\x82\xff\xff"])
def test_an_unreadable_certificate_has_no_names(bad: bytes) -> None:
    assert tls.identity(bad).names == frozenset()
