"""A rule set as values: ordered rules, each a condition with what is done when it is true.

All rules are tried in order. The deliveries of all that match add up; `stop` ends the list. Where nothing was decided,
the default is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as with_default
from enum import StrEnum
from typing import Any, Literal

from broker.model.lane import STAT
from broker.routing.rules.completion import USUAL, CompletionTable

Value = str | float | tuple[str, ...] | tuple[float, ...]
Fact = str | float
How = Literal["any", "all", "count"]  # the values of a field that a test is about


class RuleAction(StrEnum):
    """The actions that rules decide on, as site.toml spells them."""

    SEND = "send"
    HOLD = "hold"
    DISCARD = "discard"


class Level(StrEnum):
    """What a rule is about: each object as it comes, or a series or study once that is complete."""

    INSTANCE = "instance"
    SERIES = "series"
    STUDY = "study"

    @property
    def depth(self) -> int:
        """The order in which levels are judged."""
        return _DEPTHS[self]


_DEPTHS = {Level.INSTANCE: 0, Level.SERIES: 1, Level.STUDY: 2}


class Urgency(StrEnum):
    """How urgent deliveries are; `level` as the queue counts: the lower, the sooner."""

    STAT = "stat"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def level(self) -> int:
        """The priority of a job."""
        return _LEVELS[self]


_LEVELS = {Urgency.STAT: STAT, Urgency.HIGH: 3, Urgency.NORMAL: 5, Urgency.LOW: 7}


@dataclass(frozen=True, slots=True)
class Test:
    """A leaf: the values of one field compared with one value.

    `missing`: what a missing value counts as, None for unknown. `canonical` makes a fact comparable, or gives None for
    one that is no value of its kind; facts of one `form` are made comparable alike. `fits` compares one of them.
    """

    field: str
    op: str
    value: Value = ""
    values: How = "any"
    exact: bool = False
    missing: bool | None = None
    form: str = with_default(default="", compare=False)
    canonical: Callable[[Fact], Any] = with_default(default=str, compare=False, repr=False)
    fits: Callable[[Any], bool] = with_default(default=bool, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ItemTest:
    """True if `condition` is true for one and the same item of a sequence; its fields begin at the item."""

    sequence: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Group:
    """`all`, `any` or `not` of conditions."""

    kind: Literal["all", "any", "not"]
    members: tuple[Condition, ...]


Condition = Test | Group | ItemTest


@dataclass(frozen=True, slots=True)
class Example:
    """Facts, and the destinations and action that the rule set must give for them; action None: any."""

    facts: Mapping[str, Any]
    sends: frozenset[str]
    action: RuleAction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When `when` is true do `action`; then go on with the next rule or stop.

    A rule that holds without destinations holds the object; with some, it holds their deliveries. `notify`: the nodes
    that are told once for each study in which it acts; that alone decides nothing about an object. `begins` and `ends`:
    the local times (ISO 8601) between which it acts; empty for always. `owner`, `reason` and `tags` are for people.
    `level`: whether it is tried for each object at its reception, or once for a complete series or study.
    """

    name: str
    when: Condition
    action: RuleAction = RuleAction.SEND
    send: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    then: Literal["continue", "stop"] = "continue"
    priority: Urgency = Urgency.NORMAL
    enabled: bool = True
    begins: str = ""
    ends: str = ""
    owner: str = ""
    reason: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    level: Level = Level.INSTANCE

    @property
    def only_notifies(self) -> bool:
        """It decides nothing about an object."""
        return self.action == RuleAction.SEND and not self.send

    def acts_at(self, local_time: str) -> bool:
        """The rule counts for an object received at a local time (ISO 8601)."""
        if not self.enabled:
            return False
        return (not self.begins or self.begins <= local_time) and (not self.ends or local_time < self.ends)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Ordered rules, what happens when nothing was decided, and the holidays of the site. `version` is 0 until stored.

    A holiday is a date (2026-04-03), or a day of each year (12-25). `completion` says when a series or study is
    complete. `levels` are those of its enabled rules beside that of the instance.
    """

    rules: tuple[Rule, ...]
    default_action: RuleAction = RuleAction.HOLD
    default_send: tuple[str, ...] = ()
    version: int = 0
    holidays: frozenset[str] = frozenset()
    completion: CompletionTable = USUAL
    levels: frozenset[Level] = with_default(default=frozenset(), init=False, compare=False)
    tests: tuple[Test, ...] = with_default(default=(), init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Note one test of each field and form of its values, those in items of sequences aside."""
        found = {
            (test.field, test.form): test for rule in self.rules if rule.enabled for test in plain_tests(rule.when)
        }
        object.__setattr__(self, "tests", tuple(found.values()))
        levels = {rule.level for rule in self.rules if rule.enabled}
        object.__setattr__(self, "levels", frozenset(levels - {Level.INSTANCE}))


def plain_tests(condition: Condition) -> Iterator[Test]:
    """The tests of a condition that compare values of the object itself: none of items, and none that only count."""
    if isinstance(condition, Test):
        if condition.values != "count":
            yield condition
    elif isinstance(condition, Group):
        for member in condition.members:
            yield from plain_tests(member)


def fields_of(rules: RuleSet, *levels: Level) -> frozenset[str]:
    """All fields that a rule set tests, or its rules of some levels.

    What is tested in each item of a sequence has `[*]` behind the sequence.
    """
    tried = (rule for rule in rules.rules if not levels or rule.level in levels)
    return frozenset(name for rule in tried for name in condition_fields(rule.when))


def condition_fields(condition: Condition, sequence: str = "") -> Iterator[str]:
    """The fields that a condition tests, below a sequence."""
    if isinstance(condition, Test):
        yield inside(sequence, "*", condition.field) if sequence else condition.field
    elif isinstance(condition, ItemTest):
        place = inside(sequence, "*", condition.sequence) if sequence else condition.sequence
        yield place
        yield from condition_fields(condition.condition, place)
    else:
        for member in condition.members:
            yield from condition_fields(member, sequence)


def inside(sequence: str, number: int | str, field_name: str) -> str:
    """A field of an item of a sequence, both written as `tag.` fields."""
    return f"{sequence}[{number}].{field_name.removeprefix('tag.')}"
