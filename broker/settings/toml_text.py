"""Reads TOML from outside. The reader of Python takes time that grows with the square of the parts of a dotted key.

A megabyte of `a.a.a…` would keep a processor busy for an hour, and no thread can be stopped.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

DOTS = 2000  # of one line, more than lists of UIDs have
_DIGITS = re.compile(r"[0-9A-Fa-f_]{1000}")  # one number is read by one call, which holds the interpreter


class NotToml(ValueError):
    """The text is no TOML, or more than a person writes; the message says where, without the text."""


def parse_toml(text: str) -> dict[str, Any]:
    """The document of a text. Raises NotToml."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > DOTS:
            raise NotToml(f"more than {DOTS} dots (at line {number})")
    if found := _DIGITS.search(text):
        raise NotToml(f"a number of more than 1000 digits (at line {text.count(chr(10), 0, found.start()) + 1})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotToml("nested too deeply") from None
    except ValueError as error:  # beside the reader's own: a number that Python does not convert
        raise NotToml(str(error)) from None
