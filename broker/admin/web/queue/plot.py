"""Draws what waits and what was delivered by the minute, as numbers of an SVG and as a table of hours.

Places across are shares of the width in percent, so that the same drawing fits any screen without script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from broker.admin.web.words import Sentence
from broker.status.lane_rates import QueueCount, QueueMinute
from broker.status.rates import MINUTE

HIGH = 120  # pixels of the drawing
LEAST = 900  # seconds that it is wide at least
_STEPS = (300, 900, 1800, 3600)  # seconds between the times below it
_TIMES = 6  # of them at most, which fit on a phone
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlot:
    """One line over time. `lines`: points in seconds and pixels, in parts where some minutes are not known.

    `values`: pixels from above, and the number there. `last`, `most`: None while no minute is known.
    """

    key: str
    title: Sentence
    lines: Sequence[str]
    values: Sequence[tuple[float, int]]
    last: QueueCount | None
    most: QueueCount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHour:
    """An hour of the table: how many waited at most (None: not known), and how many were delivered."""

    begin: float
    end: float
    waiting: QueueCount | None
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHistory:
    """The last hours. `times`: shares of the width in percent, and the time there; `span`: seconds of the width."""

    plots: Sequence[QueuePlot]
    hours: Sequence[QueueHour]
    times: Sequence[tuple[float, float]]
    span: int
    begin: float
    end: float


def history_of(minutes: Sequence[QueueMinute]) -> QueueHistory | None:
    """What the page shows of these minutes; None while there are none."""
    if not minutes:
        return None
    begin, end = minutes[0].t, minutes[-1].t
    span = max(LEAST, end - begin)
    first = end - span
    return QueueHistory(
        plots=(
            _plot("waiting", Sentence("Jobs that wait"), minutes, lambda one: one.waiting, first),
            _plot("done", Sentence("Delivered by the minute"), minutes, lambda one: one.done, first),
        ),
        hours=list(_hours(minutes)),
        times=list(_times(first, span)),
        span=span,
        begin=begin,
        end=end + MINUTE,
    )


def _plot(
    key: str,
    title: Sentence,
    minutes: Sequence[QueueMinute],
    value: Callable[[QueueMinute], QueueCount | None],
    first: float,
) -> QueuePlot:
    known = [number for one in minutes if (number := value(one)) is not None]
    most = max(known, default=None)
    step, high = scale(most.number if most is not None else 0)
    lines, points = [], list[str]()
    for one in (*minutes, None):
        number = value(one) if one is not None else None
        if one is not None and number is not None:
            points.append(f"{one.t - first:.0f},{HIGH - HIGH * number.number / high:.1f}")
        elif points:
            lines.append(" ".join(points * 2 if len(points) == 1 else points))  # or a minute alone would not be seen
            points = []
    return QueuePlot(
        key=key,
        title=title,
        lines=lines,
        values=[(HIGH - HIGH * number / high, number) for number in range(0, high + 1, step)],
        last=value(minutes[-1]),
        most=most,
    )


def scale(most: int) -> tuple[int, int]:
    """The step between round numbers, and the highest of them, for about three steps up to a number."""
    rough = max(1, most) / 3
    power = 10 ** math.floor(math.log10(rough))
    step = max(1, round(next(size for size in (power, 2 * power, 5 * power, 10 * power) if size >= rough)))
    return step, math.ceil(max(1, most) / step) * step


def _times(first: float, span: int) -> Iterator[tuple[float, float]]:
    """Round times, not so near to an edge that they would not fit."""
    step = next((one for one in _STEPS if span / one <= _TIMES), _STEPS[-1])
    for at in range(math.ceil(first / step) * step, math.floor(first + span) + 1, step):
        share = 100 * (at - first) / span
        if 4 < share < 96:
            yield round(share, 2), at


def _hours(minutes: Sequence[QueueMinute]) -> Iterator[QueueHour]:
    """Hours of the clock, the last one first; the outer ones as far as they are known."""
    by_hour: dict[int, list[QueueMinute]] = {}
    for one in minutes:
        by_hour.setdefault(one.t // _HOUR, []).append(one)
    for _, some in sorted(by_hour.items(), reverse=True):
        yield QueueHour(
            begin=some[0].t,
            end=some[-1].t + MINUTE,
            waiting=max((one.waiting for one in some if one.waiting is not None), default=None),
            done=sum(one.done.number for one in some),
        )
