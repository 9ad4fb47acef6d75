"""Reads JSON that means one thing, in time that grows with its length alone."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from broker.admin.problems import Problem

DEPTH = 20  # of nested lists and objects
NO_NUL = "A text holds NUL"  # PostgreSQL stores none
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a surrogate pair, by which JSON writes a character beyond U+FFFF
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def check_json(body: bytes) -> None:
    """Refuse JSON in another encoding than UTF-8, and JSON nested too deep for its reader. Linear in the length.

    Raises Problem.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "JSON is UTF-8") from None
    if b"\0" in body:  # UTF-16 and UTF-32, which readers guess
        raise Problem(400, "JSON is UTF-8")
    brackets = _TEXTS.sub(b"", body).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(DEPTH):
        brackets = brackets.replace(b"()", b"")
    if b"()" in brackets or brackets.count(b"(") > DEPTH:  # those that are never closed are one in another too
        raise Problem(400, f"JSON is nested deeper than {DEPTH}")


def read_json(body: bytes) -> Any:
    """The value of JSON text that means one thing (RFC 8259, RFC 7493).

    Raises Problem: no JSON, a name twice in one object, a number that is none (NaN), half of a surrogate pair, NUL.
    """
    try:
        value = json.loads(body, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_number)
        if _HALF.search(body):
            json.dumps(value, ensure_ascii=False).encode()
        if b"\\u0000" in body and _has_nul(value):
            raise Problem(400, NO_NUL)
    except json.JSONDecodeError as error:
        raise Problem(400, f"The body is no JSON at character {error.pos}") from None
    except UnicodeEncodeError:
        raise Problem(400, "A text holds half of a surrogate pair") from None
    except ValueError:  # an integer of more digits than the interpreter reads
        raise Problem(400, "A number is too long") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem(400, "A name stands twice in one object")
    return found


def _has_nul(value: Any) -> bool:
    """A text or a name in a value holds NUL. Not deeper than DEPTH."""
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


def _no_number(text: str) -> NoReturn:
    raise Problem(400, "NaN and Infinity are no JSON")


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)
