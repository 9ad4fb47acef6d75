"""Counts what the rules of retention delete next, by the conditions by which they delete it. Nothing is written.

It reads in short parts beside traffic. A rule is counted up to MOST rows and for about SECONDS; `more` says that there
may be more than was counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from broker.settings import Settings
from broker.store.ageing.schedule import DAY, ScheduledRule, scheduled
from broker.store.db.database import Database
from broker.store.thinning import PAGE, ThinningRule

AHEAD = 7  # days: what is over soon is over within them
MOST = 10_000  # rows
SECONDS = 1.0  # for one rule
# what goes before the rows of a rule: while it is there they stay, however old they are
AFTER = {
    "jobs": ("delivered-objects", "discarded-objects"),
    "notices": ("jobs",),
    "commitments": ("jobs",),
    "objects": ("delivered-objects", "discarded-objects", "jobs"),
    "gatherings": ("objects",),
    "mpps": ("jobs", "delivered-objects", "discarded-objects"),
    "orders": ("jobs", "mpps", "appointments", "idempotency", "delivered-objects", "discarded-objects"),
    "visits": ("orders",),
    "patients": ("orders", "visits", "studies"),
    "studies": ("delivered-objects", "discarded-objects"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleForecast:
    """What a rule deletes next. `over`: at its next run; `soon`: within AHEAD days after that, as things are now.

    `kept`: rows that are old enough and stay, as something needs them still. `more`: there may be more of each.
    `bytes_over`, `bytes_soon`: those of files; None for rows. `oldest`: the time of the oldest row, None for no row.
    `after`: the rules that may free what is kept.
    """

    name: str
    key: str
    days: float
    over: int = 0
    soon: int = 0
    kept: int = 0
    more: bool = False
    bytes_over: int | None = None
    bytes_soon: int | None = None
    oldest: float | None = None
    after: tuple[str, ...] = ()


class RuleTally:
    """Counts rows of one rule."""

    def __init__(self, *, files: bool = False) -> None:
        """`files`: bytes are counted too."""
        self.over = self.soon = self.kept = 0
        self.bytes_over = self.bytes_soon = 0 if files else None
        self.more = False
        self._until = time.monotonic() + SECONDS

    def add(self, *, old: bool, over: bool, later: bool, size: int = 0) -> None:
        """A row that is old now, goes now, goes later."""
        if over:
            self.over += 1
            self.bytes_over = None if self.bytes_over is None else self.bytes_over + size
        elif later:
            self.soon += 1
            self.bytes_soon = None if self.bytes_soon is None else self.bytes_soon + size
        if old and not over:
            self.kept += 1

    @property
    def full(self) -> bool:
        """Enough was counted, or it took too long: whoever goes on without looking says so by `more`."""
        self.more = self.over + self.soon >= MOST or self.kept >= MOST or time.monotonic() > self._until
        return self.more

    def forecast(self, name: str, key: str, days: float, oldest: float | None) -> RuleForecast:
        """What was counted."""
        return RuleForecast(
            name=name,
            key=key,
            days=days,
            over=self.over,
            soon=self.soon,
            kept=self.kept,
            more=self.more,
            bytes_over=self.bytes_over,
            bytes_soon=self.bytes_soon,
            oldest=oldest,
            after=AFTER.get(name, ()),
        )


def of_tables(database: Database, settings: Settings, now: float) -> Iterator[RuleForecast]:
    """What goes by each rule, in the order in which the duty deletes. Raises StoreUnavailable."""
    ahead = AHEAD * DAY
    for one, later in zip(scheduled(settings, now), scheduled(settings, now + ahead), strict=True):
        yield of_rule(database, one, later.rule, now)


def of_rule(database: Database, one: ScheduledRule, later: ThinningRule, now: float) -> RuleForecast:
    """What goes by a rule; `later` is the same one in AHEAD days. Raises StoreUnavailable."""
    rule, tally = one.rule, RuleTally()
    first = database.read(oldest, rule).result()
    if one.days:
        before = now - one.days * DAY
        walk = RuleWalk(rule, later, before, before + AHEAD * DAY)
        _count(database, walk, tally)
    return tally.forecast(rule.name, one.key, one.days, first)


@dataclass(frozen=True, slots=True)
class RuleWalk:
    """A rule now and later, and the times before which a row is old then."""

    rule: ThinningRule
    later: ThinningRule
    before: float
    then: float

    def page(self, connection: Connection, place: int) -> list[Any]:
        """The next rows of a table that grows at its end: number, age, whether they go now, and later."""
        rule, (row,) = self.rule, self.rule.key
        query = select(row, rule.age, rule.over(self.before), self.later.over(self.then)).where(row > place)
        return list(connection.execute(query.order_by(row).limit(PAGE)))

    def oldest_first(self, connection: Connection) -> list[Any]:
        """The rows of another table that are old then, as `page` gives them; up to one more than MOST."""
        rule = self.rule
        old = (rule.age < self.then,) if rule.among is None else (rule.among, rule.age < self.then)
        query = select(rule.key[0], rule.age, rule.over(self.before), self.later.over(self.then)).where(*old)
        return list(connection.execute(query.order_by(rule.age).limit(MOST + 1)))


def _count(database: Database, walk: RuleWalk, tally: RuleTally) -> None:
    rule = walk.rule
    if not rule.grows:
        rows = database.read(walk.oldest_first).result()
        for _, age, over, later in rows[:MOST]:
            tally.add(old=age < walk.before, over=bool(over), later=bool(later))
        tally.more = len(rows) > MOST
        return
    place, deleting = 0, True
    while rows := database.read(walk.page, place).result():
        place = rows[-1][0]
        for _, age, over, later in rows:
            tally.add(old=deleting and age < walk.before, over=deleting and bool(over), later=bool(later))
        if rule.ordered and all(age >= walk.before for _, age, _, _ in rows):
            deleting = False  # the duty ends with the first page without an old row
        if len(rows) < PAGE or (rule.ordered and all(age >= walk.then for _, age, _, _ in rows)) or tally.full:
            return


def oldest(connection: Connection, rule: ThinningRule) -> float | None:
    """The age of the first row: of that with the lowest number where rows are added at the end."""
    order = rule.key[0] if rule.grows else rule.age
    query = select(rule.age).where(order > -1).order_by(order).limit(1)
    return connection.execute(query if rule.among is None else query.where(rule.among)).scalar()
