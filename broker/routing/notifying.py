"""Tells nodes that rules acted: once for each node, rule and study, and objects after the first cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from broker.routing.rules.evaluate import PlannedNotice
from broker.store.notices import NewNotice, RuleNotice

REMEMBERED = 10_000  # notices; the database itself knows which were made, this only saves asking it
NOTIFY = "notify"  # what a rule does that does nothing else
LONGEST = 64  # characters of a value of an object


def notices_of(
    planned: Sequence[PlannedNotice],
    study: str,
    sop_instance: str,
    facts: Mapping[str, Sequence[Any]],
    version: int,
    at: float,
) -> list[NewNotice]:
    """What is to be told with an object, of the rules of a version, at a time (s since the epoch).

    An object that names no study counts as a study of its own.
    """
    return [
        NewNotice(
            node=one.node,
            study=study or sop_instance,
            at=at,
            notice=RuleNotice(
                rule=one.rule.name,
                rules_version=version,
                action=NOTIFY if one.rule.only_notifies else one.rule.action.value,
                destinations=one.rule.send,
                level=one.rule.level.value,
                device=_first(facts, "assoc.calling_ae"),
                modality=_first(facts, "tag.Modality"),
                key=str(uuid4()),
            ),
        )
        for one in planned
    ]


def _first(facts: Mapping[str, Sequence[Any]], name: str) -> str:
    values = facts.get(name, ())
    return str(values[0])[:LONGEST] if values else ""


class ToldNotices:
    """Remembers what was told in this process. Its methods may run in threads."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], None] = {}

    def lacking(self, planned: Sequence[PlannedNotice], study: str, sop_instance: str) -> list[PlannedNotice]:
        """Those of some planned notices that may not have been made yet."""
        return [one for one in planned if (one.node, one.rule.name, study or sop_instance) not in self._told]

    def committed(self, notices: Sequence[NewNotice]) -> None:
        """They are in the database."""
        for one in notices:
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told[one.key] = None
