"""Turns a query into JSON that is kept, and back. Pure. A value that may be a patient's is kept as a keyed hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from broker.dicom.dataset.folding import fold_name
from broker.dicom.dataset.write import ElementSpec
from broker.wildcard import Wildcard, compile_wildcard
from broker.worklist.query.attributes import (
    LABEL,
    ONE_ITEM,
    START_DATE,
    START_TIME,
    STATIONS,
    STATUS,
    STEP_SEQUENCE,
    WORKLIST,
    WorklistAttribute,
)
from broker.worklist.query.date_ranges import Interval, stored_date, stored_time
from broker.worklist.query.keys import (
    ANY_CASE,
    EmptyKey,
    IntervalKey,
    Key,
    Query,
    SequenceKey,
    StartKey,
    TextKey,
    normalise,
)
from broker.worklist.query.matcher import NOTHING, Document, items, values
from broker.worklist.query.names import FuzzyKey, NameKey

PLAIN = frozenset(
    {
        STATIONS, START_DATE, START_TIME, STATUS, LABEL, "Modality", "ScheduledStationName",
        "ScheduledProcedureStepLocation", "RequestedProcedurePriority",
    }
)  # fmt: skip
FEW, SHORT = 16, 64  # values of a key that are kept, and their characters
HASHES = 4  # of a key


@dataclass(frozen=True, slots=True)
class Secret:
    """A key whose value is not kept. `exact`: it fits a step if, and only if, its value has one of the hashes."""

    keyword: str
    vr: str
    in_step: bool
    hashes: frozenset[str]
    exact: bool
    ascii: bool


@dataclass(frozen=True, slots=True)
class Recalled:
    """A kept query. `key` names the secret its hashes were made with."""

    query: Query
    secrets: tuple[Secret, ...]
    key: str


def fingerprint(secret: bytes) -> str:
    """Names a secret, and how names are folded, without telling it: hashes by another one cannot be compared."""
    return _hash(secret, "", "fingerprint: strokes of letters are left out")[:8]


def encode(query: Query, secret: bytes) -> dict[str, Any]:
    """A query for keeping."""
    plain: list[Any] = []
    secrets: list[Any] = []
    for key in query.keys:
        if isinstance(key, SequenceKey) and key.keyword == STEP_SEQUENCE:
            step = [part for part in key.keys if _is_plain(part)]
            secrets += [_secret(part, secret, in_step=True) for part in key.keys if not _is_plain(part)]
            if step:
                plain.append(["sequence", STEP_SEQUENCE, [_plain(part) for part in step]])
        elif _is_plain(key):
            plain.append(_plain(key))
        else:
            secrets.append(_secret(key, secret, in_step=False))
    return {
        "keys": plain,
        "secrets": secrets,
        "named": list(query.named)[:64],
        "status": query.asks_status,
        "supported": query.supported,
        "charset": [term[:SHORT] for term in query.charset[:8]],
        "key": fingerprint(secret) if secrets else "",
        "offset": query.offset,
        "returned": _tags(query.return_keys),
    }


def decode(asked: dict[str, Any]) -> Recalled:
    """A kept query."""
    query = Query(
        keys=tuple(_key(part) for part in asked["keys"]),
        charset=tuple(asked["charset"]),
        supported=asked["supported"],
        asks_status=asked["status"],
        named=tuple(asked["named"]),
        offset=asked.get("offset"),
        return_keys=_specs(asked.get("returned") or (), WORKLIST),
    )
    secrets = tuple(
        Secret(k, vr, step, frozenset(h), exact, plain) for k, vr, step, h, exact, plain in asked["secrets"]
    )
    return Recalled(query, secrets, asked["key"])


def summary(asked: dict[str, Any] | None) -> dict[str, str] | None:
    """What a kept query asks for, by keyword; None for one that could not be read."""
    if asked is None:
        return None
    return keys(decode(asked))


def keys(recalled: Recalled) -> dict[str, str]:
    """What a query asks for, by keyword."""
    by_keyword: dict[str, str] = {}
    for key in recalled.query.keys:
        for inner in key.keys if isinstance(key, SequenceKey) else (key,):
            by_keyword[START_DATE if isinstance(inner, StartKey) else inner.keyword] = words(inner)
    return by_keyword | {hidden.keyword: "(not kept)" for hidden in recalled.secrets}


def shape(asked: dict[str, Any] | None) -> str:
    """What queries for one patient after the other have in common."""
    if asked is None:
        return ""
    return json.dumps([asked["keys"], [hidden[:3] for hidden in asked["secrets"]]])


def meaning(asked: dict[str, Any] | None) -> object:
    """What tells a kept query from others: all but the attributes that it asks for in return."""
    return None if asked is None else {name: part for name, part in asked.items() if name != "returned"}


def fits(document: Document, hidden: Secret, secret: bytes, *, any_case: bool = False) -> bool | None:
    """Whether a key that is not kept matches; None where that cannot be told any more.

    `any_case`: the device is served without regard to the case of codes.
    """
    levels = items(document, STEP_SEQUENCE) if hidden.in_step else [document]
    texts = {text for level in levels for text in _stored(level, hidden)}
    folded = any_case and hidden.vr in ANY_CASE
    if folded:  # the letters that were asked for are not known: all small or all capital ones are the usual ones
        texts |= {text.lower() for text in texts} | {text.upper() for text in texts}
    empty = not any(text.strip(NOTHING) for text in texts)
    if {_hash(secret, hidden.keyword, text) for text in (*texts, *([""] if empty else []))} & hidden.hashes:
        return True
    return False if (hidden.exact and not folded) or not texts else None


def words(key: Key) -> str:
    """What a kept key asks for, in words."""
    if isinstance(key, TextKey):
        return " or ".join(sorted([*key.exact, *map(text_of, key.patterns)]))
    if isinstance(key, IntervalKey):
        return " or ".join(_interval(interval) for interval in key.intervals)
    if isinstance(key, StartKey):
        return _interval(key.interval)
    if isinstance(key, EmptyKey):
        return "nothing" + (f" or {words(key.otherwise)}" if key.otherwise is not None else "")
    return "a value"


def text_of(pattern: Wildcard) -> str:
    """The text of a compiled pattern."""
    out = []
    for position in range(pattern.fewest + 1):
        bit = 1 << position
        out.append("*" if pattern.loops & bit else "")
        if position < pattern.fewest:
            taken = (char for char, bits in pattern.accepts.items() if bits & bit)
            out.append("?" if pattern.any_character & bit else next(taken))
    return "".join(out)


def _interval(interval: Interval) -> str:
    low, high = _moment(interval.low), _moment(interval.high)
    return low if low == high else f"{low}-{high}"


def _moment(text: str | None) -> str:
    """A date, time or both without a fraction of nought or of the last moment of a second."""
    if text and len(text) in (12, 20) and text[-6:] in ("000000", "999999"):
        return text[:-6]
    return text or ""


def _stored(level: Document, hidden: Secret) -> Iterable[str]:
    for value in values(level, hidden.keyword):
        if hidden.vr == "PN":
            yield from fold_name(value).split("=")
        elif hidden.vr in ("DA", "TM"):
            yield stored_date(value) if hidden.vr == "DA" else stored_time(value)
        else:
            yield normalise(hidden.vr, value)


def _is_plain(key: Key) -> bool:
    if isinstance(key, StartKey):
        return True
    if isinstance(key, IntervalKey):
        return key.keyword in PLAIN and len(key.intervals) <= FEW
    if not isinstance(key, TextKey) or key.keyword not in PLAIN or len(key.exact) + len(key.patterns) > FEW:
        return False
    return all(len(text) <= SHORT for text in (*key.exact, *map(text_of, key.patterns)))


def _plain(key: Key) -> list[Any]:
    if isinstance(key, TextKey):
        return ["text", key.keyword, key.vr, sorted(key.exact), [text_of(pattern) for pattern in key.patterns]]
    if isinstance(key, IntervalKey):
        return [
            "span",
            key.keyword,
            key.vr,
            [[interval.low, interval.high, interval.single] for interval in key.intervals],
        ]
    assert isinstance(key, StartKey)
    return ["start", key.interval.low, key.interval.high]


def _key(kept: list[Any]) -> Key:
    kind, *rest = kept
    if kind == "sequence":
        return SequenceKey(rest[0], tuple(_key(part) for part in rest[1]))
    if kind == "text":
        return TextKey(rest[0], rest[1], frozenset(rest[2]), tuple(compile_wildcard(text) for text in rest[3]))
    if kind == "span":
        return IntervalKey(rest[0], rest[1], tuple(Interval(*ends) for ends in rest[2]))
    return StartKey(Interval(rest[0], rest[1]))


def _tags(specs: Iterable[ElementSpec]) -> list[Any]:
    """The attributes asked for in return, as far as we have them: tag, whether without a value too, items."""
    return [
        [f"{spec.tag:08X}", int(spec.optional), *([_tags(spec.children)] if spec.children else [])]
        for spec in specs
        if spec.keyword
    ]


def _specs(kept: Iterable[list[Any]], table: Mapping[int, WorklistAttribute]) -> tuple[ElementSpec, ...]:
    """The attributes asked for in return; empty for a query that an earlier version kept."""
    found = []
    for tag, optional, *children in kept:
        attribute = table.get(int(tag, 16))
        if attribute is not None:
            found.append(
                ElementSpec(
                    tag=attribute.tag,
                    vr=attribute.vr,
                    keyword=attribute.keyword,
                    children=_specs(children[0], attribute.children) if children else (),
                    one_item=attribute.keyword in ONE_ITEM,
                    optional=bool(optional),
                )
            )
    return tuple(found)


def _secret(key: Key, secret: bytes, *, in_step: bool) -> list[Any]:
    keyword, vr = getattr(key, "keyword", ""), getattr(key, "vr", "")
    asked: list[str] = []
    exact = True
    if isinstance(key, NameKey):
        vr = "PN"
        for name in key.names:
            group = name[0] if len(name) == 1 else None
            exact = exact and group is not None and group.literal
            asked += [group.prefix] if group is not None and group.literal else []
    elif isinstance(key, TextKey):
        asked, exact = nsmallest(HASHES + 1, key.exact), not key.patterns and not key.any_case
    elif isinstance(key, IntervalKey):
        asked = [
            interval.low for interval in key.intervals if interval.low is not None and interval.low == interval.high
        ]
        exact = len(asked) == len(key.intervals)
    elif isinstance(key, EmptyKey):  # no value has a hash as well
        rest = _secret(key.otherwise, secret, in_step=in_step) if key.otherwise is not None else None
        _, vr, _, hashes, exact, plain = rest or [keyword, "", in_step, [], True, True]
        return [keyword, vr, in_step, [_hash(secret, keyword, ""), *hashes], exact, plain]
    else:  # several conditions on one item, likeness
        vr = "PN" if isinstance(key, FuzzyKey) else vr
        exact = False
    hashes = [_hash(secret, keyword, text) for text in asked[:HASHES]]
    return [keyword, vr, in_step, hashes, exact and len(asked) <= HASHES, all(text.isascii() for text in asked)]


def _hash(secret: bytes, keyword: str, text: str) -> str:
    data = f"{keyword}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2s(data, key=secret[:32], digest_size=10, person=b"querymem").hexdigest()
