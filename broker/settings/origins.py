"""Tells people each key in force with its source: a default, the file, or a variable. Secrets are masked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

MASK = "********"  # as in versions of documents
_PREFIX, _DELIMITER = "broker_", "__"  # of variables, as `Settings` reads them
_SECRET = re.compile(r"token|secret|password|passphrase|^headers$")
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@]*(?=@)|(?<=password=)[^&]+")  # in the URL of a database


class KeySource(StrEnum):
    """Where a value comes from; the environment wins over the file, the file over the default."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveKey:
    """A key like `web.port` with its value as text, and what it means, in English."""

    key: str
    value: str
    source: KeySource
    meaning: str


def sources(document: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, KeySource]:
    """The sources of all keys `section.key` that a file or a variable gives."""
    found = {f"{section}.{key}": KeySource.FILE for section, keys in document.items() for key in keys}
    for variable, value in environment.items():
        name = variable.lower()
        if name.startswith(_PREFIX):
            section, *keys = name.removeprefix(_PREFIX).split(_DELIMITER)
            found |= {f"{section}.{key}": KeySource.ENVIRONMENT for key in (keys[:1] or _keys(value))}
    return found


def _keys(text: str) -> list[str]:
    """The keys of a table that a variable gives as JSON; it was read already."""
    try:
        table = json.loads(text)
    except ValueError:  # a variable of another program
        return []
    return list(table) if isinstance(table, dict) else []


def effective(settings: BaseModel, given: Mapping[str, KeySource]) -> list[EffectiveKey]:
    """All keys in force, in the order of the sections. `given`: the sources of those that are no defaults."""
    found = []
    for section in type(settings).model_fields:
        table: BaseModel = getattr(settings, section)
        for key in type(table).model_fields:
            source = given.get(f"{section}.{key}", KeySource.DEFAULT)
            found += [
                EffectiveKey(key=path, value=value, source=source, meaning=meaning)
                for path, value, meaning in _flat(table, key, f"{section}.{key}")
            ]
    return found


def _flat(table: BaseModel, key: str, path: str) -> Iterator[tuple[str, str, str]]:
    """A key of a table, or the keys of the tables that it holds."""
    value = getattr(table, key)
    inner = value if isinstance(value, tuple) else (value,)
    if inner and all(isinstance(one, BaseModel) for one in inner):
        for number, one in enumerate(inner, 1):
            place = f"{path}[{number}]" if isinstance(value, tuple) else path
            for name in type(one).model_fields:
                yield from _flat(one, name, f"{place}.{name}")
    else:
        yield path, shown(key, value), type(table).model_fields[key].description or ""


def shown(key: str, value: Any) -> str:
    """A value for people; what is secret is masked, and only whether it is set is told."""
    if value is None or value in ("", (), {}):
        return ""
    if _SECRET.search(key):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return _PASSWORD.sub(lambda found: f"{found[1]}:{MASK}" if found[1] is not None else MASK, text)
