from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ConfigurationError
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.site.remotes import Receivers

RIS: dict[str, Any] = {
    "name": "ris", "kind": "hl7", "application": "RIS", "facility": "A", "host": "127.0.0.1", "port": 2576,
    "roles": ["ris"],
}  # fmt: skip


def test_the_defaults_retry_errors_and_hold_rejects() -> None:
    [node] = parse_nodes([RIS | {"feedback": {}}])
    wanted = node.feedback
    assert wanted is not None
    assert (wanted.message, wanted.version, wanted.charset) == ("ORM^O01", "2.3.1", "UNICODE UTF-8")
    assert (wanted.on_error, wanted.on_reject, wanted.attempts, wanted.echo) == ("retry", "hold", 3, False)
    assert "images" not in wanted.events
    assert "completed" in wanted.events


def test_only_nodes_with_an_address_and_the_table_are_told() -> None:
    silent = {key: value for key, value in RIS.items() if key not in {"host", "port"}}
    nodes = [
        RIS | {"name": "told", "feedback": {}},
        RIS | {"name": "quiet"},
        silent | {"name": "nowhere", "feedback": {}},
    ]
    assert [node.name for node in Directory(parse_nodes(nodes)).subscribers()] == ["told"]


@pytest.mark.parametrize(
    ("feedback", "text"),
    [
        ({"message": "ADT^A08"}, "feedback.message: "),
        ({"message": "OMG^O19"}, "feedback.message: version 2.3.1 has no OMG^O19"),
        ({"message": "OMI^O23", "version": "2.4"}, "feedback.version: "),
        ({"charset": "EBCDIC"}, "feedback.charset: a character set of HL7 table 0211"),
        ({"charset": "UNICODE UTF-16"}, "feedback.charset: a character set of HL7 table 0211"),
        ({"events": ["born"]}, "feedback.events.0: "),
        ({"senders": ["|A"]}, "feedback.senders.0: APPLICATION or APPLICATION|FACILITY"),
        ({"on_error": "drop"}, "feedback.on_error: "),
        ({"attempts": 0}, "feedback.attempts: "),
        ({"timeout": 0}, "feedback.timeout: "),
        ({"colour": "red"}, "feedback.colour: unknown key"),
    ],
)
def test_a_mistake_names_node_and_key(feedback: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_nodes([RIS | {"feedback": feedback}])
    assert str(caught.value).startswith(f"node 'ris': {text}")


def test_feedback_is_for_a_ris() -> None:
    with pytest.raises(ConfigurationError, match="feedback: for an hl7 node with role ris"):
        parse_nodes([RIS | {"roles": [], "feedback": {}}])
    with pytest.raises(ConfigurationError, match="feedback: for an hl7 node with role ris"):
        parse_nodes([{"name": "ct", "kind": "dicom", "ae_title": "CT", "feedback": {}}])


def test_tls_of_an_hl7_node_needs_files_of_its_own_or_of_the_wire() -> None:
    nodes = parse_nodes([RIS | {"tls": True, "feedback": {}}])
    with pytest.raises(ConfigurationError, match=r"node 'ris': tls: needs certificate, key and ca without \[hl7.tls\]"):
        Receivers(None, Path()).prepare(nodes)
