"""Says what other rules would have done with the objects of the last days, study by study. Changes nothing.

Both rule sets judge the same facts: what was kept of the reception, the elements of the object, and the order as it is
today. Where the bytes are gone, what was kept of the elements has to do; if a rule asks for more, the object is counted
as not to be told.

If a rule of one of both has a level, all objects of a study are judged together, those of earlier days included, as if
all had come before the study was judged. Why it was complete, and how old, counts as it was.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.routing.header import BASE_FIELDS
from broker.routing.levels.trying import TriedObject, try_study
from broker.routing.order_facts import OF_ORDER
from broker.routing.rejudging import RECEPTION, FactReader
from broker.routing.rules.evaluate import Facts, PlannedNotice, RoutingDecision, decide
from broker.routing.rules.ruleset import RuleSet, fields_of
from broker.store.db.database import Database
from broker.store.images import gathered, gatherings, held_objects
from broker.store.images.held_objects import HeldObject

PAGE = 200  # objects read together
MOST = 50_000  # objects that are looked at
SECONDS = 20.0
MOST_OF_STUDY = 20_000  # objects of a study whose rules are judged together
GROUPS = 500  # that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOutcome:
    """What a rule set does with an object: its action, where it goes, and which nodes are told."""

    action: str
    to: tuple[str, ...]
    notify: tuple[str, ...] = ()

    @classmethod
    def of(cls, decision: RoutingDecision) -> RoutingOutcome:
        """Of a decision; how urgent a delivery is does not count, whether it waits for a person does."""
        nodes = sorted(f"{one.node} (held)" if one.held else one.node for one in decision.deliveries)
        return cls(action=decision.action.value, to=tuple(nodes), notify=_told(decision.notices))


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDifference:
    """Objects of a study from one device with which other rules would do something else."""

    study: str
    device: str
    before: RoutingOutcome
    after: RoutingOutcome
    objects: int


@dataclass(slots=True)
class ReplayedDays:
    """What was found. `untold`: objects whose bytes are gone, and of which too little was kept. `whole`: all were seen.

    `more`: how many further differences there are beside those told.
    """

    objects: int = 0
    same: int = 0
    untold: int = 0
    whole: bool = True
    more: int = 0
    differences: list[StudyDifference] = field(default_factory=list)


def replay(
    database: Database,
    files: Path,
    now: RuleSet,
    draft: RuleSet,
    since: float,
    clock: Callable[[], float] = time.monotonic,
) -> ReplayedDays:
    """Judge the objects received since a time (s since the epoch) by both rule sets, the newest first (blocking).

    `files` is the spool folder. Raises StoreUnavailable.
    """
    deadline = clock() + SECONDS
    replayed = _Replay(database, files, now, draft, clock, deadline)
    for page in _pages(database, since):
        if clock() > deadline or replayed.found.objects >= MOST:
            replayed.found.whole = False
            break
        if now.levels or draft.levels:
            replayed.by_study(page, since)
        else:
            replayed.each(page)
    found, groups = replayed.found, replayed.groups
    found.differences = [
        StudyDifference(study=study, device=device, before=before, after=after, objects=count)
        for (study, device, before, after), count in list(groups.items())[:GROUPS]
    ]
    found.more = max(0, len(groups) - GROUPS)
    return found


class _Replay:
    """Judges by both rule sets, and counts."""

    def __init__(
        self,
        database: Database,
        files: Path,
        now: RuleSet,
        draft: RuleSet,
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        self._database, self._now, self._draft = database, now, draft
        self._clock, self._deadline = clock, deadline
        fields = fields_of(now) | fields_of(draft)
        self._reader = FactReader(database, files, fields)
        kept = (*RECEPTION, "study.", "series.")
        self._known = all(name.startswith(kept) or name in BASE_FIELDS for name in fields)
        self._studies: set[str] = set()
        self.found = ReplayedDays()
        self.groups: defaultdict[tuple[str, str, RoutingOutcome, RoutingOutcome], int] = defaultdict(int)

    def each(self, page: Sequence[HeldObject]) -> None:
        """Judge objects each for itself."""
        for held, facts, read in self._reader.read(page):
            if not read and not self._known:
                self._count(held, None)
                continue
            self._count(
                held, (RoutingOutcome.of(decide(self._now, facts)), RoutingOutcome.of(decide(self._draft, facts)))
            )

    def by_study(self, page: Sequence[HeldObject], since: float) -> None:
        """Judge the whole studies of objects; counted are those received since a time."""
        self.each([held for held in page if not held.study_instance_uid])
        for study in dict.fromkeys(held.study_instance_uid for held in page):
            if study and study not in self._studies:
                self._studies.add(study)
                self._study(study, since)

    def _study(self, study: str, since: float) -> None:
        rows = self._database.read(gathered.rows, study, "").result()
        if len(rows) > MOST_OF_STUDY or self._clock() > self._deadline:
            self.found.whole = False
            return
        objects: list[HeldObject] = []
        facts: list[Facts] = []
        told = True
        for start in range(0, len(rows), PAGE):
            page = self._database.read(held_objects.of_rows, rows[start : start + PAGE]).result()
            for held, seen, read in self._reader.read(page):
                told = told and (read or self._known)
                objects.append(held)
                facts.append(seen)
        given = self._given(study)
        sides = [try_study(rules, facts, _order, given, told=False).objects for rules in (self._now, self._draft)]
        for held, before, after in zip(objects, *sides, strict=True):
            if held.received_at >= since:
                self._count(held, (_outcome(before), _outcome(after)) if told else None)

    def _given(self, study: str) -> Facts:
        """Why the study was complete, and how old it was then, if it was judged."""
        for one in self._database.read(gatherings.of_study, study).result():
            if not one.series_instance_uid and one.complete:
                kept = json.loads(one.facts)
                return {name: kept[name] for name in ("study.complete", "study.age") if name in kept}
        return {}

    def _count(self, held: HeldObject, outcomes: tuple[RoutingOutcome, RoutingOutcome] | None) -> None:
        """Count an object with what both rule sets do with it; None: it cannot be told."""
        self.found.objects += 1
        if outcomes is None:
            self.found.untold += 1
        elif outcomes[0] == outcomes[1]:
            self.found.same += 1
        else:
            self.groups[held.study_instance_uid, held.calling_ae, *outcomes] += 1


def _order(facts: Facts) -> Facts:
    """The facts of the order, which were looked up with those of the object."""
    return {name: values for name, values in facts.items() if name.startswith(OF_ORDER)}


def _outcome(one: TriedObject) -> RoutingOutcome:
    nodes = sorted(f"{planned.node} (held)" if planned.held else planned.node for planned in one.deliveries)
    return RoutingOutcome(action=one.action.value, to=tuple(nodes), notify=_told(one.notices))


def _told(notices: Sequence[PlannedNotice]) -> tuple[str, ...]:
    return tuple(sorted({one.node for one in notices}))


def _pages(database: Database, since: float) -> Iterator[Sequence[HeldObject]]:
    place = held_objects.LAST
    while page := database.read(held_objects.received, since, place, PAGE).result():
        yield page
        place = page[-1].place
