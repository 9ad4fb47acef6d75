"""Says what texts of a value representation look like (PS3.5 6.2): their length, and their form where it is fixed."""

from __future__ import annotations

import re

LENGTH = {
    "SH": 16, "LO": 64, "CS": 16, "ST": 1024, "LT": 10240, "AE": 16, "UI": 64, "UC": 4096, "UT": 65536, "DS": 16,
    "DT": 26,
}  # fmt: skip
LINES = frozenset({"LT", "ST", "UT"})  # may hold line breaks and backslashes
PATTERNS = {
    "CS": r"[A-Z0-9_ ]{1,16}",
    "AS": r"\d{3}[DWMY]",
    "IS": r"[+-]?\d{1,10}",
    "DS": r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?",
    "DT": r"\d{4}(\d\d(\d\d(\d\d(\d\d(\d\d(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?",
}
EXPECTED = {
    "CS": "capital letters, digits, _ and spaces are expected, at most 16",
    "AS": "an age is three digits and D, W, M or Y",
    "IS": "a whole number is expected",
    "DS": "a number is expected",
    "DT": "a time is YYYYMMDDHHMMSS and may be shorter",
}
_COMPILED = {vr: re.compile(pattern, re.ASCII) for vr, pattern in PATTERNS.items()}


def misfit(vr: str, text: str) -> str:
    """What is expected of a text that has not the form of its VR; empty if it has, or if the VR has no fixed form."""
    return EXPECTED[vr] if text and vr in _COMPILED and not _COMPILED[vr].fullmatch(text) else ""
