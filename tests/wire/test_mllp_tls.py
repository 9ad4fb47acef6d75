"""The HL7 doors for TLS of the real broker: who is let in, what it costs others, and certificates that change."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.certificates import DAY, Authority, client, now
from support.peers.tools import ENVIRONMENT, tool, wait_until
from support.service.secure import HERE, door
from support.service.site import Mllp, Site, order

from broker.hl7.mllp import framing

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TlsMllp(Mllp):
    """A raw MLLP client over TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port, 10)
        plain = self.socket
        try:
            self.socket = context.wrap_socket(plain, server_hostname=HERE)
        except BaseException:
            plain.close()
            raise


def tls_port(site: Site, number: int = 0) -> int:
    return int(site.listeners["hl7-tls"][number][1])


def enters(port: int, context: ssl.SSLContext, number: int) -> bool:
    """A message is taken; False if the door closes instead (in TLS 1.3 the client learns that only when it reads)."""
    try:
        with TlsMllp(port, context) as ris:
            answer = ris.exchange(order(number))
    except (ssl.SSLError, ConnectionError):
        return False
    if answer:
        assert answer["MSA"][0][1] == "AA"
    return bool(answer)


class Hospital:
    """A broker with TLS doors, and certificates."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        self.own, self.ris = self.authority.issue("broker"), self.authority.issue("ris1", dns=("ris.hospital",))
        self.other, self.revoked = self.authority.issue("other"), self.authority.issue("revoked")
        crl = self.authority.revoke(self.revoked.serial)
        self.site = Site(
            folder / "site",
            config={
                "hl7.tls": door(self.authority, self.own, crl=crl),
                "limits": {"tls_handshake_timeout": 1, "half_open_per_address": 5},
            },
        )
        second: dict[str, Any] = {"name": "named", "port": 0, "plain": False}
        second["tls"] = door(self.authority, self.own, client_names=["RIS.hospital"])
        self.site.environment["BROKER_HL7__LISTENER"] = json.dumps([second])

    def context(self, files: Any = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        return client(files or self.ris, self.authority.ca, version)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    with made.site:
        yield made


def metric(site: Site, line: str) -> float:
    with urllib.request.urlopen(site.web + "/metrics", timeout=10) as answer:
        found = re.search(rf"^{re.escape(line)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_plain_and_tls_doors_stand_side_by_side(hospital: Hospital) -> None:
    site = hospital.site
    assert len(site.listeners["hl7"]) == 1
    assert len(site.listeners["hl7-tls"]) == 2
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    assert site.rows("select distinct listener from message") == [("hl7-1",)]


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_of_tls_and_many_messages(hospital: Hospital, version: ssl.TLSVersion) -> None:
    base = 100 * version.value
    with TlsMllp(tls_port(hospital.site), hospital.context(version=version)) as ris:
        assert ris.socket.version() == {0x303: "TLSv1.2", 0x304: "TLSv1.3"}[version.value]  # type: ignore[attr-defined]
        for number in range(20):
            assert ris.exchange(order(base + number))["MSA"][0][1] == "AA"
        large = order(base + 50) + "".join(f"NTE|{n}||{'x' * 1000}\r" for n in range(1000))
        assert ris.exchange(large)["MSA"][0][1] == "AA"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_not_let_in(hospital: Hospital, tmp_path: Path, version: ssl.TLSVersion) -> None:
    port = tls_port(hospital.site)
    foreign = Authority(tmp_path / "other")
    nobody = client(None, hospital.authority.ca, version)
    expired = hospital.authority.issue("expired", start=now() - 9 * DAY, end=now() - DAY)
    before = metric(hospital.site, 'broker_hl7_tls_failures_total{reason="handshake"}')
    assert not enters(port, nobody, 1)
    for files in (foreign.issue("stranger"), expired, hospital.revoked):
        assert not enters(port, hospital.context(files, version), 1)
    assert metric(hospital.site, 'broker_hl7_tls_failures_total{reason="handshake"}') == before + 4
    with Mllp(port, 5) as plain:  # no TLS at all
        plain.send(order(1))
        assert b"MSA" not in plain.receive()
    assert enters(port, hospital.context(version=version), 3)
    assert "hl7.tls_refused" in hospital.site.logged()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_door_bound_to_names_of_certificates(hospital: Hospital, version: ssl.TLSVersion) -> None:
    before = metric(hospital.site, 'broker_hl7_tls_failures_total{reason="certificate"}')
    port = tls_port(hospital.site, 1)
    assert enters(port, hospital.context(version=version), 4)
    assert not enters(port, hospital.context(hospital.other, version), 4)
    assert enters(tls_port(hospital.site), hospital.context(hospital.other, version), 4)
    assert metric(hospital.site, 'broker_hl7_tls_failures_total{reason="certificate"}') == before + 1
    assert ("named",) in hospital.site.rows("select distinct listener from message")


def test_handshakes_that_never_end_are_cut_and_keep_nobody_out(hospital: Hospital) -> None:
    port = tls_port(hospital.site)
    crowd = [socket.create_connection((HERE, port), 10, ("127.0.0.66", 0)) for _ in range(8)]  # a stranger's address
    for number, peer in enumerate(crowd):
        peer.sendall(b"\x16\x03\x01" if number % 2 else b"")
    other = socket.create_connection((HERE, port), 10, ("127.0.0.9", 0))
    with hospital.context().wrap_socket(other, server_hostname=HERE) as ris:
        ris.sendall(framing.wrap(order(5).encode()))
        assert b"\rMSA|AA|" in ris.recv(65536)
    for peer in crowd:  # three at once for being too many, five at the deadline
        with suppress(ConnectionResetError):
            assert peer.recv(1) == b""
        peer.close()
    assert metric(hospital.site, 'broker_hl7_tls_failures_total{reason="handshakes"}') >= 3
    wait_until(lambda: enters(port, hospital.context(), 6), 5, "others may enter")


def test_a_certificate_is_replaced_while_the_broker_runs(hospital: Hospital) -> None:
    port = tls_port(hospital.site)

    def shown() -> bytes:
        with TlsMllp(port, hospital.context()) as ris:
            assert isinstance(ris.socket, ssl.SSLSocket)
            return ris.socket.getpeercert(binary_form=True) or b""

    with TlsMllp(port, hospital.context()) as ris:
        assert ris.exchange(order(7))["MSA"][0][1] == "AA"
        fresh = hospital.authority.issue("broker2")
        fresh.key.replace(hospital.own.key)
        fresh.certificate.replace(hospital.own.certificate)
        wait_until(lambda: shown() == hospital.own.der, 10, "the new certificate is shown")
        assert ris.exchange(order(8))["MSA"][0][1] == "AA"  # what runs is left alone
    assert hospital.site.alive()


def test_openssl_is_answered(hospital: Hospital) -> None:
    files = ["-cert", hospital.ris.certificate, "-key", hospital.ris.key, "-CAfile", hospital.authority.ca]
    command = [tool("openssl"), "s_client", "-connect", f"{HERE}:{tls_port(hospital.site)}", *map(str, files)]
    command += ["-quiet", "-verify_return_error", "-nocommands"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for number in (9, 10):
                process.stdin.write(framing.wrap(order(number).encode()))
                process.stdin.flush()
                answer = b""
                while not answer.endswith(b"\x1c\r"):
                    piece = process.stdout.read1()
                    assert piece, "openssl has ended"
                    answer += piece
                assert b"\rMSA|AA|" in answer
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("changes", "listener", "words"),
    [
        ({"key": "gone.key"}, None, "hl7.tls.key: "), ({"ca": "site.toml"}, None, "hl7.tls.ca: "),
        ({}, {"name": "b", "port": 0, "tls": {"certificate": "x"}}, "hl7.listener.0.tls.key"),
        ({}, {"port": 0, "charset": "EBCDIC"}, "hl7.listener.0.charset: "),
        ({"port": "taken"}, None, "hl7.tls.port: cannot listen"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_key(
    tmp_path: Path, changes: dict[str, Any], listener: dict[str, Any] | None, words: str
) -> None:
    authority = Authority(tmp_path / "ca")
    with socket.create_server((HERE, 0)) as taken:
        given = {key: taken.getsockname()[1] if value == "taken" else value for key, value in changes.items()}
        site = Site(tmp_path, config={"hl7.tls": door(authority, authority.issue("b"), **given)})
        if listener is not None:
            site.environment["BROKER_HL7__LISTENER"] = json.dumps([listener])
        with pytest.raises(AssertionError):
            site.start()
        assert site.process is not None
        assert site.process.returncode == 2
    lines = [line for line in site.logged().splitlines() if line.startswith("configuration error")]
    assert len(lines) == 1
    assert words in lines[0]
