"""Finds the rules by which steps end if their modality sends no MPPS, for each station of the site."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.site.nodes import Node

if TYPE_CHECKING:
    from broker.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingRules:
    """When the steps of one device end, or of none. Times in hours, 0 for never; quiet in seconds.

    `titles` are the AE titles of the device, `over_after` is 0 unless time counts.
    """

    images: bool = False
    images_minimum: int = 1
    images_quiet: float = 900
    result: bool = True
    over_after: float = 0
    unseen: str = "completed"
    no_show_after: float = 0
    expire_after: float = 0
    mpps_after: float = 0
    mpps_overdue: str = "list"
    titles: frozenset[str] = frozenset()

    @property
    def hours(self) -> tuple[float, ...]:
        """After how many hours from its start something may happen to a step."""
        return tuple(h for h in (self.over_after, self.no_show_after, self.expire_after) if h)


class Closings:
    """Finds the rules for a station among those of all devices."""

    def __init__(self, nodes: Iterable[Node], default: ClosingRules) -> None:
        """`default`: what `[worklist]` says."""
        self.default = default
        self._by_title: dict[str, ClosingRules] = {}
        devices = [(n, _of(n, default)) for n in nodes if "modality" in n.roles and n.kind == "dicom"]
        for node, rules in devices:
            for title in _stations(node):
                self._by_title.setdefault(title, rules)
        for node, rules in devices:  # what it calls itself counts too, unless that is a station of another
            self._by_title.setdefault(node.ae_title, rules)

    def of(self, stations: Iterable[str]) -> ClosingRules:
        """For a step on these stations: of the device of the first one that has one."""
        return next((self._by_title[title] for title in stations if title in self._by_title), self.default)

    def devices(self) -> Collection[ClosingRules]:
        """Of each device, and of steps without one."""
        return {self.default, *self._by_title.values()}

    def without_results(self) -> frozenset[str]:
        """The stations whose steps no result ends."""
        return frozenset(title for title, rules in self._by_title.items() if not rules.result)


def closings_of(settings: Settings, nodes: Iterable[Node]) -> Closings:
    """The rules that `[worklist]` and the profiles of the nodes make together."""
    hours = settings.worklist
    default = ClosingRules(
        no_show_after=hours.no_show_after,
        expire_after=hours.expire_after,
        mpps_after=hours.mpps_after,
        mpps_overdue=hours.mpps_overdue,
    )
    return Closings(nodes, default)


def _stations(node: Node) -> tuple[str, ...]:
    return (node.device.stations if node.device else ()) or (node.ae_title,)


def _of(node: Node, default: ClosingRules) -> ClosingRules:
    titles = frozenset((*_stations(node), node.ae_title))
    closing = node.device.closing if node.device else None
    if closing is None:
        return replace(default, titles=titles)
    return ClosingRules(
        images="images" in closing.by,
        images_minimum=closing.images_minimum,
        images_quiet=closing.images_quiet,
        result="result" in closing.by,
        over_after=closing.after if "time" in closing.by else 0,
        unseen=closing.unseen,
        no_show_after=_or(closing.no_show_after, default.no_show_after),
        expire_after=_or(closing.expire_after, default.expire_after),
        mpps_after=_or(closing.mpps_after, default.mpps_after),
        mpps_overdue=closing.mpps_overdue or default.mpps_overdue,
        titles=titles,
    )


def _or(own: float | None, default: float) -> float:
    return default if own is None else own
