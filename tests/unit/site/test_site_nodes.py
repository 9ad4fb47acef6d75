"""Nodes: what a site file may say, and who is let in."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dicom.wire.admission import (
    CALLED_AE_UNKNOWN,
    CALLING_AE_UNKNOWN,
    NOT_AUTHENTIC,
    ConnectionOrigin,
    Rejection,
)
from broker.dicom.wire.negotiation import AssociationRequest, ProposedContext
from broker.errors import ConfigurationError
from broker.site.directory import Directory, NodeAdmission
from broker.site.nodes import parse_nodes

CT: dict[str, Any] = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}
MR = {**CT, "name": "mr1", "ae_title": "MR01", "host": "10.0.0.7"}
RIS = {"name": "ris", "kind": "hl7", "application": "RIS", "facility": "A", "roles": ["ris"]}
HOOK: dict[str, Any] = {"name": "desk", "kind": "webhook", "url": "https://desk.example/hook", "roles": ["notify"]}
POST: dict[str, Any] = {
    "name": "post", "kind": "mail", "host": "mail.example", "port": 587, "roles": ["notify"],
    "mail": {"sender": "broker@hospital.example", "to": "it@hospital.example"},
}  # fmt: skip
CLEAR = POST["mail"] | {"security": "none"}
ARR = {"name": "arr", "kind": "syslog", "host": "arr.example", "port": 6514, "roles": ["audit"]}


def test_nodes_are_read() -> None:
    ct, mr, ris = parse_nodes([CT, MR, RIS])
    assert (ct.ae_title, ct.host, ct.roles) == ("CT01", "", frozenset({"modality"}))
    assert (mr.host, ris.application, ris.facility) == ("10.0.0.7", "RIS", "A")


def test_an_audit_repository_is_a_node() -> None:
    (arr,) = parse_nodes([ARR])
    assert arr.audits
    assert arr.repository is not None
    assert (arr.repository.transport, arr.repository.codes, arr.repository.patient_names) == ("tcp", "dicom", False)
    assert not any(node.audits or node.repository for node in parse_nodes([CT, MR, RIS]))


def test_who_is_told_of_rules_is_a_node() -> None:
    hook, plain, post = parse_nodes([HOOK, {**HOOK, "name": "b", "url": "http://[::1]:8080/x?y=1"}, POST])
    assert (hook.host, hook.port, hook.encrypted, hook.notified) == ("desk.example", 443, True, True)
    assert (plain.host, plain.port, plain.encrypted) == ("::1", 8080, False)
    assert "/hook" not in repr(hook)  # its path may be a secret
    assert post.mail is not None
    assert (post.mail.to, post.mail.security, post.encrypted) == (("it@hospital.example",), "starttls", True)
    assert not any(node.notified for node in parse_nodes([CT, MR, RIS, ARR]))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({**HOOK, "roles": []}, "roles: notify is the one role of a webhook or mail node"),
        ({**HOOK, "roles": ["notify", "ris"]}, "roles: notify is the one role of a webhook or mail node"),
        ({**CT, "roles": ["notify"]}, "roles: notify is the one role of a webhook or mail node"),
        ({key: HOOK[key] for key in ("name", "kind", "roles")}, "url: a webhook node needs one"),
        ({**POST, "url": "https://x"}, "url: a webhook, stow or s3 node has one, and no other"),
        ({**HOOK, "mail": POST["mail"]}, "mail: a mail node has one, and no other"),
        ({**CT, "timeout": 5}, "timeout: for a webhook or mail node"),
        ({**HOOK, "timeout": 0.5}, "timeout: must be at least 1"),
        ({**HOOK, "host": "x"}, "host: a webhook node has host and port in its url"),
        ({**HOOK, "url": "ftp://x/y"}, "url: no address of http or https"),
        ({**HOOK, "url": "https://"}, "url: no address of http or https"),
        ({**HOOK, "url": "https://x:99999/"}, "url: no address of http or https"),
        ({**HOOK, "url": "https://u:p@x/"}, "url: without user and password"),
        ({**HOOK, "url": "https://x/#a"}, "url: without a fragment"),
        ({**HOOK, "url": "https://x/a b"}, "url: an address is printable ASCII"),
        ({**HOOK, "url": "https://x/\r\nHost: y"}, "url: an address is printable ASCII"),
        ({**HOOK, "url": "http://x/", "passcode": "t"}, "passcode: goes over TLS only"),
        ({**HOOK, "url": "http://x/", "tls": {"ca": "a"}}, "tls: for a url of https"),
        ({**HOOK, "passcode": "two words"}, "passcode: a bearer token is printable ASCII"),
        ({**HOOK, "passcode": "x\r\ny"}, "passcode: a bearer token is printable ASCII"),
        ({**HOOK, "username": "a:b", "passcode": "c"}, "username: has no colon"),
        ({**HOOK, "username": "a"}, "username: has no colon, and comes together with passcode"),
        ({**HOOK, "certificate_name": "x"}, "certificate_name: only a dicom node has one"),
        ({**POST, "port": None}, "host: a mail node has host and port"),
        ({**POST, "username": "a"}, "username: comes together with passcode"),
        ({**POST, "mail": {"sender": "a@b", "to": []}}, "mail.to"),
        ({**POST, "mail": {"sender": "Anna <a@b>", "to": "a@b"}}, "mail.sender: an address like"),
        ({**POST, "mail": {"sender": "a@b", "to": "a@b\nBcc: c@d"}}, "mail.to.0: an address like"),
        ({**POST, "mail": {"sender": "a@b", "to": ".a@b"}}, "mail.to.0: an address like"),
        (
            {**POST, "mail": POST["mail"] | {"security": "none"}, "username": "a", "passcode": "b"},
            "passcode: goes over TLS",
        ),
        (
            {**POST, "mail": POST["mail"] | {"security": "none"}, "tls": True},
            "tls: for a url of https, or a mail server",
        ),
    ],
)
def test_who_is_told_must_be_whole(table: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_nodes([table])
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({**CT, "colour": "red"}, "node 'ct1': colour: unknown key"),
        ({**CT, "kind": "fax"}, "node 'ct1': kind"),
        ({"kind": "dicom", "ae_title": "X"}, "node 1: name"),
        ({**CT, "name": "../x"}, "name"),
        ({**CT, "ae_title": "X" * 17}, "node 'ct1': ae_title"),
        ({"name": "x", "kind": "dicom"}, "node 'x': ae_title: a dicom node needs one"),
        ({"name": "x", "kind": "hl7"}, "node 'x': application"),
        ({**CT, "port": 0}, "node 'ct1': port"),
        ({**CT, "roles": ["boss"]}, "node 'ct1': roles"),
        ({**CT, "roles": ["destination"]}, "a destination is a dicom node with host and port"),
        ({**CT, "roles": ["audit"]}, "roles: audit is the one role of a syslog node"),
        ({**ARR, "roles": []}, "roles: audit is the one role of a syslog node"),
        ({**ARR, "roles": ["audit", "ris"]}, "roles: audit is the one role of a syslog node"),
        ({**ARR, "port": None}, "roles: audit is the one role of a syslog node, which has host and port"),
        ({**CT, "repository": {}}, "repository: for a syslog node with role audit"),
        ({**ARR, "tls": True, "repository": {"transport": "udp"}}, "tls: goes with transport tcp"),
        ({**ARR, "repository": {"message_id": "two words"}}, "node 'arr': repository.message_id"),
        ({**ARR, "repository": {"codes": "x"}}, "node 'arr': repository.codes"),
        ({**CT, "roles": ["mpps"]}, "an mpps node is a dicom node with host and port"),
        ({**MR, "roles": ["mpps-notification"]}, "an mpps-notification node is a dicom node with host and port"),
        ({**RIS, "host": "h", "port": 1, "roles": ["ris", "mpps"]}, "an mpps node is a dicom node"),
        ({**CT, "roles": ["worklist"]}, "a worklist is a dicom node with host and port"),
        ({**RIS, "roles": ["worklist"], "host": "h", "port": 1}, "a worklist is a dicom node with host and port"),
        ({**MR, "port": 1, "source": {}}, "source: for a dicom node with role worklist"),
        ({**MR, "port": 1, "roles": ["worklist"], "source": {"every": 0}}, "node 'mr1': source.every"),
        ({**MR, "port": 1, "roles": ["worklist"], "source": {"missing": "drop"}}, "node 'mr1': source.missing"),
        ({**MR, "port": 1, "roles": ["worklist"], "source": {"stations": ["X" * 17]}}, "node 'mr1': source.stations"),
        ({**CT, "associations": 0}, "node 'ct1': associations"),
        ({**CT, "association_idle": -1}, "node 'ct1': association_idle"),
    ],
)
def test_mistakes_name_node_and_key(table: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_nodes([table])
    assert named in str(caught.value)


def test_nodes_are_found_by_their_roles() -> None:
    board = {**MR, "name": "board", "port": 104, "roles": ["mpps", "mpps-notification"]}
    directory = Directory(parse_nodes([CT, board, RIS]))
    assert [[node.name for node in directory.having(role)] for role in ("mpps", "mpps-notification", "worklist")] == [
        ["board"], ["board"], [],
    ]  # fmt: skip
    assert [node.called for node in directory.nodes] == [False, True, False]


def test_names_are_unique() -> None:
    with pytest.raises(ConfigurationError, match="used twice"):
        parse_nodes([CT, {**MR, "name": "ct1"}])


def ask(accept: Any, called: str, calling: str, address: str) -> tuple[Rejection | None, list[tuple[str, str]]]:
    knocked: list[tuple[str, str]] = []
    admission = NodeAdmission(
        Directory(parse_nodes([CT, MR])), "BROKER", accept, lambda title, where, *_: knocked.append((title, where))
    )
    request = AssociationRequest(called, calling, (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),))
    answer = admission.admit(request, ConnectionOrigin(address))
    return answer if isinstance(answer, Rejection) else None, knocked


@pytest.mark.parametrize(
    ("accept", "called", "calling", "address", "refusal", "knocks"),
    [
        ("known", "BROKER", "CT01", "192.0.2.1", None, 0),
        ("known", "BROKER", "MR01", "10.0.0.7", None, 0),
        ("known", "BROKER", "MR01", "10.0.0.8", NOT_AUTHENTIC, 1),  # bound to its host
        ("known", "BROKER", "ct01", "192.0.2.1", CALLING_AE_UNKNOWN, 1),
        ("known", "BROKER", "", "192.0.2.1", CALLING_AE_UNKNOWN, 0),
        ("known", "broker", "CT01", "192.0.2.1", CALLED_AE_UNKNOWN, 1),
        ("any", "BROKER", "WHOEVER", "192.0.2.1", None, 1),
        ("any", "BROKER", "A\x00B", "192.0.2.1", CALLING_AE_UNKNOWN, 0),
        ("any", "BROKER", "caf\xe9", "192.0.2.1", CALLING_AE_UNKNOWN, 0),
        ("any", "../x", "WHOEVER", "192.0.2.1", CALLED_AE_UNKNOWN, 1),
    ],
)
def test_admission(
    accept: str, called: str, calling: str, address: str, refusal: Rejection | None, knocks: int
) -> None:
    answer, knocked = ask(accept, called, calling, address)
    assert answer == refusal
    assert len(knocked) == knocks


def test_senders_of_orders() -> None:
    directory = Directory(parse_nodes([CT, RIS, {**RIS, "name": "ris2", "application": "RIS2", "facility": None}]))
    assert directory.knows_sender("RIS", "A")
    assert not directory.knows_sender("RIS", "B")
    assert directory.knows_sender("RIS2", "anything")
    assert not directory.knows_sender("CT01", "A")
