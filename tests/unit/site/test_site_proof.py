"""Who a caller proves to be: certificate and user identity of nodes, and what becomes of those that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from structlog.testing import capture_logs
from support.certificates import Authority, Files

from broker import telemetry, tls
from broker.dicom.wire.admission import (
    CALLING_AE_UNKNOWN,
    IDENTITY_REFUSED,
    NOT_AUTHENTIC,
    ConnectionOrigin,
    Grant,
    Rejection,
)
from broker.dicom.wire.negotiation import AssociationRequest
from broker.dicom.wire.user_information import UserIdentity, UserInformation
from broker.errors import ConfigurationError
from broker.site.directory import Directory, NodeAdmission
from broker.site.node_tls import NodeTls
from broker.site.nodes import parse_nodes
from broker.site.proof import identifies, identity_of
from broker.site.remotes import Remotes

CT = {"name": "ct", "kind": "dicom", "ae_title": "CT01"}
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def ct(hospital: Authority) -> Files:
    return hospital.issue("ct01", dns=("CT01.Hospital.example",))


@pytest.fixture(scope="module")
def mr(hospital: Authority) -> Files:
    return hospital.issue("mr01")


CHECKED = Grant(identity_checked=True, node=True)


def admit(
    tables: list[dict[str, Any]], certificate: Files | None = None, *, calling: str = "CT01", address: str = HERE,
    accept: Any = "known", identity: UserIdentity | None = None, required: bool = False,
) -> Rejection | Grant | None:  # fmt: skip
    admission = NodeAdmission(
        Directory(parse_nodes(tables)), "BROKER", accept, lambda *_: None, identity_required=required
    )
    request = AssociationRequest("BROKER", calling, (), UserInformation(identity=identity))
    answer = admission.admit(request, ConnectionOrigin(address, certificate.der if certificate else None))
    return None if answer in (Grant(), Grant(node=True)) else answer


# --- certificates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ct01", "CT01", "ct01.hospital.EXAMPLE"])
def test_a_certificate_is_bound_by_common_or_dns_name(ct: Files, mr: Files, name: str) -> None:
    bound = [CT | {"certificate_name": name}]
    for accept in ("known", "any"):
        assert admit(bound, ct, accept=accept) is None
        assert admit(bound, mr, accept=accept) == NOT_AUTHENTIC
        assert admit(bound, None, accept=accept) == NOT_AUTHENTIC


def test_a_certificate_is_bound_by_fingerprint_and_its_successor_too(ct: Files, mr: Files) -> None:
    digests = [tls.identity(file.der).sha256 for file in (ct, mr)]
    colons = ":".join(digests[0][i : i + 2] for i in range(0, 64, 2)).upper()
    assert admit([CT | {"certificate_sha256": colons}], ct) is None
    assert admit([CT | {"certificate_sha256": colons}], mr) == NOT_AUTHENTIC
    assert admit([CT | {"certificate_sha256": digests}], mr) is None
    both = CT | {"certificate_sha256": digests, "certificate_name": "ct01"}
    assert (admit([both], ct), admit([both], mr)) == (None, NOT_AUTHENTIC)


def test_ul13_a_certificate_speaks_for_its_own_node_only(ct: Files, mr: Files, hospital: Authority) -> None:
    nodes = [CT, {"name": "mr", "kind": "dicom", "ae_title": "MR01", "certificate_name": "mr01"}]
    assert admit(nodes, mr, calling="MR01") is None
    assert admit(nodes, ct) is None  # CT01 names no certificate: any that is not another's
    assert admit(nodes, mr) == NOT_AUTHENTIC
    assert admit(nodes, mr, calling="NEW", accept="any") == NOT_AUTHENTIC
    assert admit(nodes, ct, calling="NEW", accept="any") is None
    shared = [*nodes, CT | {"name": "ct-on-mr", "certificate_name": "mr01"}]
    assert admit(shared, mr) is None


def test_nodes_of_one_title_at_two_addresses_have_their_own_certificates(ct: Files, mr: Files) -> None:
    nodes = [
        CT | {"name": "a", "host": "127.0.0.1", "certificate_name": "ct01"},
        CT | {"name": "b", "host": "127.0.0.2", "certificate_name": "mr01"},
    ]
    assert admit(nodes, ct, address="127.0.0.1") is None
    assert admit(nodes, mr, address="127.0.0.2") is None
    assert admit(nodes, mr, address="127.0.0.1") == NOT_AUTHENTIC
    assert admit(nodes, ct, address="127.0.0.3") == NOT_AUTHENTIC


def test_ul12_what_fails_is_told_and_counted_and_says_nothing_else(ct: Files, mr: Files) -> None:
    bound = [CT | {"host": HERE, "certificate_name": "ct01", "username": "u", "passcode": "secret"}]

    def failures(reason: str) -> float:
        found = telemetry.NODE_AUTHENTICATION_FAILURES.labels(reason)
        return float(found._value.get())

    wrong = UserIdentity(2, b"u", b"hidden")
    for reason, certificate, address in (
        ("address", ct, "127.0.0.9"),
        ("certificate", mr, HERE),
        ("identity", ct, HERE),
    ):
        before = failures(reason)
        with capture_logs() as logs:
            assert admit(bound, certificate, address=address, identity=wrong) is not None
        assert failures(reason) == before + 1
        assert logs == [
            {"event": "node.authentication_failed", "log_level": "warning", "peer": address, "calling_ae": "CT01",
             "reason": reason, "repeats": None}
        ]  # fmt: skip
    with capture_logs() as logs:
        assert admit(bound, None, calling="STRANGER") == CALLING_AE_UNKNOWN
    assert logs == []


# --- user identity ---------------------------------------------------------------------------------------

GOOD = UserIdentity(2, b"ct01", "Zürich".encode())
IDENTIFIED = CT | {"username": "ct01", "passcode": "Zürich"}


@pytest.mark.parametrize(
    "identity",
    [
        None, UserIdentity(1, b"ct01"), UserIdentity(1, b"ct01", GOOD.secondary), UserIdentity(2, b"ct01", b""),
        UserIdentity(2, b"", b""), UserIdentity(2, b"ct01", b"Z\xfcrich"), UserIdentity(2, b"CT01", GOOD.secondary),
        UserIdentity(2, GOOD.secondary, b"ct01"), UserIdentity(2, b"ct01\0", GOOD.secondary),
        UserIdentity(3, b"ct01", GOOD.secondary), UserIdentity(4, b"ct01"), UserIdentity(5, b"ct01"),
        UserIdentity(0, b"ct01", GOOD.secondary), UserIdentity(255, b"", b""),
        UserIdentity(2, b"a" * 65_500, GOOD.secondary), UserIdentity(2, b"ct01", b"a" * 65_500),
    ],
)  # fmt: skip
def test_ul15_required_means_required(identity: UserIdentity | None) -> None:
    for accept in ("known", "any"):
        assert admit([IDENTIFIED], identity=identity, accept=accept) == IDENTITY_REFUSED
    assert (IDENTITY_REFUSED.result, IDENTITY_REFUSED.source, IDENTITY_REFUSED.reason) == (1, 2, 1)


def test_ul15_the_right_identity_enters() -> None:
    assert admit([IDENTIFIED], identity=GOOD) == CHECKED
    assert admit([CT | {"username": "ct01"}], identity=UserIdentity(1, b"ct01")) == CHECKED
    assert admit([CT], identity=UserIdentity(1, b"anything")) is None
    assert admit([CT], identity=None) is None


@given(some.binary(max_size=20), some.binary(max_size=20), some.integers(0, 255))
def test_ul15_nothing_but_kind_name_and_passcode_opens(primary: bytes, secondary: bytes, kind: int) -> None:
    (node,) = parse_nodes([IDENTIFIED])
    right = (kind, primary, secondary) == (GOOD.kind, GOOD.primary, GOOD.secondary)
    assert identifies(node, UserIdentity(kind, primary, secondary)) == right


def test_identity_required_of_everybody_closes_the_door_for_those_without() -> None:
    assert admit([IDENTIFIED], identity=GOOD, required=True) == CHECKED
    for accept in ("known", "any"):
        assert admit([CT], identity=GOOD, required=True, accept=accept) == IDENTITY_REFUSED
    assert admit([CT], identity=GOOD, required=True, accept="any", calling="NEW") == IDENTITY_REFUSED


def test_what_we_say_of_ourselves() -> None:
    named, passcode, neither = parse_nodes([CT | {"username": "ct01"}, IDENTIFIED | {"name": "b"}, CT | {"name": "c"}])
    assert identity_of(named) == UserIdentity(1, b"ct01", b"", positive_response=True)
    assert identity_of(passcode) == UserIdentity(2, GOOD.primary, GOOD.secondary, positive_response=True)
    assert identity_of(neither) is None
    assert "Zürich" not in repr(passcode)
    assert identifies(passcode, identity_of(passcode))


# --- nodes and the way to them ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"certificate_sha256": "12"}, ["certificate_sha256", "64 hexadecimal"]),
        ({"certificate_sha256": [1]}, ["certificate_sha256"]), ({"certificate_name": ""}, ["certificate_name"]),
        ({"certificate_name": "ä"}, ["certificate_name"]), ({"certificate_name": "a..b"}, ["certificate_name"]),
        ({"certificate_name": "x" * 64}, ["certificate_name"]), ({"passcode": "p"}, ["passcode: needs a username"]),
        ({"username": ""}, ["username"]), ({"username": "u", "passcode": ""}, ["passcode"]),
        ({"tls": True}, ["tls: for a node with host and port"]),
        ({"tls": True, "host": "a..b", "port": 1}, ["host"]), ({"tls": 3, "host": "h", "port": 1}, ["tls"]),
        ({"tls": {"certificate": "c"}, "host": "h", "port": 1}, ["tls", "certificate and key come together"]),
        ({"tls": {"cert": "c"}, "host": "h", "port": 1}, ["tls.cert: unknown key"]),
        ({"tls": {"server_name": ".x"}, "host": "h", "port": 1}, ["tls.server_name"]),
        ({"kind": "hl7", "ae_title": None, "application": "A", "username": "u"}, ["username: only a dicom node"]),
    ],
)  # fmt: skip
def test_mistakes_name_node_and_key(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_nodes([{key: value for key, value in (CT | change).items() if value is not None}])
    text = str(caught.value)
    assert text.startswith("node 'ct': ")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_passcode_never_stands_in_an_error() -> None:
    for change in ({"username": 1, "passcode": "hunter2"}, {"passcode": "hunter2"}, {"passcode": ["hunter2"]}):
        with pytest.raises(ConfigurationError) as caught:
            parse_nodes([CT | change])
        assert "hunter2" not in str(caught.value)


def test_tls_of_a_node_takes_what_it_does_not_name_from_ours(hospital: Authority, ct: Files, mr: Files) -> None:
    own = tls.TlsFiles(ct.certificate, ct.key, hospital.ca)
    plain, ours, theirs, off = parse_nodes([
        PACS,
        PACS | {"name": "b", "tls": True, "username": "u"},
        PACS | {"name": "c", "tls": {"certificate": "mr01.pem", "key": "mr01.key", "server_name": "pacs.example"}},
        PACS | {"name": "d", "tls": False},
    ])  # fmt: skip
    assert (ours.tls, off.tls) == (NodeTls(), None)
    remotes = Remotes("BROKER", own, hospital.folder)
    remotes.prepare((plain, ours, theirs, off))
    assert (remotes(plain).tls, remotes(off).tls) == (None, None)
    assert remotes(ours).tls is not None
    assert remotes(ours).identity == UserIdentity(1, b"u", positive_response=True)
    assert remotes(theirs).tls is not remotes(ours).tls
    assert (remotes(ours).server_name, remotes(theirs).server_name) == ("", "pacs.example")
    assert (remotes(plain).host, remotes(plain).port, remotes(plain).called_ae) == ("127.0.0.1", 104, "PACS")


def test_tls_of_a_node_without_files_is_a_configuration_error(hospital: Authority, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^node 'pacs': tls: needs certificate, key and ca"):
        Remotes("BROKER", None, tmp_path).prepare(parse_nodes([PACS | {"tls": True}]))
    named = PACS | {"tls": {"certificate": "gone.pem", "key": "gone.key", "ca": "ca.pem"}}
    with pytest.raises(ConfigurationError, match=r"^node 'pacs': tls\.certificate: .*gone\.pem: No such file"):
        Remotes("BROKER", None, hospital.folder).prepare(parse_nodes([named]))
