"""Differences between versions of nodes and rules, in words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.versions import toml
from broker.versions.difference import MASK, difference, masked

PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
RULE: dict[str, Any] = {"name": "CT", "when": {"field": "tag.Modality", "op": "is", "value": "CT"}, "send": ["pacs"]}


def words(kind: str, before: Any, after: Any) -> list[str]:
    return [one.words for one in difference(kind, before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [PACS], ["node 'pacs' added"]),
        ([PACS], [], ["node 'pacs' removed"]),
        ([PACS], [PACS | {"port": 105}], ["node 'pacs': port: 104 → 105"]),
        ([PACS], [PACS | {"tls": True}], ["node 'pacs': tls added: true"]),
        ([PACS | {"associations": 2}], [PACS], ["node 'pacs': associations removed: was 2"]),
        ([PACS], [PACS | {"name": "cad"}], ["node 'pacs' removed", "node 'cad' added"]),
        ([PACS, PACS | {"name": "cad"}], [PACS | {"name": "cad"}, PACS], []),  # the order of nodes means nothing
        ([PACS | {"device": {"charset": "GBK"}}], [PACS | {"device": {"charset": "GB18030"}}],
         ["node 'pacs': device.charset: \"GBK\" → \"GB18030\""]),
        ([PACS | {"passcode": "one"}], [PACS | {"passcode": "two"}], [f"node 'pacs': passcode: {MASK} → another one"]),
        ([PACS], [PACS | {"passcode": "two"}], [f"node 'pacs': passcode added: {MASK}"]),
        ([PACS | {"port": 1}], [PACS | {"port": True}], ["node 'pacs': port: 1 → true"]),
    ],
)  # fmt: skip
def test_nodes(before: Any, after: Any, expected: list[str]) -> None:
    assert words("nodes", before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"rule": [RULE]}, ["rule 'CT' added"]),
        ({"rule": [RULE]}, {}, ["rule 'CT' removed"]),
        ({"rule": [RULE]}, {"rule": [RULE | {"send": ["pacs", "cad"]}]},
         ["rule 'CT': send: [\"pacs\"] → [\"pacs\", \"cad\"]"]),
        ({"rule": [RULE]}, {"rule": [RULE | {"when": RULE["when"] | {"value": "MR"}}]},
         ["rule 'CT': when.value: \"CT\" → \"MR\""]),
        ({"rule": [RULE]}, {"rule": [RULE | {"then": "stop"}]}, ["rule 'CT': then added: \"stop\""]),
        ({}, {"default": {"action": "discard"}}, ["default: action added: \"discard\""]),
        ({"default": {"action": "hold"}}, {"default": {"action": "discard"}},
         ["default: action: \"hold\" → \"discard\""]),
        ({"rule": [RULE, RULE | {"name": "B"}, RULE | {"name": "C"}]},
         {"rule": [RULE | {"name": "C"}, RULE, RULE | {"name": "B"}]}, ["rule 'C' moved from place 3 to 1"]),
        ({"rule": [RULE | {"when": {"all": [RULE["when"], RULE["when"]]}}]},
         {"rule": [RULE | {"when": {"all": [RULE["when"], RULE["when"] | {"op": "glob"}]}}]},
         ["rule 'CT': when.all[1].op: \"is\" → \"glob\""]),
    ],
)  # fmt: skip
def test_rules(before: Any, after: Any, expected: list[str]) -> None:
    assert words("rules", before, after) == expected


def test_a_long_value_is_cut_and_a_mapping_is_its_text() -> None:
    (one,) = difference("rules", {"rule": [RULE]}, {"rule": [RULE | {"send": ["x" * 500]}]})
    assert len(one.after) == 200
    assert words("mapping:site", {"toml": "a"}, {"toml": "b"}) == ['mapping:site: toml: "a" → "b"']
    assert masked([PACS | {"passcode": "x"}]) == [PACS | {"passcode": MASK}]


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
TABLES = st.lists(NAMES, unique=True, max_size=5).flatmap(
    lambda names: st.tuples(*(st.fixed_dictionaries({"name": st.just(n), "port": st.integers(1, 3)}) for n in names))
)


@given(TABLES, TABLES)
def test_only_equal_documents_have_no_difference(before: Any, after: Any) -> None:
    found = difference("rules", {"rule": list(before)}, {"rule": list(after)})
    assert bool(found) == (list(before) != list(after))
    assert all(one.words and "\n" not in one.words for one in found)


VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.\"'é ", max_size=4), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.dictionaries(st.text('abc.[]" ', min_size=1, max_size=6), VALUES, max_size=5))
def test_what_is_written_as_toml_is_read_as_it_was(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml.dumps(document)) == document
