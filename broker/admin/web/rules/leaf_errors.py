"""Says beside the fields of a tree what is wrong with them: by path and field, each as a sentence."""

from __future__ import annotations

from broker.admin.web.rules.tree import GROUPS, ROOT, TreeNode, condition_of, walk
from broker.admin.web.words import Sentence
from broker.errors import ConfigurationError
from broker.routing.rules.comparing import operators_of
from broker.routing.rules.conditions import MAX_DEPTH, MAX_LEAVES, ConditionReader
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.ruleset import How
from broker.routing.rules.tag_paths import NoSuchField
from broker.routing.rules.wording import OPERATORS

_HOW: dict[str, How] = {"any": "any", "all": "all", "count": "count"}


def errors_of(tree: TreeNode) -> dict[str, Sentence]:
    """What is wrong with a tree, by the names of its form's fields."""
    found: dict[str, Sentence] = {}
    nodes = list(walk(tree))
    if sum(node.kind == "test" for _, node in nodes) > MAX_LEAVES:
        found[f"kind:{ROOT}"] = Sentence("A condition has at most %(n)s tests.", {"n": MAX_LEAVES})
    for path, node in nodes:
        if path.count(".") >= MAX_DEPTH:
            found[f"kind:{path}"] = Sentence("Groups are nested at most %(n)s deep.", {"n": MAX_DEPTH})
        elif node.kind in GROUPS:
            found.update(_of_group(path, node))
        else:
            found.update(_of_test(path, node))
    return found


def _of_group(path: str, node: TreeNode) -> dict[str, Sentence]:
    if not node.members:
        return {f"kind:{path}": Sentence("A group needs a condition.")}
    if node.sequence or node.kind.startswith("item-"):
        name = node.sequence if node.sequence.startswith("tag.") else f"tag.{node.sequence}"
        try:
            if kind_of(name) == FieldKind.ITEMS:
                return {}
        except NoSuchField:
            pass
        return {f"item:{path}": Sentence("Not the keyword of a sequence, such as ProcedureCodeSequence.")}
    return {}


def _of_test(path: str, node: TreeNode) -> dict[str, Sentence]:
    if not node.field:
        return {f"field:{path}": Sentence("Choose a field, such as tag.Modality.")}
    try:
        kind = kind_of(node.field)
    except NoSuchField as error:
        return {f"field:{path}": Sentence("There is no such field: %(words)s", {"words": str(error)[:300]})}
    allowed = operators_of(kind, _HOW.get(node.values, "any"))
    if node.op not in allowed:
        return {f"op:{path}": Sentence("This field has: %(names)s.", {"names": _names(allowed)})}
    if not node.value and node.op not in ("exists", "missing"):
        return {f"value:{path}": Sentence("Say what it is compared with.")}
    try:
        ConditionReader("").condition(condition_of(node))
    except ConfigurationError as error:
        words = str(error).removeprefix(": ").removeprefix(f"{node.field}: ").removeprefix("value: ")
        return {f"value:{path}": Sentence("%(words)s", {"words": words[:300]})}
    return {}


def _names(operators: tuple[str, ...]) -> Sentence:
    first, *more = operators
    if not more:
        return OPERATORS[first]
    return Sentence("%(first)s, %(more)s", {"first": OPERATORS[first], "more": _names(tuple(more))})
