"""Says which transfer syntaxes an object can be sent in: its own, and what the broker can make of it (PS3.5 10.1)."""

from __future__ import annotations

from broker.dicom import uids

_MADE = (uids.EXPLICIT_LE, uids.IMPLICIT_LE, uids.EXPLICIT_BE)  # the best first: explicit VR keeps private VRs
_NAMES = {
    uids.EXPLICIT_LE: "explicit-le",
    uids.IMPLICIT_LE: "implicit-le",
    uids.EXPLICIT_BE: "explicit-be",
    uids.DEFLATED: "deflated",
}


def instead_of(pair: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """What else an object of this SOP class and transfer syntax can be sent as, best first.

    Nothing for a compressed one. Implicit VR Little Endian is in it for each other one, as PS3.5 10.1 demands.
    """
    sop_class, syntax = pair
    return tuple((sop_class, other) for other in _MADE if other != syntax) if syntax in _NAMES else ()


def short_name(syntax: str) -> str:
    """A word for a syntax that is not compressed, for codes and labels of metrics; `other` for the rest."""
    return _NAMES.get(syntax, "other")
