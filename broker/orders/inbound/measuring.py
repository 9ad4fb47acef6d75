"""Reads measurements of the patient (weight, size) from OBX segments, and says why one cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from broker.hl7.message import DELETE, Segment
from broker.orders.mapping import data_types
from broker.orders.mapping.profile import Measure

_NUMBER = re.compile(r"\d{1,6}([.,]\d{1,6})?", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}[.,]\d{3}", re.ASCII)
_WITHDRAWN = frozenset({"D", "W", "X"})  # OBX-11 (table 0085): deleted, posted as wrong, no result
ANOTHER = "Only the first of several measurements is used"


@dataclass(frozen=True, slots=True)
class Measured:
    """A value as DS, empty if it is deleted, None if there is none; and where and why something was not used."""

    value: str | None = None
    doubts: tuple[tuple[str, str], ...] = ()


def measured(segments: Iterable[Segment], measure: Measure) -> Measured:
    """The first usable OBX of a measurement (HL7 2.5.1 §7.4.2)."""
    value: str | None = None
    doubts: list[tuple[str, str]] = []
    for segment in _of(segments, measure):
        text = segment.get(5).strip()
        if not text:
            continue
        try:
            found = "" if text == DELETE else _value(segment, measure)
        except data_types.Unusable as error:
            doubts.append((segment.at(5), f"Measurement cannot be used and is left out: {error}"))
            continue
        if value is None:
            value = found
        elif value != found:
            doubts.append((segment.at(5), ANOTHER))
    return Measured(value, tuple(doubts))


def _of(segments: Iterable[Segment], measure: Measure) -> Iterator[Segment]:
    for segment in segments:
        for code, text in ((1, 2), (4, 5)):  # of another coding system in 4 to 6
            if segment.get(3, code).strip() in measure.codes or segment.get(3, text).strip().lower() in measure.texts:
                yield segment
                break


def _value(segment: Segment, measure: Measure) -> str:
    if segment.get(11).strip().upper() in _WITHDRAWN:
        raise data_types.Unusable("its status says that it is withdrawn")
    unit = segment.get(6, 1).strip().lower()
    factor = measure.units.get(unit)
    if factor is None:
        raise data_types.Unusable("its unit is not in the mapping" if unit else "it has no unit")
    readings = {number * factor for number in _numbers(_text(segment))}
    likely = [reading for reading in readings if measure.limits[0] <= reading <= measure.limits[1] and reading]
    if not likely:
        raise data_types.Unusable("it is not plausible")
    if len(likely) > 1:
        raise data_types.Unusable("its separator may be one of decimals or of thousands")
    return data_types.decimal(likely[0])


def _text(segment: Segment) -> str:
    """The number of OBX-5, of a structured numeric (SN, HL7 2.5.1 §2.A.71) without a range or a limit."""
    first, number, *more = (segment.get(5, part).strip() for part in range(1, 5))
    if not number and not any(more):
        return first
    if first not in ("", "=") or any(more):
        raise data_types.Unusable("it is no single number")
    return number


def _numbers(text: str) -> list[float]:
    """What a number can mean: a point or a comma before three digits may be one of decimals or of thousands."""
    if not _NUMBER.fullmatch(text):
        raise data_types.Unusable("it is no number")
    found = [float(text.replace(",", "."))]
    if _THOUSANDS.fullmatch(text) and not text.startswith("0"):
        found.append(float(text.replace(",", "").replace(".", "")))
    return found
