"""What a support bundle takes out of texts and documents, and what it leaves."""

from __future__ import annotations

import json

import pytest

from broker.cli.support.hiding import HIDDEN, Hiding

RULES = {
    "rule": [{
        "name": "CT to PACS", "description": "for Canary^Carl", "send": ["pacs"], "priority": 3,
        "when": {"all": [
            {"field": "tag.Modality", "op": "is", "value": "CT"},
            {"field": "tag.PatientID", "op": "in", "values": ["CANARYPAT1", 4711]},
        ]},
        "example": [{"tag.PatientName": "Canary^Carl", "name": "Canary^Carl"}],
    }],
    "default": {"action": "hold", "reason": "ask Canary^Carl"},
}  # fmt: skip
NODE = {
    "name": "pacs", "kind": "dicom", "host": "pacs.hospital.example", "port": 104, "tls": True, "passcode": "s3cret",
    "url": "https://user:s3cret@hooks.example/s3cret", "roles": ["destination"],
}  # fmt: skip


def test_rules_keep_their_shape_and_no_patient() -> None:
    shown = Hiding(addresses=True).document(RULES)
    text = json.dumps(shown)
    assert "anary" not in text
    assert "CANARY" not in text
    assert "4711" not in text
    (rule,) = shown["rule"]
    assert (rule["name"], rule["send"], rule["priority"]) == ("CT to PACS", ["pacs"], 3)
    assert rule["when"]["all"][0] == {"field": "tag.Modality", "op": "is", "value": "CT"}
    assert rule["when"]["all"][1] == {"field": "tag.PatientID", "op": "in", "values": [HIDDEN, HIDDEN]}
    assert "example" not in rule
    assert shown["default"] == {"action": "hold", "reason": HIDDEN}


def test_nodes_keep_no_secret_and_an_address_only_if_asked() -> None:
    for addresses in (True, False):
        shown = Hiding(addresses=addresses).document([NODE])
        assert "s3cret" not in json.dumps(shown)
        assert (shown[0]["name"], shown[0]["port"], shown[0]["tls"]) == ("pacs", 104, True)
        assert ("pacs.hospital.example" in json.dumps(shown)) is addresses


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("peer=10.1.2.3:104 x", "peer=(address):104 x"),
        ("at 127.0.0.1:8080 and 0.0.0.0", "at 127.0.0.1:8080 and 0.0.0.0"),
        ("from 2001:db8::7 at 12:30:15", "from (address) at 12:30:15"),
        ("[::1] and ::", "[::1] and ::"),
        ("to pacs.hospital.example, not pacs", "to (host), not pacs"),
        ("study 2.25.81.7.19010203.5 of 1.2.840.10008.5.1.4.31", "study (uid) of 1.2.840.10008.5.1.4.31"),
        ("study 1.2.276.0.7230010.3.1.2", "study (uid)"),
        ("study 2.25.102820020980926934117741238133438263716.", "study (uid)."),
    ],
)
def test_texts(text: str, shown: str) -> None:
    hiding = Hiding(addresses=False, hosts=["pacs.hospital.example", "pacs"])
    assert hiding.text(text) == shown


def test_settings_lose_their_addresses() -> None:
    hiding = Hiding(addresses=False)
    assert hiding.setting("database.url", "postgresql://db.example/broker") == HIDDEN
    assert hiding.setting("dicom.port", "104") == "104"
    assert hiding.setting("web.host", "") == ""
