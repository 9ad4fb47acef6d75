"""Turns a condition into fields of a form and back, and changes it by what a button says. Pure.

A node has a path: `r` is the root, `r.0.2` the third member of its first one. The form holds all of the tree: for each
path `kind:`, and for a test `field:`, `op:`, `value:`, `values:`, `exact:` and `missing:`. What a condition says is the
same as its TOML: `said:` notes which keys of a test were written out although they say what is meant without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.routing.rules.comparing import PRESENCE
from broker.routing.rules.conditions import MAX_DEPTH, MAX_LEAVES
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.tag_paths import NoSuchField

ROOT = "r"
LISTS = ("in", "not_in", "between")
GROUPS = ("all", "any", "not", "item-all", "item-any")
_MISSING = {"true": True, "false": False}
_NUMERIC = (FieldKind.NUMBER, FieldKind.ITEMS, FieldKind.AGE)
_MOST_NODES = 2 * MAX_LEAVES


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A node of a tree as its form has it. `sequence`: of the groups `item-…`; `said`: keys of a test written out."""

    kind: str = "test"
    members: tuple[TreeNode, ...] = ()
    sequence: str = ""
    field: str = ""
    op: str = "is"
    value: str = ""
    values: str = "any"
    exact: bool = False
    missing: str = ""
    said: tuple[str, ...] = ()


class NoForm(ValueError):
    """A condition that no form can show: a value has a line break."""


def tree_of(when: Mapping[str, Any]) -> TreeNode:
    """The tree of a condition that can be read. Raises NoForm."""
    if "field" in when:
        return _test_of(when)
    if "item" in when:
        kind = "all" if "all" in when else "any"
        inner = tuple(tree_of(one) for one in when[kind])
        return TreeNode(kind=f"item-{kind}", sequence=str(when["item"]), members=inner)
    kind = next(kind for kind in ("all", "any", "not") if kind in when)
    members = (when["not"],) if kind == "not" else when[kind]
    return TreeNode(kind=kind, members=tuple(tree_of(one) for one in members))


