"""Negotiates what a device may ask for beyond the baseline: SOP Class Extended Negotiation (PS3.4 K.5, C.5.1.1).

One byte per option. The first two (relational queries, combined dates and times) ask for nothing here: there is
one level, and the combination is mandatory. The fifth (multi-frame conversion) has no meaning for a worklist.
Bytes 6 and 7 are those of later editions of the standard.
"""

from __future__ import annotations

from dataclasses import dataclass

_FUZZY, _TIMEZONE, _EMPTY, _MULTIPLE = 2, 3, 5, 6
OPTIONS = (  # of each byte: what it asks for, and whether that is served
    ("Relational queries", True),
    ("Combined matching of dates and times", True),
    ("Fuzzy semantic matching of person names", True),
    ("Adjustment to the time zone of the query", True),
    ("Conversion of multi-frame images", False),
    ("Matching of empty values", True),
    ("Matching of several values", True),
)
_SUPPORTED = frozenset(place for place, (_, served) in enumerate(OPTIONS) if served)
_LONGEST = len(OPTIONS)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed on for one association; without negotiation nothing."""

    fuzzy_names: bool = False
    timezone: bool = False
    empty_values: bool = False
    multiple_values: bool = False


BASELINE = Agreed()


def negotiate(sop_class: str, information: bytes) -> bytes | None:
    """The answer to the application information of an A-ASSOCIATE-RQ; None, not negotiated, below three bytes.

    As many bytes as were offered, seven at most: 1 for what both sides support. The first two are always 1.
    """
    if len(information) < 3:
        return None
    offered = information[:_LONGEST]
    return bytes((i in (0, 1)) or (i in _SUPPORTED and offered[i] == 1) for i in range(len(offered)))


def agreed(information: bytes | None) -> Agreed:
    """What follows from the application information that the device sent; None if it sent none."""
    answer = negotiate("", information) if information else None
    if answer is None:
        return BASELINE
    options = answer.ljust(_LONGEST, b"\0")
    return Agreed(*(bool(options[i]) for i in (_FUZZY, _TIMEZONE, _EMPTY, _MULTIPLE)))
