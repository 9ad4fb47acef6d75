"""Reads the condition of a rule from its tables: all that can be wrong with it is told here, before it is in force."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from broker.errors import ConfigurationError
from broker.routing.rules.comparing import PRESENCE, make_test, operators_of
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.ruleset import Condition, Group, How, ItemTest, Test, Value
from broker.routing.rules.tag_paths import NoSuchField

MAX_LEAVES, MAX_DEPTH, MAX_TEXT = 200, 8, 500
_GROUPS: tuple[Literal["all", "any", "not"], ...] = ("all", "any", "not")
_LEAF = {"field", "op", "value", "values", "exact", "missing"}
_HOW = ("any", "all", "count")
_NUMERIC = (FieldKind.NUMBER, FieldKind.ITEMS)


@dataclass(slots=True)
class ConditionReader:
    """Reads one condition. `label` names the rule in errors; `holidays` are those of the rule set."""

    label: str
    holidays: Collection[str] = ()
    leaves: int = field(default=0, init=False)

    def condition(self, node: Any, depth: int = 1) -> Condition:
        """The condition that a table describes. Raises ConfigurationError."""
        if not isinstance(node, Mapping):
            raise ConfigurationError(f"{self.label}: when: a condition is a table")
        if depth > MAX_DEPTH:
            raise ConfigurationError(f"{self.label}: when: nested deeper than {MAX_DEPTH}")
        if "field" in node:
            self.leaves += 1
            if self.leaves > MAX_LEAVES:
                raise ConfigurationError(f"{self.label}: when: more than {MAX_LEAVES} tests")
            return self._test(node)
        if "item" in node:
            return self._item(node, depth)
        kind = next((kind for kind in _GROUPS if kind in node), None)
        if kind is None:
            raise ConfigurationError(f"{self.label}: when: a condition has all, any, not, item or field")
        keys(node, {kind}, f"{self.label}: when")
        return self._group(kind, node[kind], depth)

    def _group(self, kind: Literal["all", "any", "not"], value: Any, depth: int) -> Group:
        text = f"{self.label}: when: {kind}: a list of conditions"
        members = [value] if kind == "not" else a_list(value, text)
        if not members:
            raise ConfigurationError(text)
        return Group(kind, tuple(self.condition(member, depth + 1) for member in members))

    def _item(self, node: Mapping[str, Any], depth: int) -> ItemTest:
        sequence = node["item"]
        sequence = sequence if str(sequence).startswith("tag.") else f"tag.{sequence}"
        if self._kind(sequence) != FieldKind.ITEMS:
            raise ConfigurationError(f"{self.label}: when: item: {sequence.removeprefix('tag.')!r} is no sequence")
        kind = next((kind for kind in ("all", "any") if kind in node), None)
        if kind is None:
            raise ConfigurationError(f"{self.label}: when: item: all or any is required")
        keys(node, {"item", kind}, f"{self.label}: when: item")
        inner = self._group(cast("Literal['all', 'any']", kind), node[kind], depth)
        self._only_tags(inner)
        return ItemTest(sequence, inner)

    def _only_tags(self, condition: Condition) -> None:
        """An item has elements, nothing else."""
        if isinstance(condition, Group):
            for member in condition.members:
                self._only_tags(member)
        elif isinstance(condition, Test) and not condition.field.startswith("tag."):
            raise ConfigurationError(f"{self.label}: when: item: {condition.field!r} is no element of an item")

    def _kind(self, name: Any) -> FieldKind:
        try:
            return kind_of(name if isinstance(name, str) else "")
        except NoSuchField as error:
            raise ConfigurationError(f"{self.label}: when: unknown field {name!r}: {error}") from None

    def _test(self, node: Mapping[str, Any]) -> Test:
        keys(node, _LEAF, f"{self.label}: when")
        name, op, how = node["field"], node.get("op", "is"), node.get("values", "any")
        kind = self._kind(name)
        place = f"{self.label}: {name}"
        if "[*]" in name:
            raise ConfigurationError(f"{place}: use `item` for a test of each item")
        if how not in _HOW:
            raise ConfigurationError(f"{place}: values: any, all or count")
        allowed = operators_of(kind, how)
        if not isinstance(op, str) or op not in allowed:
            of = "number of values" if how == "count" else f"{kind} field"
            raise ConfigurationError(f"{place}: unknown operator {op!r} for a {of}; it has {', '.join(allowed)}")
        exact, missing = node.get("exact", False), node.get("missing")
        if not isinstance(exact, bool) or not (missing is None or isinstance(missing, bool)):
            raise ConfigurationError(f"{place}: {'missing' if isinstance(exact, bool) else 'exact'}: true or false")
        if op in PRESENCE:
            keys(node, {"field", "op"}, place)
            return make_test(name, kind, op)
        if "value" not in node:
            raise ConfigurationError(f"{place}: value: required")
        value = self._value(node["value"], op, FieldKind.NUMBER if how == "count" else kind, place)
        try:
            return make_test(
                name,
                kind,
                op,
                value,
                values=cast(How, how),
                exact=exact,
                missing=missing,
                holidays=self.holidays,
            )
        except ValueError as error:
            raise ConfigurationError(f"{place}: value: {error}") from None

    def _value(self, raw: Any, op: str, kind: FieldKind, place: str) -> Value:
        if op in ("in", "not_in", "between"):
            values = a_list(raw, f"{place}: value: a list")
            if not values:
                raise ConfigurationError(f"{place}: value: a list with something in it")
            if op == "between" and len(values) != 2:
                raise ConfigurationError(f"{place}: value: a list of the lowest and the highest value")
            return tuple(scalar(one, kind, place) for one in values)  # type: ignore[return-value]
        return scalar(raw, kind, place)


def scalar(raw: Any, kind: FieldKind, place: str) -> str | float:
    """A single value for a field of this kind. Raises ConfigurationError."""
    numeric = kind in _NUMERIC
    if (numeric or kind == FieldKind.AGE) and isinstance(raw, int | float) and not isinstance(raw, bool):
        with contextlib.suppress(OverflowError):  # TOML has integers of any size
            if math.isfinite(number := float(raw)):
                return number
    if not numeric and isinstance(raw, str) and len(raw) <= MAX_TEXT:
        return raw
    shown = {FieldKind.ITEMS: "number", FieldKind.NAME: "text"}.get(kind, str(kind))
    raise ConfigurationError(f"{place}: value: a {shown}" + ("" if numeric else f" of at most {MAX_TEXT} characters"))


def a_list(value: Any, text: str) -> Sequence[Any]:
    """A list. Raises ConfigurationError with this text."""
    if not isinstance(value, list | tuple):
        raise ConfigurationError(text)
    return value


def keys(table: Any, allowed: Collection[str], label: str) -> None:
    """Raises ConfigurationError for what is no table, or has other keys than these."""
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{label}: must be a table")
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f"{label}: {key}: unknown key")
