"""TLS with foreign programs in both roles, destinations by TLS, and files that change while the broker runs."""

from __future__ import annotations

import socket
import ssl
import sys
import urllib.request
from pathlib import Path

import pytest
from support.certificates import Authority, Files, client
from support.dicom.objects import ct_slice
from support.peers.peers import received, storescp
from support.peers.tools import run, wait_until
from support.service.secure import AC, IMPLICIT, VERIFICATION, TlsScu, associates, door, node, tls_port
from support.service.site import Site

RULE = """
[[rule]]
name = "all"
when = { field = "tag.SOPClassUID", op = "exists" }
send = ["pacs"]
"""


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"), kind="rsa")


def options(own: Files, authority: Authority) -> list[str | Path]:
    """TLS with a certificate, as DCMTK's tools take it."""
    return ["--enable-tls", own.key, own.certificate, "--add-cert-file", authority.ca]


def replaced(file: Path, content: bytes) -> None:
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.replace(file)


def test_dcmtk_comes_and_is_sent_to_by_tls(tmp_path: Path, hospital: Authority) -> None:
    own, ct, pacs = hospital.issue("broker"), hospital.issue("ct01"), hospital.issue("pacs")
    thing = ct_slice(600_000)
    (tmp_path / "one.dcm").write_bytes(thing.part10())
    with storescp(tmp_path / "pacs", *map(str, options(pacs, hospital))) as port:
        nodes = node("ct01", certificate_name="ct01") + node(
            "pacs", host="127.0.0.1", port=port, roles=["destination"], tls={"ca": str(hospital.ca)}, association_idle=0
        )
        config = {"dicom": {"port": 0, "plain": False, "accept": "known"}, "dicom.tls": door(hospital, own)}
        with Site(tmp_path / "site", site=nodes + RULE, config=config) as site:
            assert site.listeners["dicom"] == []
            call = ["-aet", "CT01", "-aec", "BROKER", *options(ct, hospital), "127.0.0.1", str(tls_port(site))]
            for profile in ("--profile-bcp195-nd", "--profile-bcp195", "--profile-bcp195-ex"):
                echo = run("echoscu", profile, *call)
                assert echo.returncode == 0, echo.stdout
            found = run("findscu", "-W", "-k", "PatientName", *call)
            assert found.returncode == 0, found.stdout
            # before anything is delivered: storescp serves one association at a time
            config_file = str(tmp_path / "site" / "broker.toml")
            asked = run(sys.executable, "-m", "broker", "echo", "pacs", "--config", config_file)
            assert asked.returncode == 0, asked.stdout
            for _ in range(5):
                sent = run("storescu", *call, tmp_path / "one.dcm", timeout=10)
                assert sent.returncode == 0, sent.stdout
            wait_until(lambda: received(tmp_path / "pacs"), 20, "the image is delivered by TLS")
            config_file = str(tmp_path / "site" / "broker.toml")
            asked = run(sys.executable, "-m", "broker", "echo", "pacs", "--config", config_file)
            assert asked.returncode == 0, asked.stdout
            wait_until(lambda: site.rows("select state from job") in ([], [("done",)]), 10, "the job is done")
            with urllib.request.urlopen(f"{site.web}/health/ready", timeout=10) as answer:
                assert answer.status == 200
            stranger = run("echoscu", "-aet", "CT01", "-aec", "BROKER", *options(pacs, hospital), *call[-2:])
            assert stranger.returncode != 0
    assert received(tmp_path / "pacs") == {thing.sop_instance: thing.data}


def test_a_destination_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path, hospital: Authority) -> None:
    own, pacs = hospital.issue("broker"), hospital.issue("pacs")
    (tmp_path / "one.dcm").write_bytes(ct_slice(2000).part10())
    with storescp(tmp_path / "pacs", *map(str, options(pacs, hospital))) as port:
        where = {"host": "127.0.0.1", "port": port, "roles": ["destination"]}
        nodes = node("ct01") + node("pacs", **where, tls={"server_name": "archive.example"})
        with Site(tmp_path / "site", site=nodes + RULE, config={"dicom.tls": door(hospital, own)}) as site:
            sent = run("storescu", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom), tmp_path / "one.dcm")
            assert sent.returncode == 0, sent.stdout
            wait_until(lambda: "tls-wrong-name" in site.logged(), 20, "the wrong name is told")
            assert received(tmp_path / "pacs") == {}


