"""Chooses the station of a step by the rules of a mapping, when the order names none or is not believed.

The first rule whose conditions all hold decides. A condition names a DICOM keyword of the order as mapped, a path of
the message, or `sender` (`application|facility`). In a message that need not be complete an absent value is unknown,
not empty: a rule that would need it ends the search, so that a change of the time alone moves no step elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from broker.hl7.message import Segments
from broker.hl7.paths import Path, path
from broker.model.order import Document
from broker.orders.mapping import data_types
from broker.wildcard import Wildcard, compile_wildcard

MAX_RULES = 1000
STATION, STATION_NAME, LOCATION = "ScheduledStationAETitle", "ScheduledStationName", "ScheduledProcedureStepLocation"
_KEYS = {"when", "ae_title", "station_name", "location", "trust_message"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One test: the value at `name` fits one of the patterns (any case)."""

    name: str
    path: Path | None
    patterns: tuple[Wildcard, ...]

    def holds(self, known: Document, view: Segments, *, complete: bool) -> bool | None:
        """True, False, or None for a value that an incomplete message leaves out."""
        values = self._values(known, view)
        if not values and not complete:
            return None
        return any(pattern.matches(value.casefold()) for pattern in self.patterns for value in values or [""])

    def _values(self, known: Document, view: Segments) -> list[str]:
        if self.name == "sender":
            return [f"{view.get('MSH-3.1').strip()}|{view.get('MSH-4.1').strip()}"]
        if self.path is not None:
            return [text] if (text := view.get(self.path).strip()) else []
        value = known.get(self.name)
        items = value if isinstance(value, list) else [value]
        return [str(code(item) if isinstance(item, dict) else item) for item in items if item not in (None, "")]


def code(item: Document) -> str:
    """Code of an item of a code sequence, empty for other items."""
    return str(item.get("CodeValue") or item.get("LongCodeValue") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StationRule:
    """Says where a step goes that fits. `trust_message`: a station in the message wins over this rule."""

    number: int  # from 1, as written
    when: tuple[Condition, ...]
    ae_titles: tuple[str, ...]
    station_name: str
    location: str
    trust_message: bool

    def values(self) -> Document:
        """What it gives, by keyword. With a station its name and place are empty, not those of the one before."""
        given = {STATION: list(self.ae_titles), STATION_NAME: self.station_name, LOCATION: self.location}
        return {keyword: value for keyword, value in given.items() if value or (self.ae_titles and keyword != STATION)}


def choose(rules: Sequence[StationRule], known: Document, view: Segments, *, complete: bool) -> StationRule | None:
    """The rule that decides for a step: `known` are the attributes of its order and its own."""
    for rule in rules:
        results = [condition.holds(known, view, complete=complete) for condition in rule.when]
        if all(results):
            return rule
        if None in results and False not in results:
            return None
    return None


def assigned(step: Document, rule: StationRule, defaults: Document) -> Document:
    """Attributes of a step under a rule: as they are where the message is trusted and names a station."""
    if rule.trust_message and step.get(STATION):
        return step
    given = {keyword: value for keyword, value in rule.values().items() if value or keyword not in defaults}
    if rule.trust_message:
        return {**given, **{keyword: value for keyword, value in step.items() if value not in ("", [])}}
    kept = {keyword: value for keyword, value in step.items() if keyword != STATION}
    return {**given, **kept, **{keyword: value for keyword, value in given.items() if value}}


def parse_rules(tables: Any) -> tuple[StationRule, ...]:
    """Validate `[[station]]`. Raises ValueError that begins with the number of the rule and the key."""
    if not isinstance(tables, list) or len(tables) > MAX_RULES:
        raise ValueError(f"a list of at most {MAX_RULES} tables is needed")
    rules = []
    for number, table in enumerate(tables, 1):
        try:
            rules.append(_rule(number, table))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{number}: {error}") from None
    return tuple(rules)


def _rule(number: int, table: Mapping[str, Any]) -> StationRule:
    if unknown := set(table) - _KEYS:
        raise ValueError(f"unknown key {min(unknown)}")
    when = table.get("when", {})
    if not isinstance(when, Mapping):
        raise ValueError("when: a table is needed")
    trust = table.get("trust_message", True)
    if not isinstance(trust, bool):
        raise ValueError("trust_message: true or false")
    titles = table.get("ae_title", [])
    titles = titles if isinstance(titles, list) else [titles]
    rule = StationRule(
        number=number,
        when=tuple(_condition(name, patterns) for name, patterns in when.items()),
        ae_titles=tuple(dict.fromkeys(_value("ae_title", title, "AE") for title in titles)),
        station_name=_value("station_name", table.get("station_name", ""), "SH", empty=True),
        location=_value("location", table.get("location", ""), "SH", empty=True),
        trust_message=trust,
    )
    if not rule.values() and trust:
        raise ValueError("gives nothing: ae_title, station_name or location is needed")
    return rule


def _value(key: str, value: Any, vr: str, *, empty: bool = False) -> str:
    try:
        if isinstance(value, str) and (value.strip() or empty):
            return data_types.text(value, vr, exact=True)
    except ValueError:
        pass
    raise ValueError(f"{key}: a text that fits {vr} is needed")


def _condition(name: str, given: Any) -> Condition:
    patterns = given if isinstance(given, list) else [given]
    if not patterns or not all(isinstance(p, str) or type(p) is int for p in patterns):
        raise ValueError(f"when.{name}: a text, or a list of them")
    place = None
    if name != "sender" and tag_for_keyword(name) is None:
        try:
            place = path(name)
        except ValueError:
            raise ValueError(f"when.{name}: not a DICOM keyword, a path of an HL7 field or sender") from None
    return Condition(name, place, tuple(_pattern(name, str(pattern)) for pattern in patterns))


def _pattern(name: str, pattern: str) -> Wildcard:
    if len(pattern) > 200:
        raise ValueError(f"when.{name}: longer than 200 characters")
    return compile_wildcard(pattern.casefold())
