"""Makes the tests of rules: how each operator compares the values of each kind of field.

Text is compared without case and accents, unless `exact`. A person name is compared by component groups, and what is
empty at its end means nothing (PS3.5 6.2.1). Dates, times and ages compare in time. Patterns are RE2: their cost is
linear in the text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any

import re2

from broker.dicom.dataset.folding import fold_name, fold_text, trim_name
from broker.routing.rules.fields import FieldKind
from broker.routing.rules.ruleset import Fact, How, Test, Value
from broker.site.times.week_window import window

PRESENCE = ("exists", "missing")
NEGATIVE = {"is_not": "is", "not_in": "in"}  # each is the contrary of another one
TEXT_OPERATORS = ("is", "is_not", "in", "not_in", "contains", "starts_with", "ends_with", "glob", "regex", *PRESENCE)
ORDER_OPERATORS = ("is", "is_not", "in", "not_in", "lt", "le", "gt", "ge", "between", *PRESENCE)
WINDOW_OPERATORS = ("is", "is_not")
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_AGE = re.compile(r"([0-9]{1,3})([DWMY])", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})[-.]?([0-9]{2})[-.]?([0-9]{2})")
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_DATETIME = re.compile(
    r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2})(?:[T ]?([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})"
    r"(?:\.([0-9]{1,6}))?)?)?)?)?)?(?:[+-][0-9]{4})?"
)


def operators_of(kind: FieldKind, values: How = "any") -> tuple[str, ...]:
    """The operators of a kind of field; those of a number for how many values it has."""
    if kind == FieldKind.WINDOW:
        return WINDOW_OPERATORS
    if values == "count" or kind not in (FieldKind.TEXT, FieldKind.NAME):
        return ORDER_OPERATORS
    return TEXT_OPERATORS


def make_test(
    field: str,
    kind: FieldKind,
    op: str,
    value: Value = "",
    *,
    values: How = "any",
    exact: bool = False,
    missing: bool | None = None,
    holidays: Collection[str] = (),
) -> Test:
    """A test that can be evaluated. Raises ValueError for a value that the operator cannot use; it says why."""
    kind = FieldKind.NUMBER if values == "count" else kind
    form = f"{kind} {'exact' if exact else 'folded'}"
    canonical: Callable[[Fact], Any] = partial(_CANONICAL[kind], exact=exact)
    if op == "regex":
        form, canonical = f"{form} spelt", partial(_spelt, exact=exact, groups=kind == FieldKind.NAME)
    return Test(
        field=field,
        op=op,
        value=value,
        values=values,
        exact=exact,
        missing=missing,
        form=form,
        canonical=canonical,
        fits=_comparison(kind, NEGATIVE.get(op, op), value, canonical, holidays, exact=exact),
    )


def _comparison(
    kind: FieldKind,
    op: str,
    value: Value,
    canonical: Callable[[Fact], Any],
    holidays: Collection[str],
    *,
    exact: bool,
) -> Callable[[Any], bool]:
    if op in PRESENCE:
        return bool
    if kind == FieldKind.WINDOW:
        wanted_time = window(str(value))
        return lambda seen: wanted_time.holds(seen, holidays)
    if op == "regex":
        pattern = _compiled(str(value), exact=exact)
        return lambda spellings: any(pattern.search(text) is not None for text in spellings)
    if op == "glob":
        plain = _plain_glob(str(value), exact=exact)
        if plain is not None and kind == FieldKind.TEXT:
            return plain
        pattern = _compiled(_glob(str(value), exact=exact), exact=True)
        if kind == FieldKind.NAME:
            return lambda seen: any(pattern.search(text) is not None for text in _spellings(seen))
        return lambda seen: pattern.search(seen) is not None
    wanted = [_wanted(one, kind, canonical) for one in (value if isinstance(value, tuple) else (value,))]
    if kind == FieldKind.NAME:
        return _named(op, ["=".join(name) for name in wanted])
    return _plain(op, wanted)


def _wanted(value: Fact, kind: FieldKind, canonical: Callable[[Fact], Any]) -> Any:
    made = canonical(value)
    if made is None:
        raise ValueError(f"{value!r} is no {kind}")
    return made


def _plain(op: str, wanted: list[Any]) -> Callable[[Any], bool]:
    if op in _PARTS:
        return partial(_PARTS[op], wanted[0])
    if op in ("in", "is"):
        return frozenset(wanted).__contains__
    if op == "between":
        low, high = wanted
        if high < low:
            raise ValueError("the first value of between is the lower one")
        return lambda seen: bool(low <= seen <= high)
    return partial(_ORDER[op], wanted[0])


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda wanted, seen: bool(seen < wanted),
    "le": lambda wanted, seen: bool(seen <= wanted),
    "gt": lambda wanted, seen: bool(seen > wanted),
    "ge": lambda wanted, seen: bool(seen >= wanted),
}
_PARTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda wanted, seen: wanted in seen,
    "starts_with": lambda wanted, seen: seen.startswith(wanted),
    "ends_with": lambda wanted, seen: seen.endswith(wanted),
}


def _spellings(name: tuple[str, ...]) -> tuple[str, ...]:
    """A name as each of its component groups, and as all of them together."""
    return (*filter(None, name), "=".join(name)) if len(name) > 1 else name


def _named(op: str, wanted: list[str]) -> Callable[[tuple[str, ...]], bool]:
    """A name is what one of its component groups is, or what all of them together are."""
    if op in _PARTS:
        part = _PARTS[op]
        return lambda seen: any(part(wanted[0], text) for text in _spellings(seen))
    names = frozenset(wanted)
    return lambda seen: any(text in names for text in _spellings(seen))


def _compiled(pattern: str, *, exact: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = exact
    options.max_mem = 1 << 20  # bytes
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise ValueError("not a regular expression of RE2") from None


def _plain_glob(text: str, *, exact: bool) -> Callable[[str], bool] | None:
    """A pattern with `*` at its ends only, for which no regular expression is needed; None for any other."""
    inner = text.strip("*")
    if "*" in inner or "?" in inner or not inner:
        return None
    wanted = inner if exact else fold_text(inner)
    ends = (text.startswith("*"), text.endswith("*"))
    op = {(True, True): "contains", (False, True): "starts_with", (True, False): "ends_with"}.get(ends)
    return partial(_PARTS[op], wanted) if op else partial(operator.eq, wanted)


def _glob(text: str, *, exact: bool) -> str:
    """A pattern with `*` and `?` as a regular expression of RE2."""
    parts = (part if exact or part in "*?" else fold_text(part) for part in re.split(r"([*?])", text))
    return "(?s)^(?:" + "".join(".*" if p == "*" else "." if p == "?" else re2.escape(p) for p in parts) + ")$"


# --- values that compare -----------------------------------------------------------------------------------


def _of_text(fact: Fact, *, exact: bool) -> str:
    if not isinstance(fact, str):
        raise TypeError("a number where text belongs")
    return fact if exact else fold_text(fact)


def _of_name(fact: Fact, *, exact: bool) -> tuple[str, ...]:
    if not isinstance(fact, str):
        raise TypeError("a number where text belongs")
    return tuple((trim_name(fact) if exact else fold_name(fact)).split("="))


def _spelt(fact: Fact, *, exact: bool, groups: bool) -> tuple[str, ...]:
    """Text as it is written, and folded: a regular expression may name an accent, or leave it out.

    `groups`: of a name each component group by itself too.
    """
    folded = _of_text(fact, exact=exact)
    texts = dict.fromkeys((str(fact), folded))
    if groups:
        texts |= dict.fromkeys(group for text in tuple(texts) for group in text.split("=") if group)
    return tuple(texts)


def _of_number(fact: Fact, *, exact: bool) -> float:
    if isinstance(fact, str):
        raise TypeError("text where a number belongs")
    return float(fact)


def _of_date(fact: Fact, *, exact: bool) -> str | None:
    match = _DATE.fullmatch(str(fact).strip())
    return "".join(match.groups()) if match else None


def _of_time(fact: Fact, *, exact: bool) -> str | None:
    match = _TIME.fullmatch(str(fact).strip())
    if not match:
        return None
    hour, minute, second, fraction = match.groups()
    return f"{hour}{minute or '00'}{second or '00'}.{(fraction or '').ljust(6, '0')}"


def _of_datetime(fact: Fact, *, exact: bool) -> str | None:
    """Without its offset from UTC: devices write the time of their clock."""
    match = _DATETIME.fullmatch(str(fact).strip())
    if not match:
        return None
    *parts, fraction = match.groups()
    whole = "".join(part or empty for part, empty in zip(parts, ("", "01", "01", "00", "00", "00"), strict=True))
    return f"{whole}.{(fraction or '').ljust(6, '0')}"


def _of_age(fact: Fact, *, exact: bool) -> float | None:
    """Days, by mean months and years."""
    if isinstance(fact, int | float):
        return float(fact) * _DAYS["Y"]
    match = _AGE.fullmatch(fact.strip())
    return int(match[1]) * _DAYS[match[2].upper()] if match else None


def _of_window(fact: Fact, *, exact: bool) -> datetime:
    return datetime.fromisoformat(str(fact))


_CANONICAL: dict[FieldKind, Callable[..., Any]] = {
    FieldKind.TEXT: _of_text,
    FieldKind.NAME: _of_name,
    FieldKind.NUMBER: _of_number,
    FieldKind.ITEMS: _of_number,
    FieldKind.DATE: _of_date,
    FieldKind.TIME: _of_time,
    FieldKind.DATETIME: _of_datetime,
    FieldKind.AGE: _of_age,
    FieldKind.WINDOW: _of_window,
}