def test_certificates_and_revocations_change_while_the_broker_runs(tmp_path: Path, hospital: Authority) -> None:
    own = Authority(tmp_path / "ca", kind="ec")
    broker, ct = own.issue("broker"), own.issue("ct01")
    modality = client(ct, own.ca)
    config = {"dicom": {"port": 0, "accept": "known"}, "dicom.tls": door(own, broker, crl=own.revoke())}
    with Site(tmp_path / "site", site=node("ct01"), config=config) as site, TlsScu(tls_port(site), modality) as first:
        assert first.associate([(VERIFICATION, IMPLICIT)], calling=b"CT01")[0] == AC
        old = broker.der
        assert first.shown == old
        new = own.issue("broker", file="next")

        # the key comes first: until the certificate is there too, the old pair serves
        replaced(broker.key, new.key.read_bytes())
        wait_until(lambda: _used(site, modality) and "tls.not_reloaded" in site.logged(), 10, "the half is noticed")
        assert _shown(site, modality) == old
        replaced(broker.certificate, new.certificate.read_bytes())
        wait_until(lambda: _shown(site, modality) == new.der, 10, "the new certificate is shown")
        assert site.logged().count("tls.not_reloaded") == 1

        own.revoke(ct.serial)
        wait_until(lambda: not _used(site, modality), 10, "the revoked certificate is refused")
        wait_until(lambda: "tls-certificate-revoked" in site.logged(), 5, "it is told")
        assert first.echo() == 0, "associations that stand are left alone"
        own.revoke()
        wait_until(lambda: _used(site, modality), 10, "it is valid again")
        secrets = {line for line in new.key.read_text().splitlines() if not line.startswith("-")}
        assert not [secret for secret in secrets if secret in site.logged()]


def _shown(site: Site, context: ssl.SSLContext) -> bytes:
    with TlsScu(tls_port(site), context) as peer:
        return peer.shown


def _used(site: Site, context: ssl.SSLContext) -> bool:
    try:
        return associates(tls_port(site), context, "CT01")[0] == AC
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": "gone.key"}, "dicom.tls.key: "), ({"ca": "site.toml"}, "dicom.tls.ca: "),
        ({"crl": "site.toml"}, "dicom.tls.crl: "), ({"certificate": "gone.pem"}, "dicom.tls.certificate: "),
        ({"port": "taken"}, "dicom.tls.port: cannot listen"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_files_ends_the_start_with_one_line(
    tmp_path: Path, hospital: Authority, change: dict[str, str], words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {key: taken.getsockname()[1] if value == "taken" else value for key, value in change.items()}
        site = Site(tmp_path, site=node("ct01"), config={"dicom.tls": door(hospital, hospital.issue("b"), **given)})
        with pytest.raises(AssertionError):
            site.start()
    assert site.process is not None
    assert site.process.returncode == 2
    assert [line for line in site.logged().splitlines() if words in line]
    assert "Traceback" not in site.logged()


def test_a_bad_file_of_a_destination_names_the_node(tmp_path: Path) -> None:
    files = {"certificate": "gone.pem", "key": "gone.key", "ca": "ca.pem"}
    site = Site(tmp_path, site=node("pacs", host="127.0.0.1", port=1, roles=["destination"], tls=files))
    with pytest.raises(AssertionError):
        site.start()
    assert f"node 'pacs': tls.certificate: {tmp_path / 'gone.pem'}: No such file" in site.logged()


def test_identity_required_of_everybody(tmp_path: Path) -> None:
    config = {"dicom": {"port": 0, "accept": "any", "user_identity": "required"}}
    with Site(tmp_path, site=node("ct01"), config=config) as site:
        refused = run("echoscu", "-v", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom))
        assert refused.returncode != 0
        assert "Rejected" in refused.stdout
        wait_until(lambda: "reason=identity" in site.logged(), 5, "audited")
