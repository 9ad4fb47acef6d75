"""What a decision costs is counted: each value is made comparable once, and each test is looked at once at most."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from broker.routing.rules import comparing
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.ruleset import RuleSet

FACTS = as_facts(
    {
        "tag.Modality": "CT", "tag.StudyDescription": "CT Thorax", "tag.SliceThickness": 1.25,
        "tag.ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "time.local": "2026-12-10T18:30:00",
    }
)  # fmt: skip
VALUES = 7  # of them all
FORMS = 2  # text folded, and spelt for a regular expression


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many values are made comparable, by kind."""
    counted: Counter[str] = Counter()

    def counting(kind: str, make: Any) -> Any:
        def canonical(fact: Any, *, exact: bool) -> Any:
            counted[kind] += 1
            return make(fact, exact=exact)

        return canonical

    for kind, make in comparing._CANONICAL.items():
        monkeypatch.setitem(comparing._CANONICAL, kind, counting(kind, make))
    return counted


def ruleset(count: int, first: str) -> RuleSet:
    """Rules of six tests; the first is true or false for a CT, the last is false."""
    tables = [
        {"name": f"r{n}", "send": ["pacs"], "when": {"all": [
            {"field": "tag.Modality", "value": first},
            {"field": "tag.StudyDescription", "op": "contains", "value": "thorax"},
            {"field": "tag.StudyDescription", "op": "regex", "value": f"thorax|{n}"},
            {"field": "tag.SliceThickness", "op": "lt", "value": 2 + n},
            {"field": "time.window", "value": "18:00-06:00"},
            {"field": "tag.ImageType", "value": f"LOCALIZER {n}"},
        ]}}
        for n in range(count)
    ]  # fmt: skip
    return parse_rules({"rule": tables}, {"pacs"})


@pytest.mark.parametrize(("first", "looked_at"), [("MR", 1), ("CT", 6)])
def test_a_plan_of_200_rules_is_bounded_and_linear(made: Counter[str], first: str, looked_at: int) -> None:
    for count in (100, 200):
        rules = ruleset(count, first)
        made.clear()
        decision = decide(rules, FACTS)
        assert made.total() <= VALUES * FORMS  # whatever the number of rules
        assert [len(outcome) - 1 for outcome in decision.outcomes] == [looked_at] * count
        assert decision.reason == "no-rule-matched"
