"""Marks a condition leaf by leaf with what a trace says: true, false, unknown, error, or not tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.admin.web.words import Sentence
from broker.routing.rules.ruleset import Condition, Group, ItemTest, RuleSet
from broker.routing.rules.wording import test_words

Leaf = Mapping[str, Any]
RESULTS: Mapping[str, tuple[str, Sentence]] = {  # tone and word
    "true": ("ok", Sentence("true")),
    "false": ("", Sentence("false")),
    "unknown": ("warn", Sentence("unknown")),
    "error": ("bad", Sentence("error")),
    "off": ("", Sentence("off")),
    "waits": ("", Sentence("waits for its series or study")),
    "": ("", Sentence("not tried")),
}
KINDS: Mapping[str, Sentence] = {
    "all": Sentence("all of"),
    "any": Sentence("any of"),
    "not": Sentence("not"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedNode:
    """A test or a group in words with its result (tone and word); `seen`: the values that the test saw."""

    words: Sentence
    result: tuple[str, Sentence]
    leaf: bool = False
    seen: Sequence[str] = ()
    members: Sequence[MarkedNode] = ()


@dataclass(frozen=True, slots=True)
class MarkedRule:
    """A rule with its result and its condition; `tree` is None for one that was not tried."""

    name: str
    result: tuple[str, Sentence]
    tree: MarkedNode | None


def marked(rules: RuleSet, told: Sequence[Mapping[str, Any]]) -> list[MarkedRule]:
    """All rules, marked by a trace of them: those that it does not name were not tried."""
    entries: Mapping[str, Mapping[str, Any]] = {entry["rule"]: entry for entry in told}
    found = []
    for rule in rules.rules:
        entry = entries.get(rule.name, {"result": "", "tests": ()})
        tree = None
        if entry["result"] not in ("", "off", "waits"):
            tree, _ = _marked(rule.when, iter(entry["tests"]), broken=entry["result"] == "error")
        found.append(MarkedRule(rule.name, RESULTS[entry["result"]], tree))
    return found


def marked_level(rules: RuleSet, told: Sequence[Mapping[str, Any]]) -> list[MarkedRule]:
    """The rules of a level alone, marked by its trace."""
    named = {entry["rule"] for entry in told}
    return [rule for rule in marked(rules, told) if rule.name in named]


def _marked(condition: Condition, leaves: Iterator[Leaf], *, broken: bool) -> tuple[MarkedNode, str]:
    """A node, and its result. In a rule with an error the first test that the trace does not have has failed."""
    if isinstance(condition, Group):
        pairs = [_marked(member, leaves, broken=broken) for member in condition.members]
        truth = _together(condition.kind, [result for _, result in pairs])
        nodes = [node for node, _ in pairs]
        return MarkedNode(words=KINDS[condition.kind], result=RESULTS[truth], members=nodes), truth
    leaf = next(leaves, None)
    truth = str(leaf["result"]) if leaf is not None else "error" if broken else ""
    if isinstance(condition, ItemTest):
        words = Sentence("an item of %(sequence)s has", {"sequence": condition.sequence.removeprefix("tag.")})
        items = leaf.get("items", ()) if leaf is not None else ()
        members = [
            MarkedNode(
                words=Sentence("item %(n)s", {"n": item["item"]}),
                result=RESULTS[item["result"]],
                members=[_marked(condition.condition, iter(item["tests"]), broken=False)[0]],
            )
            for item in items
        ]
        return MarkedNode(words=words, result=RESULTS[truth], members=members), truth
    seen = [str(value) for value in leaf["seen"]] if leaf is not None else []
    return MarkedNode(words=test_words(condition), result=RESULTS[truth], leaf=True, seen=seen), truth


def _together(kind: str, results: Sequence[str]) -> str:
    """What a group is of its members, as `tracing.py` says it."""
    for word in ("error", ""):
        if word in results:
            return word
    if kind == "not":
        return {"true": "false", "false": "true"}.get(results[0], "unknown")
    decisive = "true" if kind == "any" else "false"
    if decisive in results:
        return decisive
    return "unknown" if "unknown" in results else "false" if kind == "any" else "true"
