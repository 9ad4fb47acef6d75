"""Writes documents as TOML: lists of named tables, with nested tables below them. Python reads TOML but writes none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(document: Mapping[str, Any]) -> str:
    """A document as TOML text that `tomllib` reads as the same values."""
    return "\n".join(_table(document, ())).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Values first, then tables: what follows the head of a table belongs to it. TOML has no null: it is left out."""
    table = {key: value for key, value in table.items() if value is not None}
    tables = {key: value for key, value in table.items() if _is_tables(value) or (_is_table(value) and len(path) < 2)}
    for key, value in sorted(table.items(), key=lambda item: item[0] != "name"):  # the name says what the table is
        if key not in tables:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        name = ".".join(_key(part) for part in (*path, key))
        if isinstance(value, Mapping):
            yield from ("", f"[{name}]", *_table(value, (*path, key)))
        else:
            for one in value:
                yield from ("", f"[[{name}]]", *_table(one, (*path, key)))


def _is_table(value: Any) -> bool:
    """Worth a head of its own: conditions stay in one line."""
    return isinstance(value, Mapping) and not {"all", "any", "not", "field"} & value.keys()


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_table(one) for one in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        inside = ", ".join(_value(one) for one in value)
        long = len(inside) > 100 and all(isinstance(one, Mapping) for one in value)
        return "[\n" + "".join(f"  {_value(one)},\n" for one in value) + "]" if long else f"[{inside}]"
    return repr(value)
