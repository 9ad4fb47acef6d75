"""Says when objects may be sent to a destination: by its send windows, on the clock and the holidays of the site."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, tzinfo

from broker.site.nodes import Node


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A destination takes no objects until a time (s since the epoch); `math.inf`: no time to send comes in a year.

    `stat_passes`: what is STAT is sent all the same.
    """

    until: float
    stat_passes: bool


def closing_of(node: Node, now: float, zone: tzinfo, holidays: Collection[str]) -> ClosedWindow | None:
    """Whether a node is closed for objects at a time; None for one that is open. `holidays` as `RuleSet` has them."""
    window = node.send_windows
    if window is None or window.holds(moment := datetime.fromtimestamp(now, zone), holidays):
        return None
    begin = window.next_begin(moment.replace(tzinfo=None), holidays)
    until = math.inf if begin is None else begin.replace(tzinfo=zone).timestamp()
    return ClosedWindow(until if until > now else now + 60.0, node.send_windows_stat)  # in an hour that is there twice
