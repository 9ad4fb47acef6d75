"""DICOM over TLS at the real broker: foreign and hostile peers, certificates, user identity, files that change.

Names carry the ids of the reliability catalogue. Audit lines are limited to one per address, event and minute, so
each case comes from a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import support.peers.pausing  # noqa: F401
from pynetdicom import AE
from support.certificates import CLIENT, DAY, SERVER, Authority, Files, client, now
from support.dicom import raw
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.loops import SOON
from support.peers.tools import wait_until
from support.service.secure import AC, HERE, IMPLICIT, RJ, VERIFICATION, TlsScu, associates, door, node, tls_port
from support.service.site import Site

PRIVATE = "1.2.826.0.1.3680043.9.9999.1"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def metric(site: Site, name: str, label: str) -> float:
    with urllib.request.urlopen(f"{site.web}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name}{{{label}}} "):
                return float(line.split()[-1])
    return 0.0


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"), kind="rsa")


@pytest.fixture(scope="module")
def modality(hospital: Authority) -> Files:
    return hospital.issue("ct01")


@pytest.fixture(scope="module")
def broker(hospital: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    own = hospital.issue("broker")
    nodes = [
        node("ct01", certificate_name="ct01"), node("mr01", certificate_name="mr01"), node("us01"),
        node("xa01", host=HERE),
        node("id01", username="id01", passcode="open sesame"), node("id02", username="id02"),
    ]  # fmt: skip
    revoked = hospital.issue("revoked")
    config = {
        "dicom": {"port": 0, "accept": "known", "private_sop_classes": [PRIVATE]},
        "dicom.tls": door(hospital, own, crl=hospital.revoke(revoked.serial)),
        "limits": {"half_open_per_address": 250, "tls_handshake_timeout": 5},
    }
    with Site(tmp_path_factory.mktemp("site"), site="\n".join(nodes), config=config) as site:
        yield site


# --- the handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13])
def test_a_modality_works_over_either_version(
    broker: Site, hospital: Authority, modality: Files, version: ssl.TLSVersion
) -> None:
    context = client(modality, hospital.ca, version)
    with TlsScu(tls_port(broker), context) as peer:
        assert peer.socket.version() == ("TLSv1.2" if version == V12 else "TLSv1.3")
        assert peer.associate([(VERIFICATION, IMPLICIT)], calling=b"CT01")[0] == AC
        assert peer.echo() == 0
    ae = AE("CT01")
    ae.add_requested_context(VERIFICATION)
    association = ae.associate(HERE, tls_port(broker), ae_title="BROKER", tls_args=(context, HERE))
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()


def test_ul02_silent_connections_delay_nobody_and_end_in_five_seconds(
    broker: Site, hospital: Authority, modality: Files
) -> None:
    selector = selectors.DefaultSelector()
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            silent = stack.enter_context(socket.create_connection((HERE, tls_port(broker)), 10, ("127.0.1.2", 0)))
            selector.register(silent, selectors.EVENT_READ)
        stack.callback(selector.close)
        context = client(modality, hospital.ca)
        for _ in range(5):
            before = time.monotonic()
            assert associates(tls_port(broker), context, "CT01")[0] == AC
            assert time.monotonic() - before < SOON
        assert not selector.select(0), "the silent ones are still there, it was they who did not delay"
        while selector.get_map():
            ended = selector.select(started + 8 - time.monotonic())
            assert ended, f"{len(selector.get_map())} connections still open after 8 s"
            for key, _ in ended:
                with contextlib.suppress(ConnectionResetError):
                    assert key.fileobj.recv(100) == b""  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
    assert time.monotonic() - started > 4


def test_ul03_a_client_hello_byte_by_byte_meets_a_total_deadline(broker: Site) -> None:
    hello = client_hello(0x0303, [0xC02F])
    started = time.monotonic()
    with socket.create_connection((HERE, tls_port(broker)), 10, ("127.0.1.3", 0)) as slow:
        slow.settimeout(1)
        for byte in hello:
            try:
                slow.sendall(bytes((byte,)))
                assert slow.recv(100) == b""
                break
            except TimeoutError:
                assert time.monotonic() - started < 8
            except ConnectionError:
                break
    assert 4 < time.monotonic() - started < 8


def client_hello(version: int, suites: list[int]) -> bytes:
    """A ClientHello of RFC 5246 7.4.1.2, without supported_versions: TLS 1.2 at most."""
    groups = struct.pack(">HHHHH", 10, 6, 4, 0x001D, 0x0017)
    algorithms = struct.pack(">HHHHHH", 13, 8, 6, 0x0401, 0x0804, 0x0201)
    body = struct.pack(">H", version) + bytes(range(32)) + b"\0"
    body += struct.pack(f">H{len(suites)}H", 2 * len(suites), *suites) + b"\x01\x00"
    body += struct.pack(">H", len(groups + algorithms)) + groups + algorithms
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return struct.pack(">BHH", 22, 0x0301, len(message)) + message


OLD = {
    "tls10": (0x0301, [0xC014, 0x002F]), "tls11": (0x0302, [0xC014, 0x002F]), "ssl3": (0x0300, [0x002F]),
    "rc4": (0x0303, [0x0005, 0xC011]), "3des": (0x0303, [0x000A, 0xC012, 0x0016]), "null": (0x0303, [0x003B, 0xC010]),
    "static-rsa": (0x0303, [0x009C, 0x009D, 0x002F, 0x0035]), "dhe": (0x0303, [0x009E, 0x009F]),
    "cbc": (0x0303, [0xC013, 0xC014, 0xC027, 0xC028]), "anonymous": (0x0303, [0x00A6, 0xC018, 0x0034]),
    "export": (0x0303, [0x0003, 0x0008, 0x0014]),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_ul21_old_versions_and_weak_suites_are_refused(broker: Site, name: str) -> None:
    source = f"127.0.2.{list(OLD).index(name) + 1}"
    with socket.create_connection((HERE, tls_port(broker)), 10, (source, 0)) as peer:
        peer.sendall(client_hello(*OLD[name]))
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := peer.recv(100):
                answer += piece
    # no ServerHello; a fatal alert (handshake_failure, protocol_version) is lost where the event loop just closes
    assert answer in (b"", answer[:5] + b"\x02\x28", answer[:5] + b"\x02\x46")
    assert answer[:1] in (b"", b"\x15")
    wait_until(lambda: audited(broker, source), 5, "the refusal is audited")


def test_ul21_the_same_hello_with_a_good_suite_is_answered(broker: Site) -> None:
    with socket.create_connection((HERE, tls_port(broker)), 10, ("127.0.2.99", 0)) as peer:
        peer.sendall(client_hello(0x0303, [0xC02F]))
        assert peer.recv(1) == b"\x16"


def audited(site: Site, source: str) -> str:
    """The audit line about this address."""
    lines = [line for line in site.logged().splitlines() if "node.authentication_failed" in line]
    return next((line for line in lines if f"peer={source} " in line), "")


@pytest.fixture(scope="module")
def bad(hospital: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Files | None, str]]:
    other = Authority(tmp_path_factory.mktemp("other"), "Hospital CA")
    revoked = Files(hospital.folder / "revoked.pem", hospital.folder / "revoked.key")
    return {
        "expired": (
            hospital.issue("x", start=now() - 9 * DAY, end=now() - DAY, file="e"),
            "certificate-has-expired-or-clock-wrong",
        ),
        "early": (hospital.issue("x", start=now() + DAY, file="y"), "certificate-is-not-yet-valid-or-clock-wrong"),
        "revoked": (revoked, "certificate-revoked"),
        "wrong-eku": (hospital.issue("x", usage=(SERVER,), file="u"), "unsuitable-certificate-purpose"),
        "self-signed": (hospital.issue("x", self_signed=True, file="s"), "self-signed-certificate"),
        "wrong-ca": (other.issue("ct01"), "unable-to-get-local-issuer-certificate"),
        "none": (None, "peer-did-not-return-a-certificate"),
    }


def refused(port: int, context: ssl.SSLContext, source: str) -> None:
    """In TLS 1.3 a client learns of it with its first read only; one that is cut off sees an end or a reset."""
    with TlsScu(port, context, source=source) as peer:
        if peer.associate([(VERIFICATION, IMPLICIT)], calling=b"CT01") == (0, b""):
            raise ConnectionResetError


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("case", ["expired", "early", "revoked", "wrong-eku", "self-signed", "wrong-ca", "none"])
def test_ul21_a_bad_certificate_is_refused_in_the_handshake_and_audited(
    broker: Site, hospital: Authority, bad: dict[str, Any], case: str, version: ssl.TLSVersion
) -> None:
    files, reason = bad[case]
    source = f"127.0.{3 if version == V12 else 4}.{list(bad).index(case) + 1}"
    before = metric(broker, "broker_dicom_node_authentication_failures_total", 'reason="handshake"')
    with pytest.raises((ssl.SSLError, ConnectionError)):
        refused(tls_port(broker), client(files, hospital.ca, version), source)
    wait_until(lambda: audited(broker, source), 5, "the refusal is audited")
    assert f"reason=tls-{reason} " in f"{audited(broker, source)} "
    assert "calling_ae" not in audited(broker, source)
    assert metric(broker, "broker_dicom_node_authentication_failures_total", 'reason="handshake"') > before


def test_a_certificate_for_clients_only_is_enough(broker: Site, hospital: Authority) -> None:
    files = hospital.issue("ct01", usage=(CLIENT,), file="only")
    assert associates(tls_port(broker), client(files, hospital.ca), "CT01")[0] == AC


def test_plain_dicom_at_the_tls_door_and_tls_at_the_plain_one_end_at_once(
    broker: Site, hospital: Authority, modality: Files
) -> None:
    with RawScu(tls_port(broker), 4) as peer:
        peer.socket.sendall(raw.associate_rq([(VERIFICATION, IMPLICIT)]))
        assert peer.pdu()[0] in (0, 0x15)  # closed, perhaps after a TLS alert
    with pytest.raises((ssl.SSLError, ConnectionError)), TlsScu(broker.dicom, client(modality, hospital.ca)):
        pass
    assert associates(tls_port(broker), client(modality, hospital.ca), "CT01")[0] == AC


# --- who is calling -------------------------------------------------------------------------------------------


def test_ul12_a_known_title_from_elsewhere_or_without_its_certificate(
    broker: Site, hospital: Authority, modality: Files
) -> None:
    with RawScu(broker.dicom) as peer:  # XA01 is bound to this address, CT01 to a certificate
        assert peer.associate([(VERIFICATION, IMPLICIT)], calling=b"XA01")[0] == AC
    with RawScu(broker.dicom) as peer:
        assert peer.associate([(VERIFICATION, IMPLICIT)], calling=b"CT01") == (RJ, b"\0\1\1\3")
    stranger = client(hospital.issue("stranger"), hospital.ca)
    for calling, source, context in (("CT01", "127.0.5.1", stranger), ("XA01", "127.0.5.2", stranger)):
        assert associates(tls_port(broker), context, calling, source=source) == (RJ, b"\0\1\1\3")
        wait_until(lambda: audited(broker, source), 5, "audited")  # noqa: B023
        assert f"calling_ae={calling}" in audited(broker, source)
    assert "reason=certificate" in audited(broker, "127.0.5.1")
    assert "reason=address" in audited(broker, "127.0.5.2")
    # an unknown AE title is a device that knocks, not one that failed to prove itself
    assert associates(tls_port(broker), stranger, "NEW01", source="127.0.5.3") == (RJ, b"\0\1\1\3")
    assert not audited(broker, "127.0.5.3")


def test_ul13_a_known_title_with_the_certificate_of_another(broker: Site, hospital: Authority) -> None:
    other = client(hospital.issue("mr01"), hospital.ca)
    assert associates(tls_port(broker), other, "MR01")[0] == AC
    for calling, source in (("CT01", "127.0.6.1"), ("US01", "127.0.6.2")):  # bound itself, and not
        assert associates(tls_port(broker), other, calling, source=source) == (RJ, b"\0\1\1\3")
        wait_until(lambda: audited(broker, source), 5, "audited")  # noqa: B023
        assert "reason=certificate" in audited(broker, source)
    assert metric(broker, "broker_dicom_node_authentication_failures_total", 'reason="certificate"') >= 2


def identified(calling: str, identity: bytes | None) -> bytes:
    """An association request with a user identity item of these bytes."""
    pdu = raw.associate_rq([(VERIFICATION, IMPLICIT)], calling=calling.encode())
    position = 6 + 68
    while pdu[position] != 0x50:
        position += 4 + int.from_bytes(pdu[position + 2 : position + 4], "big")
    user = pdu[position + 4 :] + (b"" if identity is None else raw.item(0x58, identity))
    body = pdu[6:position] + raw.item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def identity(kind: int, primary: bytes, secondary: bytes = b"", answer: int = 0) -> bytes:
    pack = struct.Struct(">H").pack
    return bytes((kind, answer)) + pack(len(primary)) + primary + pack(len(secondary)) + secondary


WRONG = {
    "absent": None, "wrong passcode": identity(2, b"id01", b"open"), "wrong name": identity(2, b"id02", b"open sesame"),
    "name only": identity(1, b"id01"), "empty": identity(2, b"", b""), "kerberos": identity(3, b"id01"),
    "saml": identity(4, b"<xml/>"), "jwt": identity(5, b"e30.e30."),
    "of no kind": identity(77, b"id01", b"open sesame"),
    "64 KiB": identity(2, b"id01", b"open sesame" + b"A" * 65_300), "64 KiB name": identity(1, b"A" * 65_300),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_ul15_user_identity_is_required_where_a_node_has_one(broker: Site, case: str) -> None:
    with RawScu(broker.dicom) as peer:
        peer.socket.sendall(identified("ID01", WRONG[case]))
        assert peer.pdu() == (RJ, b"\0\1\2\1")
    assert "sesame" not in broker.logged()


@pytest.mark.parametrize(
    "item",
    [b"", b"\x02", b"\x02\0\xff\xff", b"\x02\0\0\4id01\xff\xff", b"\x02\0\0\4id01", b"\x02\0\0\4id01\0\x0copen sesame"],
)
def test_ul15_a_malformed_identity_ends_the_connection(broker: Site, item: bytes) -> None:
    with RawScu(broker.dicom) as peer:
        peer.socket.sendall(identified("ID01", item))
        assert peer.pdu()[0] in (7, 0)


def test_ul15_the_right_identity_is_accepted_and_answered(broker: Site) -> None:
    for calling, right in (("ID01", identity(2, b"id01", b"open sesame", 1)), ("ID02", identity(1, b"id02", b"", 1))):
        with RawScu(broker.dicom) as peer:
            peer.socket.sendall(identified(calling, right))
            kind, body = peer.pdu()
            assert kind == AC
            assert raw.item(0x59, b"\0\0") in body


def test_ul11_titles_that_are_none_are_refused_and_logged_escaped(broker: Site) -> None:
    titles = (b" " * 16, b"\0" * 16, b"A\0B", b"\x1b[31mRED", b"A\nB", b"\xc4\xd6", b"A\\B", b"<b>CT01</b>")
    for number, calling in enumerate(titles):  # each from an address of its own: one line a minute for each
        with RawScu(broker.dicom, source=f"127.0.1.{number + 1}") as peer:
            assert peer.associate([(VERIFICATION, IMPLICIT)], calling=calling) == (RJ, b"\0\1\1\3")
    text = broker.logged()
    assert "\x1b[31mRED" not in text
    assert "\0" not in text
    assert "\\x1b[31mRED" in text


@pytest.mark.parametrize("called", [b"", b"OTHER", b"../other", b"..\\other", b"BROKER/..", b"\0" * 16])
def test_ul14_another_called_title_is_refused(broker: Site, called: bytes) -> None:
    with RawScu(broker.dicom) as peer:
        assert peer.associate([(VERIFICATION, IMPLICIT)], calling=b"US01", called=called) == (RJ, b"\0\1\1\7")


# --- what is served -------------------------------------------------------------------------------------------


def test_a_private_sop_class_of_the_configuration_is_taken_in(broker: Site) -> None:
    thing = ct_slice(2000, SOPClassUID=PRIVATE)
    with RawScu(broker.dicom) as peer:
        assert peer.associate([(PRIVATE, thing.transfer_syntax)], calling=b"US01")[0] == AC
        assert peer.store(thing) == 0
    assert broker.rows("select count(*) from instance where sop_class_uid = ?", PRIVATE) == [(1,)]
