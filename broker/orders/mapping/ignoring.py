"""Chooses what is not for this broker: messages and order groups that a mapping ignores by their type, fields, sender.

A condition on a field looks at all its segments in an order group, of a message without order groups in the message:
all of them must fit, so that nothing is ignored because of something else that stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from broker.hl7.fields import MSH
from broker.hl7.header import Header
from broker.hl7.message import Message, Segment, Segments
from broker.hl7.paths import Path, path
from broker.wildcard import Wildcard, compile_wildcard

MAX_RULES = 1000
_LONGEST = 200  # characters of a pattern
_SHARED = frozenset({"ORC", "TQ1"})  # what an OBR without ORC takes from the group before it


@dataclass(frozen=True, slots=True)
class IgnoreCondition:
    """One test: what stands at `name` fits one of the patterns (any case). `path` None: type or sender."""

    name: str
    path: Path | None
    patterns: tuple[Wildcard, ...]

    def holds(self, header: Header, view: Segments) -> bool:
        """True if all that stands there fits."""
        return all(self._fits(text) for text in self._values(view)) if self.path else self.fits_header(header)

    def fits_header(self, header: Header) -> bool:
        """True if type or sender fit; a type fits with its event and alone."""
        if self.name == "type":
            return self._fits(header.message_type) or self._fits(header.get(MSH.MESSAGE_TYPE, 1))
        return self._fits("|".join(header.get(n, 1) for n in (MSH.SENDING_APPLICATION, MSH.SENDING_FACILITY)))

    def _values(self, view: Segments) -> list[str]:
        at = self.path
        assert at is not None
        return [segment.value(at).strip() for segment in view.chosen(at)] or [""]

    def _fits(self, text: str) -> bool:
        return any(pattern.matches(text.casefold()) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Says what is ignored: that to which all conditions apply."""

    number: int  # from 1, as written
    when: tuple[IgnoreCondition, ...]

    @property
    def text(self) -> str:
        """For findings, the journal and people."""
        return f"ignored by rule {self.number}"

    def by_header(self, header: Header) -> bool:
        """True if type and sender alone decide, and fit."""
        return all(condition.path is None and condition.fits_header(header) for condition in self.when)

    def holds(self, header: Header, view: Segments) -> bool:
        """True if it applies."""
        return all(condition.holds(header, view) for condition in self.when)


@dataclass(frozen=True, slots=True)
class Sifted:
    """A message without what is ignored; `groups` are the first segments of order groups left out, with their rules.

    `rule` is set if nothing is left of the message.
    """

    message: Message
    groups: tuple[tuple[Segment, IgnoreRule], ...] = ()
    rule: IgnoreRule | None = None


def ignored(rules: Sequence[IgnoreRule], header: Header) -> IgnoreRule | None:
    """The rule by which a message is ignored whatever it holds."""
    return next((rule for rule in rules if rule.by_header(header)), None)


def sift(rules: Sequence[IgnoreRule], message: Message) -> Sifted:
    """A message without the order groups that are ignored, or the rule that ignores all of it."""
    head, runs = message.groups("ORC", alone="OBR") if rules else (message, [])
    if not runs:
        return Sifted(message, rule=_rule(rules, message.header, message))
    chosen: list[IgnoreRule | None] = []
    before: list[Segment] = []
    for run in runs:
        before = before if run.first("ORC") is None else [s for s in run if s.name in _SHARED]
        shared = before if run.first("ORC") is None else []
        chosen.append(_rule(rules, message.header, Segments([*head, *shared, *run])))
    first = next(iter(chosen))
    if all(chosen):
        return Sifted(message, rule=first)
    if not any(chosen):
        return Sifted(message)
    left, groups = list(head), []
    for number, (run, rule) in enumerate(zip(runs, chosen, strict=True)):
        if rule is None:
            left += run
            continue
        groups.append((next(iter(run)), rule))
        if _continues(runs[number + 1 :], chosen[number + 1 :]):
            left += [segment for segment in run if segment.name in _SHARED]
    return Sifted(Message(message.header, left, message.findings), tuple(groups))


def _continues(runs: Sequence[Segments], chosen: Sequence[IgnoreRule | None]) -> bool:
    """True if an OBR without ORC stays that takes its ORC from the group before these."""
    without = takewhile(lambda pair: pair[0].first("ORC") is None, zip(runs, chosen, strict=True))
    return any(rule is None for _, rule in without)


def _rule(rules: Sequence[IgnoreRule], header: Header, view: Segments) -> IgnoreRule | None:
    return next((rule for rule in rules if rule.holds(header, view)), None)


def parse_ignores(tables: Any) -> tuple[IgnoreRule, ...]:
    """Validate `[[ignore]]`. Raises ValueError that begins with the number of the rule and the key."""
    if not isinstance(tables, list) or len(tables) > MAX_RULES:
        raise ValueError(f"a list of at most {MAX_RULES} tables is needed")
    rules = []
    for number, table in enumerate(tables, 1):
        try:
            rules.append(_parsed(number, table))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{number}: {error}") from None
    return tuple(rules)


def _parsed(number: int, table: Mapping[str, Any]) -> IgnoreRule:
    if unknown := set(table) - {"when"}:
        raise ValueError(f"unknown key {min(unknown)}")
    when = table.get("when", {})
    if not isinstance(when, Mapping) or not when:
        raise ValueError("when: a table of conditions is needed")
    return IgnoreRule(number, tuple(_condition(name, patterns) for name, patterns in when.items()))


def _condition(name: str, given: Any) -> IgnoreCondition:
    patterns = given if isinstance(given, list) else [given]
    if not patterns or not all(isinstance(p, str) or type(p) is int for p in patterns):
        raise ValueError(f"when.{name}: a text, or a list of them")
    if any(len(str(pattern)) > _LONGEST for pattern in patterns):
        raise ValueError(f"when.{name}: longer than {_LONGEST} characters")
    place = None
    if name not in ("type", "sender"):
        try:
            place = path(name)
        except ValueError:
            raise ValueError(f"when.{name}: not a path of an HL7 field, type or sender") from None
    return IgnoreCondition(name, place, tuple(compile_wildcard(str(pattern).casefold()) for pattern in patterns))
