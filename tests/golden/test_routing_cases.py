"""Cases of routing: what a rule set makes of an object, and why. `routing/README.md` says how they read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

from broker.dicom import uids
from broker.dicom.dataset.scan import scan
from broker.dicom.dimse.message import PeerAE
from broker.routing.header import BASE_FIELDS, facts, tags_of
from broker.routing.rules.checking import check
from broker.routing.rules.evaluate import MARKS, Facts, RoutingDecision, as_facts, decide
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.ruleset import RuleSet, Urgency, fields_of
from broker.routing.rules.tracing import trace

FOLDER = Path(__file__).parent / "routing"
NODES, NOTIFIED = {"pacs", "cad", "archive"}, {"desk", "mail"}
SYNTAXES = (uids.IMPLICIT_LE, uids.EXPLICIT_LE, uids.EXPLICIT_BE)
PRIVATE = re.compile(r"\(([0-9A-F]{4}),xx([0-9A-F]{2}),([^)]+)\)")
LEVELS = {urgency.level: "" if urgency == Urgency.NORMAL else f" {urgency}" for urgency in Urgency}
RESULTS = {"true": "t", "false": "f", "unknown": "u", "off": "o", "error": "e"}


def _cases() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.toml")):
        for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]:
            yield pytest.param(case, id=case["id"])


CASES = list(_cases())


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({param.id for param in CASES}) == len(CASES) >= 80
    assert all(param.values[0]["why"].endswith(".") for param in CASES)


@pytest.mark.parametrize("case", CASES)
def test_case(case: Mapping[str, Any]) -> None:
    for given in case["given"]:
        rules = _rules(case, given)
        for seen in _facts(given, rules):
            decision = decide(rules, seen)
            told = trace(rules, seen)
            assert _plan(decision) == given["plan"], given
            assert [_rule(entry) for entry in told] == given["trace"], given
            assert [f"{one.node} by {one.rule.name}" for one in decision.notices] == given.get("notify", []), given
            if decision.reason.startswith("rule-error"):
                assert told[-1]["result"] == "error"
                assert not decision.notices
            else:  # the marks that are kept with the object say the same
                assert [outcome[0] for outcome in decision.outcomes] == [RESULTS[entry["result"]] for entry in told]
                acted = [f"{node} by {entry['rule']}" for entry in told for node in entry.get("notify", ())]
                assert acted == given.get("notify", [])
                assert all(set(outcome[1:]) <= set(MARKS.values()) for outcome in decision.outcomes)
            assert (decision.action == "send") == bool(decision.destinations)
        check(rules)


def _rules(case: Mapping[str, Any], given: Mapping[str, Any]) -> RuleSet:
    """The rule set of a case. What is given without an object is an example of it, too, as an admin would write it."""
    tables = case["rule"] if "rule" in case else [{"name": "r", "when": case["when"], "send": ["pacs"]}]
    if tables and "object" not in given:
        action, colon, _ = given["plan"].partition(":")
        sends = [] if colon else [part.split()[0] for part in given["plan"].split(", ")]
        example = {"facts": given["facts"], "sends": sends, "action": action if colon else "send"}
        tables = [tables[0] | {"example": [example]}, *tables[1:]]
    document = {"rule": tables} | {key: case[key] for key in ("default", "calendar") if key in case}
    return parse_rules(document, NODES, notified=NOTIFIED)


def _facts(given: Mapping[str, Any], rules: RuleSet) -> Iterator[Facts]:
    """What the rules see of what is given: an object in each encoding."""
    beside = as_facts(given.get("facts", {}))
    if "object" not in given:
        yield beside
        return
    fields = fields_of(rules) | set(BASE_FIELDS)
    for syntax in SYNTAXES:
        scanned = scan(_encoded(_dataset(given["object"]), syntax), syntax, tags_of(fields))
        yield facts(scanned, PeerAE("CT01", "BROKER", "10.0.0.9"), fields, datetime(2026, 12, 10, 12)) | beside  # noqa: DTZ001


def _dataset(elements: Mapping[str, Any]) -> Dataset:
    made = Dataset()
    for name, value in elements.items():
        if private := PRIVATE.fullmatch(name):
            block = made.private_block(int(private[1], 16), private[3], create=True)
            block.add_new(int(private[2], 16), *value)
        elif isinstance(value, list) and dictionary_VR(name) == "SQ":
            setattr(made, name, [_dataset(item) for item in value])
        elif dictionary_VR(name) in ("DS", "IS"):  # as a device writes it, be it a number or not
            text = ("\\".join(value) if isinstance(value, list) else value).encode()
            text += b" " * (len(text) % 2)
            tag = BaseTag(tag_for_keyword(name) or 0)
            made[tag] = RawDataElement(tag, dictionary_VR(name), len(text), text, 0, True, True)
        else:
            made.add(DataElement(name, dictionary_VR(name), value, validation_mode=config.IGNORE))
    return made


def _encoded(item: Dataset, syntax: str) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = syntax != uids.EXPLICIT_BE, syntax == uids.IMPLICIT_LE
    write_dataset(file, item)
    return bytes(file.getvalue())


def _plan(decision: RoutingDecision) -> str:
    if decision.action != "send":
        return f"{decision.action}: {decision.reason}"
    return ", ".join(one.node + LEVELS[one.priority] + " held" * one.held for one in decision.deliveries)


def _rule(entry: Mapping[str, Any]) -> str:
    return f"{entry['rule']} {entry['result']}" + _tests(entry["tests"])


def _tests(tests: list[dict[str, Any]]) -> str:
    return (": " if tests else "") + "; ".join(map(_test, tests))


def _test(leaf: Mapping[str, Any]) -> str:
    items = "".join(f" {{{one['item']} {one['result']}{_tests(one['tests'])}}}" for one in leaf.get("items", ()))
    return f"{leaf['field']} {leaf['op']} [{'|'.join(leaf['seen'])}] {leaf['result']}{items}"
