"""Reads tables and presentation contexts out of a conformance statement, by what it says alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.conformance.sections import associations

Pair = tuple[str, str]


def sections(statement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All sections, in their order."""
    waiting = list(statement["sections"])
    while waiting:
        section = waiting.pop(0)
        yield section
        waiting = [*section["sections"], *waiting]


def table(statement: Mapping[str, Any], title: str) -> list[dict[str, str]]:
    """The rows of the one table of this title, each by column."""
    blocks = [block for section in sections(statement) for block in section["blocks"] if block["kind"] == "table"]
    (found,) = [block for block in blocks if block["title"] == title]
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def accepted(statement: Mapping[str, Any]) -> set[Pair]:
    """The pairs of abstract and transfer syntax that it says are accepted."""
    classes = [row["UID"] for row in table(statement, associations.STORAGE_CLASSES)]
    syntaxes = [row["UID"] for row in table(statement, associations.STORAGE_SYNTAXES)]
    pairs: set[Pair] = set()
    for row in table(statement, associations.ACCEPTED_CONTEXTS):
        assert row["Role"] == "SCP"
        of_storage = row["Abstract syntax"].startswith("Each SOP class")
        abstract = classes if of_storage else [uid(row["Abstract syntax"])]
        transfer = syntaxes if row["Transfer syntax"].startswith("Each of") else [uid(row["Transfer syntax"])]
        pairs |= {(one, other) for one in abstract for other in transfer}
    return pairs


def proposed(statement: Mapping[str, Any], activity: str) -> set[tuple[str, str, str]]:
    """Abstract syntax, transfer syntax and role that it says are proposed for an activity; `activity` is its begin."""
    rows = [r for r in table(statement, associations.PROPOSED_CONTEXTS) if r["Activity"].startswith(activity)]
    assert rows
    return {(uid(row["Abstract syntax"]), uid(row["Transfer syntax"]), row["Role"]) for row in rows}


def proposed_for(statement: Mapping[str, Any], pair: Pair) -> set[Pair]:
    """What it says is proposed for an object that was received in this pair."""
    for row in table(statement, associations.PROPOSED_FOR_OBJECTS):
        received, made = row.values()
        if uid(received) == pair[1]:
            return {(pair[0], uid(cell)) for cell in made.split("; ")}
    return {pair}


def uid(cell: str) -> str:
    """The UID at the end of a cell."""
    return cell.split()[-1]
