"""Defines the table `closing` of `[node.device]`: what ends the steps of a modality that does not say so by MPPS."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.settings.types import Hours

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.site.nodes import Node

Sign = Literal["images", "result", "time"]
Overdue = Literal["list", "discontinue"]


class Closing(BaseModel):
    """`closing` of a device. Its MPPS always counts; `by` lists what counts besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: tuple[Sign, ...] = Field(
        default=("result",),
        description='What ends steps besides MPPS. "images": images of the study. "result": a final result, if '
        'the mapping says so. "time": the clock.',
    )
    images_minimum: int = Field(default=1, ge=1, le=100_000, description="So many images of the study start the step.")
    images_quiet: float = Field(
        default=900, ge=1, le=7 * 86_400, description="So many seconds after the last image the step is completed."
    )
    after: float = Field(
        default=12, gt=0, le=87_600, description='With "time": so many hours after its start the step is over.'
    )
    unseen: Literal["completed", "no-show"] = Field(
        default="completed", description='With "time": how a step ends of which there is no image and no MPPS.'
    )
    no_show_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    expire_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    mpps_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    mpps_overdue: Overdue | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`."
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force for the steps of one device, or of none. Times in hours, 0 for never; quiet in seconds.

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
    """Which rules are in force for which station."""

    def __init__(self, nodes: Iterable[Node], default: Rules) -> None:
        """`default`: what `[worklist]` says."""
        self.default = default
        self._by_title: dict[str, Rules] = {}
        devices = [(n, _of(n, default)) for n in nodes if "modality" in n.roles and n.kind == "dicom"]
        for node, rules in devices:
            for title in _stations(node):
                self._by_title.setdefault(title, rules)
        for node, rules in devices:  # what it calls itself counts too, unless that is a station of another
            self._by_title.setdefault(node.ae_title, rules)

    def of(self, stations: Iterable[str]) -> Rules:
        """For a step on these stations: of the device of the first one that has one."""
        return next((self._by_title[title] for title in stations if title in self._by_title), self.default)

    def devices(self) -> Collection[Rules]:
        """Of each device, and of steps without one."""
        return {self.default, *self._by_title.values()}

    def without_results(self) -> frozenset[str]:
        """The stations whose steps no result ends."""
        return frozenset(title for title, rules in self._by_title.items() if not rules.result)


def closings_of(settings: Settings, nodes: Iterable[Node]) -> Closings:
    """The rules that `[worklist]` and the profiles of the nodes make together."""
    hours = settings.worklist
    default = Rules(
        no_show_after=hours.no_show_after,
        expire_after=hours.expire_after,
        mpps_after=hours.mpps_after,
        mpps_overdue=hours.mpps_overdue,
    )
    return Closings(nodes, default)


def _stations(node: Node) -> tuple[str, ...]:
    return (node.device.stations if node.device else ()) or (node.ae_title,)


def _of(node: Node, default: Rules) -> Rules:
    titles = frozenset((*_stations(node), node.ae_title))
    found = node.device.closing if node.device else None
    if found is None:
        return replace(default, titles=titles)
    return Rules(
        "images" in found.by,
        found.images_minimum,
        found.images_quiet,
        "result" in found.by,
        found.after if "time" in found.by else 0,
        found.unseen,
        _or(found.no_show_after, default.no_show_after),
        _or(found.expire_after, default.expire_after),
        _or(found.mpps_after, default.mpps_after),
        found.mpps_overdue or default.mpps_overdue,
        titles,
    )


def _or(own: float | None, default: float) -> float:
    return default if own is None else own
