"""The return keys of a query as a tree."""

from __future__ import annotations

from dataclasses import dataclass

from broker.worklist.query.attributes import Attribute

_ALWAYS = {"1", "2"}  # return types that stand in an answer even without a value


@dataclass(frozen=True, slots=True)
class Wanted:
    """One attribute to return. Without a keyword it is not supported and comes back empty."""

    tag: int
    vr: str
    keyword: str = ""
    children: tuple[Wanted, ...] = ()
    optional: bool = False  # left out when it has no value
    creator: str = ""  # private creator, echoed


def everything(sequence: Attribute) -> tuple[Wanted, ...]:
    """All supported attributes of a sequence, for a request with no item or an empty one.

    Conditional and optional ones only where they have a value: a code is either short, long or a URN.
    """
    return tuple(
        Wanted(
            child.tag,
            child.vr,
            child.keyword,
            everything(child) if child.vr == "SQ" else (),
            optional=child.returned not in _ALWAYS,
        )
        for child in sequence.children.values()
    )
