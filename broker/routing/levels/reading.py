"""Reads what the rules in force see of the objects of a series or study, page by page, and joins it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from broker.routing.header import BASE_FIELDS
from broker.routing.levels.applying import Own
from broker.routing.levels.study_facts import FactUnion
from broker.routing.order_facts import MATCHING_FIELDS, OF_ORDER, needs_order, order_facts
from broker.routing.rejudging import RECEPTION, FactReader
from broker.routing.rules.evaluate import WAITING_FOR, Facts, decide
from broker.routing.rules.ruleset import RuleSet, fields_of
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import gathered
from broker.store.images.gathered import GatheredObject

PAGE = 200  # objects read at once
_WAITS = {code: levels for levels, code in WAITING_FOR.items()}


class FactsGone(ValueError):
    """Rules ask for what is not kept of an object, and its bytes are not there."""


class GatheredFacts:
    """The facts of objects as the rules in force see them: kept ones, or read from the bytes again."""

    def __init__(self, pace: Pace, database: Database, files: Path, rules: RuleSet) -> None:
        """`files`: the spool folder."""
        self._pace = pace
        self._database = database
        self._rules = rules
        self.fields = fields_of(rules)
        self._of_order = needs_order(self.fields)
        own = frozenset(name for name in self.fields if not name.startswith(OF_ORDER))
        keys = MATCHING_FIELDS if self._of_order else frozenset[str]()
        self._needed = {name for name in own | keys if not name.startswith((*RECEPTION, "study.", "series."))}
        self._always = self._needed <= set(BASE_FIELDS)
        self._reader = FactReader(database, files, own | keys)
        self.union = FactUnion(self.fields, self._order if self._of_order else None)

    def pages(self, rows: Sequence[int]) -> Iterator[list[GatheredObject]]:
        """The objects of rows (blocking). Raises StoreUnavailable."""
        for start in range(0, len(rows), PAGE):
            yield self._pace.read(gathered.load, rows[start : start + PAGE])

    def met_other(self, one: GatheredObject) -> bool:
        """An object met other rules than those in force when it came."""
        return one.rules_version != self._rules.version

    def read(self, objects: Sequence[GatheredObject]) -> Iterator[tuple[GatheredObject, Facts]]:
        """Each object with its facts, but for those of its order (blocking). Raises FactsGone, StoreUnavailable."""
        others = [one for one in objects if self.met_other(one) and not self._always]
        again = {one.id: (facts, read) for one, facts, read in self._reader.read(others)} if others else {}
        for one in objects:
            facts, read = again.get(one.id, (None, True))
            if not read:
                raise FactsGone
            yield one, json.loads(one.facts or "{}") if facts is None else facts

    def own(self, one: GatheredObject, facts: Facts | None) -> Own:
        """What its own rules mean for an object; `facts` of one that met other rules."""
        if facts is None:
            cut = len(json.loads(one.trace or "[]"))
            return Own(cut=cut, waits=_WAITS.get(one.reason, frozenset()))
        if self._of_order:
            facts = {**facts, **self.union.order_of(facts)}
        decision = decide(self._rules, facts)
        return Own(cut=len(decision.outcomes), waits=decision.waits, decision=decision)

    def _order(self, facts: Facts) -> Facts:
        return self._database.read(order_facts, facts).result()
