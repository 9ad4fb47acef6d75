"""Says what other rules would have done with the objects of the last days, study by study. Changes nothing.

Both rule sets judge the same facts: what was kept of the reception, the elements of the object, and the order as it is
today. Where the bytes are gone, what was kept of the elements has to do; if a rule asks for more, the object is counted
as not to be told.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.routing.header import BASE_FIELDS
from broker.routing.rejudging import RECEPTION, FactReader
from broker.routing.rules.evaluate import RoutingDecision, decide
from broker.routing.rules.ruleset import RuleSet, fields_of
from broker.store.db.database import Database
from broker.store.images import held_objects
from broker.store.images.held_objects import HeldObject

PAGE = 200  # objects read together
MOST = 50_000  # objects that are looked at
SECONDS = 20.0
GROUPS = 500  # that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOutcome:
    """What a rule set does with an object: its action, and where it goes."""

    action: str
    to: tuple[str, ...]

    @classmethod
    def of(cls, decision: RoutingDecision) -> RoutingOutcome:
        """Of a decision; how urgent a delivery is does not count, whether it waits for a person does."""
        nodes = sorted(f"{one.node} (held)" if one.held else one.node for one in decision.deliveries)
        return cls(action=decision.action.value, to=tuple(nodes))


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
    fields = fields_of(now) | fields_of(draft)
    reader = FactReader(database, files, fields)
    kept = frozenset(name for name in fields if name.startswith(RECEPTION)) | set(BASE_FIELDS)
    found = ReplayedDays()
    groups: dict[tuple[str, str, RoutingOutcome, RoutingOutcome], int] = defaultdict(int)
    deadline = clock() + SECONDS
    for page in _pages(database, since):
        if clock() > deadline or found.objects >= MOST:
            found.whole = False
            break
        for held, facts, read in reader.read(page):
            found.objects += 1
            if not read and not fields <= kept:
                found.untold += 1
                continue
            before, after = RoutingOutcome.of(decide(now, facts)), RoutingOutcome.of(decide(draft, facts))
            if before == after:
                found.same += 1
            else:
                groups[held.study_instance_uid, held.calling_ae, before, after] += 1
    found.differences = [
        StudyDifference(study=study, device=device, before=before, after=after, objects=count)
        for (study, device, before, after), count in list(groups.items())[:GROUPS]
    ]
    found.more = max(0, len(groups) - GROUPS)
    return found


def _pages(database: Database, since: float) -> Iterator[Sequence[HeldObject]]:
    place = held_objects.LAST
    while page := database.read(held_objects.received, since, place, PAGE).result():
        yield page
        place = page[-1].place
