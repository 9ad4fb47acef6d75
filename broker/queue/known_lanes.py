"""Reads the stored names of lanes, and passes over those of a kind that this version does not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from broker import telemetry
from broker.model.lane import Lane


def known_lanes(names: Sequence[str]) -> Iterator[Lane]:
    """The lanes with these stored names. One of an unknown kind is logged as a defect."""
    for name in names:
        try:
            yield Lane.parse(name)
        except ValueError as error:
            telemetry.logger().error("lane.defect", lane=name, error=telemetry.describe(error))
