"""Tells what a message says otherwise than a person did who changed the order by hand: the message is in force.

A value that the message does not speak of stays as the person typed it.
"""

from __future__ import annotations

from broker.model.order import Document, Order

MOST = 20  # attributes that are named
_PEOPLE = ("user:", "token:", "cli:", "api")  # how actors begin that change an order by hand
_STATION = "ScheduledStationAETitle"


def of_hand(before: Order | None, after: Order, actor: str) -> tuple[str, ...]:
    """The attributes that differ, if it was a person who wrote the order before this message; at most MOST."""
    if before is None or not actor.startswith("hl7:") or not before.written.by.startswith(_PEOPLE):
        return ()
    pairs = [(before.patient.attributes, after.patient.attributes), (before.attributes, after.attributes)]
    procedures = {one.row: one.attributes for one in before.procedures}
    pairs += [(procedures[one.row], one.attributes) for one in after.procedures if one.row in procedures]
    steps = {step.row: step for step in before.steps()}
    known = [(steps[step.row], step) for step in after.steps() if step.row in steps]
    pairs += [(old.attributes | _placed(old.stations), new.attributes | _placed(new.stations)) for old, new in known]
    names = (name for old, new in pairs for name in {**old, **new} if old.get(name) != new.get(name))
    return tuple(dict.fromkeys(names))[:MOST]


def _placed(stations: tuple[str, ...]) -> Document:
    return {_STATION: list(stations)}
