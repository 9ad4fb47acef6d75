"""Cleans what people and programs give as a document or as a part of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from broker.errors import ConfigurationError


def without_null(value: Any) -> Any:
    """A document without keys that are null: they are left out, since TOML has no null."""
    if isinstance(value, Mapping):
        return {key: without_null(one) for key, one in value.items() if one is not None}
    return [without_null(one) for one in value] if isinstance(value, list) else value


def check_text(place: str, document: Any) -> None:
    """Refuse what no database holds: halves of surrogate pairs. Raises ConfigurationError that names the place."""
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, TypeError, ValueError):
        raise ConfigurationError(f"{place}: a text that is not Unicode, or a value that is no text or number") from None


def patched(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the changes of a JSON merge patch (RFC 7386): null removes a key, a table changes that below it."""
    made = dict(document)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping):
            below = made.get(key)
            made[key] = patched(below if isinstance(below, Mapping) else {}, value)
        else:
            made[key] = value
    return made