def _test_of(when: Mapping[str, Any]) -> TreeNode:
    value = when.get("value", "")
    texts = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
    if any("\n" in text or "\r" in text for text in texts) or (isinstance(value, list) and "" in texts):
        raise NoForm
    missing = when.get("missing")
    return TreeNode(
        field=when["field"],
        op=when.get("op", "is"),
        value="\n".join(texts),
        values=when.get("values", "any"),
        exact=when.get("exact", False),
        missing="" if missing is None else str(missing).lower(),
        said=tuple(key for key in ("op", "values", "exact") if key in when),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def condition_of(node: TreeNode) -> dict[str, Any]:
    """The condition that a tree says, as it stands in TOML. What cannot be read in it, its reader says."""
    members = [condition_of(one) for one in node.members]
    match node.kind:
        case "test":
            return _leaf(node)
        case "not":
            return {"not": members[0] if members else {}}
        case "item-all" | "item-any":
            return {"item": node.sequence, node.kind.removeprefix("item-"): members}
    return {node.kind: members}


def _leaf(node: TreeNode) -> dict[str, Any]:
    made: dict[str, Any] = {"field": node.field}
    if node.op != "is" or "op" in node.said:
        made["op"] = node.op
    if node.op in PRESENCE:
        return made
    read = _reader(node)
    lines = [line for line in node.value.split("\n") if line] if node.op in LISTS else []
    made["value"] = [read(line) for line in lines] if node.op in LISTS else read(node.value)
    if node.values != "any" or "values" in node.said:
        made["values"] = node.values
    if node.exact or "exact" in node.said:
        made["exact"] = node.exact
    if node.missing in _MISSING:
        made["missing"] = _MISSING[node.missing]
    return made


def _reader(node: TreeNode) -> Callable[[str], Any]:
    """What makes a value of a text, by the kind of the field: a number where one is compared."""
    try:
        numeric = node.values == "count" or kind_of(node.field) in _NUMERIC
    except NoSuchField:
        numeric = False
    return _number if numeric else str


def _number(text: str) -> Any:
    for make in (int, float):
        try:
            number = make(text.strip())
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def tree_in(get: Callable[[str], str], path: str = ROOT, depth: int = 1) -> TreeNode:
    """The tree that a form says. `get` gives a field as it was typed, empty for none."""
    kind = get(f"kind:{path}")
    if kind not in GROUPS:
        return _test_in(get, path)
    members: list[TreeNode] = []
    while depth < 2 * MAX_DEPTH and len(members) < _MOST_NODES and get(f"kind:{path}.{len(members)}"):
        members.append(tree_in(get, f"{path}.{len(members)}", depth + 1))
    return TreeNode(kind=kind, members=tuple(members), sequence=get(f"item:{path}").strip())


def _test_in(get: Callable[[str], str], path: str) -> TreeNode:
    op, values = get(f"op:{path}") or "is", get(f"values:{path}") or "any"
    value = get(f"value:{path}").replace("\r\n", "\n")
    return TreeNode(
        field=get(f"field:{path}").strip(),
        op=op,
        value=value,
        values=values,
        exact=bool(get(f"exact:{path}")),
        missing=get(f"missing:{path}"),
        said=tuple(key for key in get(f"said:{path}").split() if key in ("op", "values", "exact")),
    )


def at_path(tree: TreeNode, path: str) -> TreeNode | None:
    """The node at a path; None if there is none."""
    node = tree
    for text in path.split(".")[1:]:
        if not text.isascii() or not text.isdigit() or len(text) > 4 or int(text) >= len(node.members):
            return None
        node = node.members[int(text)]
    return node


def acted(tree: TreeNode, do: str) -> tuple[TreeNode, str]:
    """The tree after a button, and the path that is to have the focus.

    `add-test`, `add-group`, `add-item` put a member into a group; `remove`, `up`, `down`, `negate` act on the node.
    """
    verb, _, path = do.partition(":")
    node = at_path(tree, path)
    if node is None:
        return tree, ""
    fresh = _FRESH.get(verb)
    if fresh is not None:
        group = node if node.kind in GROUPS and node.kind != "not" else TreeNode(kind="all", members=(node,))
        made = replace(group, members=(*group.members, fresh))
        return _put(tree, path, made), f"{path}.{len(made.members) - 1}" + ("" if fresh.kind == "test" else ".0")
    if verb == "negate":
        made = node.members[0] if node.kind == "not" and node.members else TreeNode(kind="not", members=(node,))
        return _put(tree, path, made), path
    above, _, text = path.rpartition(".")
    if not above:  # the root stays
        return (TreeNode(kind="all", members=(TreeNode(),)), f"{ROOT}.0") if verb == "remove" else (tree, "")
    return _among(tree, above, int(text), verb)


def _among(tree: TreeNode, above: str, place: int, verb: str) -> tuple[TreeNode, str]:
    """Remove or move a member of a group."""
    group = at_path(tree, above)
    assert group is not None
    members = list(group.members)
    if verb == "remove":
        if group.kind == "not":  # nothing is left to negate
            return acted(tree, f"remove:{above}")
        del members[place]
        return _put(tree, above, replace(group, members=tuple(members))), above
    other = place + {"up": -1, "down": 1}.get(verb, 0)
    if other == place or not 0 <= other < len(members):
        return tree, ""
    members[place], members[other] = members[other], members[place]
    return _put(tree, above, replace(group, members=tuple(members))), f"{above}.{other}"


_FRESH = {
    "add-test": TreeNode(),
    "add-group": TreeNode(kind="any", members=(TreeNode(),)),
    "add-item": TreeNode(kind="item-all", members=(TreeNode(),)),
}


def _put(tree: TreeNode, path: str, node: TreeNode) -> TreeNode:
    """The tree with another node at a path."""
    places = [int(text) for text in path.split(".")[1:]]
    if not places:
        return node
    members = list(tree.members)
    members[places[0]] = _put(members[places[0]], ".".join([ROOT, *map(str, places[1:])]), node)
    return replace(tree, members=tuple(members))


def walk(node: TreeNode, path: str = ROOT) -> Iterator[tuple[str, TreeNode]]:
    """All nodes with their paths, each before its members."""
    yield path, node
    for place, member in enumerate(node.members):
        yield from walk(member, f"{path}.{place}")
