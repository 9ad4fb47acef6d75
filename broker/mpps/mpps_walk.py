"""Walks performed procedure steps: notes or ends overdue ones, compares the objects of completed ones.

Each is a small transaction of its own; traffic goes first (`store.db.pace`). `service` says how often to walk.
"""

from __future__ import annotations

from collections.abc import Callable

from broker import telemetry
from broker.mpps import comparing, overdue
from broker.orders.step_walk import PAGE, StepWalk
from broker.site.closings import Closings
from broker.site.tables.roles import MPPS_NOTIFICATION
from broker.store.mpps import objects
from broker.store.mpps import overdue as store
from broker.store.mpps.objects import ToCompare
from broker.store.mpps.overdue import Overdue

_Place = tuple[float, int]  # when an MPPS was last heard of, and its row


def end_overdue(walk: StepWalk) -> int:
    """Note or end MPPS that stay IN PROGRESS; how many. Raises StoreUnavailable."""
    closings = walk.closings
    hours = [rules.mpps_after for rules in closings.devices() if rules.mpps_after]
    if not hours:
        return 0
    before, after, changed = walk.clock() - min(hours) * 3600, 0, 0

    def end(silent: Overdue) -> int:
        return _end(walk, closings, silent)

    while not walk.pace.stopped and (page := walk.pace.read(store.silent, before, after, PAGE)):
        after = page[-1].row
        for silent in page:
            if not walk.pace.stopped:
                changed += walk.guarded(end, silent)
    return changed


def _end(walk: StepWalk, closings: Closings, silent: Overdue) -> int:
    rules = closings.of((silent.station, silent.calling_ae))
    before = walk.clock() - rules.mpps_after * 3600
    ends = rules.mpps_overdue == "discontinue"
    if not rules.mpps_after or silent.updated_at > before or (silent.noted and not ends):
        return 0
    if ends:
        subscribers = walk.directory.having(MPPS_NOTIFICATION)
        done = walk.pace.alone(overdue.discontinue, silent.row, before, subscribers, walk.context())
    else:
        done = walk.pace.alone(overdue.note, silent.row, before, walk.context())
    if done:
        telemetry.child(telemetry.STEPS_CLOSED, overdue.CAUSE).inc()
        telemetry.logger().warning("mpps.overdue", calling_ae=silent.calling_ae, state=rules.mpps_overdue)
        walk.wake()
    return int(bool(done))


def compare_objects(walk: StepWalk) -> int:
    """Compare completed MPPS with the objects that should be here by now; of how many there is news for a person.

    Raises StoreUnavailable.
    """
    hours = walk.settings.worklist.mpps_compare_after
    if not hours:
        return 0
    before = walk.clock() - hours * 3600

    def never_compared(after: _Place) -> list[ToCompare]:
        return walk.pace.read(objects.to_compare, before, after, PAGE)

    def lacking(after: _Place) -> list[ToCompare]:
        return walk.pace.read(objects.lacking, after, PAGE)

    def compare(completed: ToCompare) -> int:
        return _compare(walk, completed, again=False)

    def compare_again(completed: ToCompare) -> int:
        return _compare(walk, completed, again=True)

    return _each(walk, lacking, compare_again) + _each(walk, never_compared, compare)


def _each(walk: StepWalk, look: Callable[[_Place], list[ToCompare]], compare: Callable[[ToCompare], int]) -> int:
    news, after = 0, (0.0, 0)
    while not walk.pace.stopped and (page := look(after)):
        after = page[-1].updated_at, page[-1].row
        for completed in page:
            if not walk.pace.stopped:
                news += walk.guarded(compare, completed)
    return news


def _compare(walk: StepWalk, completed: ToCompare, *, again: bool) -> int:
    seen = walk.pace.read(comparing.look, completed.row)
    if seen is None or (again and seen.lacks):  # the writer has no work with what lacks objects still
        return 0
    news = walk.pace.alone(comparing.note, completed.row, seen, walk.context())
    if news:
        log = telemetry.logger().warning if news == "missing" else telemetry.logger().info
        log("mpps.images", calling_ae=completed.calling_ae, state=news)
    return int(bool(news))
