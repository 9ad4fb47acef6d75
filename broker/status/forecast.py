"""Says when a disk will be full, by how its free bytes went down in the last hours and in the last days.

The nightly purge gives a saw tooth: the last hours alone would cry wolf each day, the last days alone would miss a
flood. Both slopes are taken, and the sooner end counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86_400.0  # seconds
FINE, FINE_SPAN = 600.0, 6 * HOUR  # between two samples of the last hours, and how far they go back
COARSE, COARSE_SPAN = 2 * HOUR, 7 * DAY  # of the last days
LEAST_FINE, LEAST_COARSE = HOUR, DAY  # that the samples must span, else nothing is said
HORIZON = 30 * DAY  # beyond nobody knows

Sample = tuple[float, float]  # seconds since the epoch, free bytes


@dataclass(frozen=True, slots=True)
class DiskHistory:
    """Free bytes of a file system, oldest first: every ten minutes of six hours, every two hours of seven days."""

    fine: tuple[Sample, ...] = ()
    coarse: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """`full_at` (s since the epoch): when the mark is reached, None for not within HORIZON. `known`: there is enough
    to tell. `rate`: bytes a second by which the free ones went down in the last hours.
    """

    known: bool = False
    full_at: float | None = None
    rate: float = 0.0


def sampled(history: DiskHistory, now: float, free: float) -> DiskHistory:
    """The history with what is free now, if it is time for a sample; what is too old, or of a later clock, goes."""
    return DiskHistory(
        _with(history.fine, now, free, FINE, FINE_SPAN), _with(history.coarse, now, free, COARSE, COARSE_SPAN)
    )


def _with(samples: Sequence[Sample], now: float, free: float, every: float, span: float) -> tuple[Sample, ...]:
    kept = tuple(sample for sample in samples if now - span <= sample[0] <= now)
    return kept if kept and now - kept[-1][0] < every else (*kept, (now, free))


def forecast(history: DiskHistory, now: float, free: float, mark: float) -> Forecast:
    """When the free bytes will reach a mark, if it goes on as it did."""
    slopes = [
        slope
        for samples, least in ((history.fine, LEAST_FINE), (history.coarse, LEAST_COARSE))
        if (slope := _slope((*samples, (now, free)), least)) is not None
    ]
    if not slopes:
        return Forecast()
    ends = [now + (free - mark) / -slope for slope in slopes if slope < 0]
    end = min((end for end in ends if end <= now + HORIZON), default=None)
    return Forecast(True, end if end is None else max(now, end), max(0.0, -slopes[0]))


def _slope(samples: Sequence[Sample], least: float) -> float | None:
    """Bytes a second by least squares; None if the samples span too little."""
    first = samples[0][0]
    if len(samples) < 4 or samples[-1][0] - first < least:
        return None
    times = [at - first for at, _ in samples]
    middle, height = sum(times) / len(times), sum(free for _, free in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (free - height) for at, (_, free) in zip(times, samples, strict=True)) / spread
