"""Reads the table `completion` of a rule set: when series and studies are complete, and what late images do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from broker.dicom.dataset.folding import fold_text
from broker.errors import ConfigurationError
from broker.routing.rules.completion import (
    DAY,
    SERIES_USUAL,
    STUDY_USUAL,
    AtMost,
    CompletionPolicy,
    CompletionTable,
    LateImages,
    LatePolicy,
    RequiredSeries,
)
from broker.routing.rules.conditions import MAX_TEXT, a_list, keys
from broker.wildcard import Wildcard, compile_wildcard

MAX_ENTRIES, MAX_PATTERNS = 100, 50
SHORTEST, LONGEST = 1.0, 7 * DAY  # seconds
EXPECTED = {"series": ("mpps",), "study": ("mpps", "order")}
_LEVEL = {"quiet", "most", "at_most", "expected", "association_end"}
_Choice = TypeVar("_Choice", bound=StrEnum)


def parse_completion(table: Any, destinations: Collection[str]) -> CompletionTable:
    """The table as values. Raises ConfigurationError that names the key."""
    keys(table, {"series", "study", "required", "late"}, "completion")
    return CompletionTable(
        series=_policy(table.get("series", {}), "series", SERIES_USUAL),
        study=_policy(table.get("study", {}), "study", STUDY_USUAL),
        required=tuple(_required(entry) for entry in _entries(table, "required")),
        late=_late(_entries(table, "late"), destinations),
    )


def _entries(table: Mapping[str, Any], key: str) -> list[Any]:
    text = f"completion: {key}: a list of at most {MAX_ENTRIES} tables"
    entries = a_list(table.get(key, []), text)
    if len(entries) > MAX_ENTRIES:
        raise ConfigurationError(text)
    return list(entries)


def _policy(table: Any, level: str, usual: CompletionPolicy) -> CompletionPolicy:
    label = f"completion: {level}"
    keys(table, _LEVEL, label)
    quiet, most = (seconds(table.get(key, getattr(usual, key)), f"{label}: {key}") for key in ("quiet", "most"))
    if most < quiet:
        raise ConfigurationError(f"{label}: most: not less than quiet")
    allowed = EXPECTED[level]
    expected = a_list(table.get("expected", []), f"{label}: expected: a list of {', '.join(allowed)}")
    if not all(isinstance(one, str) and one in allowed for one in expected):
        raise ConfigurationError(f"{label}: expected: a list of {', '.join(allowed)}")
    ends = table.get("association_end", False)
    if not isinstance(ends, bool):
        raise ConfigurationError(f"{label}: association_end: true or false")
    return CompletionPolicy(
        quiet=quiet,
        most=most,
        at_most=_choice(AtMost, table.get("at_most", usual.at_most), f"{label}: at_most"),
        expected=frozenset(expected),
        association_end=ends,
    )


def seconds(value: Any, label: str) -> float:
    """A time that may be waited. Raises ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not SHORTEST <= value <= LONGEST:
        raise ConfigurationError(f"{label}: seconds from {SHORTEST:g} to {LONGEST:g}")
    return float(value)


def _choice(kind: type[_Choice], value: Any, label: str) -> _Choice:
    if not isinstance(value, str) or value not in tuple(kind):
        *most, last = tuple(kind)
        raise ConfigurationError(f"{label}: {', '.join(most)} or {last}")
    return kind(value)


def _required(table: Any) -> RequiredSeries:
    label = "completion: required"
    keys(table, {"modality", "study", "series", "modalities"}, label)
    series, modalities = (_texts(table.get(key, []), f"{label}: {key}") for key in ("series", "modalities"))
    if not series and not modalities:
        raise ConfigurationError(f"{label}: series: at least one pattern, or modalities")
    return RequiredSeries(
        modality=_pattern(table, "modality", label),
        study=_pattern(table, "study", label),
        series=tuple((text, compile_wildcard(fold_text(text))) for text in series),
        modalities=modalities,
    )


def _pattern(table: Mapping[str, Any], key: str, label: str) -> Wildcard | None:
    if key not in table:
        return None
    (text,) = _texts([table[key]], f"{label}: {key}")
    return compile_wildcard(fold_text(text))


def _texts(value: Any, label: str) -> tuple[str, ...]:
    text = f"{label}: at most {MAX_PATTERNS} texts of at most {MAX_TEXT} characters"
    values = a_list(value, text)
    if len(values) > MAX_PATTERNS or not all(isinstance(one, str) and 0 < len(one) <= MAX_TEXT for one in values):
        raise ConfigurationError(text)
    return tuple(values)


def _late(entries: list[Any], destinations: Collection[str]) -> dict[str, LatePolicy]:
    found: dict[str, LatePolicy] = {}
    for table in entries:
        keys(table, {"to", "send", "until"}, "completion: late")
        send = _choice(LateImages, table.get("send", LateImages.UPDATES), "completion: late: send")
        until = table.get("until")
        policy = LatePolicy(send=send, until=None if until is None else seconds(until, "completion: late: until"))
        nodes = a_list(table.get("to", []), "completion: late: to: a list of node names")
        if not nodes:
            raise ConfigurationError("completion: late: to: at least one destination")
        for node in nodes:
            if not isinstance(node, str) or node not in destinations:
                raise ConfigurationError(f"completion: late: to: unknown node {node!r} (or not a destination)")
            if node in found:
                raise ConfigurationError(f"completion: late: to: {node!r} is named twice")
            found[node] = policy
    return found
