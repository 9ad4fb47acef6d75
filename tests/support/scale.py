"""Sizes of the long tests: small by default, as the catalogue has them with `BROKER_FULL=1`."""

from __future__ import annotations

import os
from typing import TypeVar

FULL = os.environ.get("BROKER_FULL") == "1"
T = TypeVar("T")


def scaled(usual: T, full: T) -> T:
    """A count, size or time: the usual one, or the full one of the catalogue."""
    return full if FULL else usual
