"""Says a condition in words, in the language of the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.model.wording import Sentence
from broker.routing.rules.ruleset import Condition, Group, ItemTest, Test

OPERATORS: Mapping[str, Sentence] = {
    "is": Sentence("is"),
    "is_not": Sentence("is not"),
    "in": Sentence("is one of"),
    "not_in": Sentence("is none of"),
    "contains": Sentence("contains"),
    "starts_with": Sentence("starts with"),
    "ends_with": Sentence("ends with"),
    "glob": Sentence("matches the pattern"),
    "regex": Sentence("matches the regular expression"),
    "lt": Sentence("is less than"),
    "le": Sentence("is at most"),
    "gt": Sentence("is more than"),
    "ge": Sentence("is at least"),
    "between": Sentence("lies between"),
    "exists": Sentence("is present"),
    "missing": Sentence("is missing"),
}
HOW: Mapping[str, Sentence] = {
    "any": Sentence("%(field)s"),
    "all": Sentence("each value of %(field)s"),
    "count": Sentence("the number of values of %(field)s"),
}


def condition_words(condition: Condition, *, inside: bool = False) -> Sentence:
    """A condition in words; `inside` another one a group, and a test of two parts, stand in brackets."""
    if isinstance(condition, Test):
        words = test_words(condition)
        return Sentence("(%(condition)s)", {"condition": words}) if inside and condition.missing is not None else words
    if isinstance(condition, ItemTest):
        name = condition.sequence.removeprefix("tag.")
        values = {"sequence": name, "condition": condition_words(condition.condition, inside=True)}
        return Sentence("an item of %(sequence)s has %(condition)s", values)
    if condition.kind == "not":
        return Sentence("not %(condition)s", {"condition": condition_words(condition.members[0], inside=True)})
    text = _joined(condition, condition.members)
    return Sentence("(%(condition)s)", {"condition": text}) if inside and len(condition.members) > 1 else text


def _joined(group: Group, members: Sequence[Condition]) -> Sentence:
    """Halves of halves: two hundred members are eight levels deep."""
    if len(members) == 1:
        return condition_words(members[0], inside=len(group.members) > 1)
    middle = len(members) // 2
    halves = {"left": _joined(group, members[:middle]), "right": _joined(group, members[middle:])}
    if group.kind == "all":
        return Sentence("%(left)s and %(right)s", halves)
    return Sentence("%(left)s or %(right)s", halves)


def test_words(test: Test) -> Sentence:
    """A test in words."""
    field = Sentence(HOW[test.values].text, {"field": test.field})
    if test.op in ("exists", "missing"):
        return Sentence("%(field)s %(op)s", {"field": field, "op": OPERATORS[test.op]})
    values = {"field": field, "op": OPERATORS[test.op], "value": _value(test)}
    words = Sentence("%(field)s %(op)s %(value)s", values)
    if test.exact:
        words = Sentence("%(test)s exactly", {"test": words})
    if test.missing is not None:
        told = {"test": words}
        words = Sentence("%(test)s, or is missing", told) if test.missing else Sentence("%(test)s, and is there", told)
    return words


def _value(test: Test) -> str:
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    shown = [f"“{one}”" if isinstance(one, str) else f"{one:g}" for one in values]
    return (" – " if test.op == "between" else ", ").join(shown[:20]) + (" …" if len(shown) > 20 else "")
