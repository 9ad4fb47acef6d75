"""Reads mapping profiles as documents, and merges what they extend; `parsing` gives them their meaning.

`extends` names the profile that a document completes: tables are merged key by key, lists replaced, its rules
stand before those of the other; senders and examples are its own, and whether it is a sample. One that extends its own
name extends the built-in profile of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from broker.errors import ConfigurationError
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.settings.toml_text import NotToml, parse_toml

ProfileDocument = Mapping[str, Any]
Texts = Mapping[str, tuple[int, str]]  # by name: version and TOML text
MAX_DEPTH = 8
MAX_TEXT = 1024 * 1024  # characters of a profile
_OWN = frozenset({"senders", "example", "description", "extends", "sample"})  # never taken from what is extended
_RULES = frozenset({"station", "ignore"})


class NoToml(ProfileMistake):
    """The text of a profile is no TOML; the words say on which line."""


def read(text: str, place: str) -> dict[str, Any]:
    """The document of a TOML text. Raises ConfigurationError that begins with `place`."""
    if len(text) > MAX_TEXT:
        raise ProfileMistake(place, "", f"longer than {MAX_TEXT} characters")
    try:
        document = parse_toml(text)
    except NotToml as error:
        raise NoToml(place, "", f"not valid TOML: {error}") from None
    name = document.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not all(c.isascii() and _plain(c) for c in name):
        raise ProfileMistake(place, "name", "up to 64 letters, digits, - and _ are needed")
    if not isinstance(document.get("sample", False), bool):
        raise ProfileMistake(place, "sample", "true or false")
    return document


def _plain(character: str) -> bool:
    return character.isalnum() or character in "-_"


@cache
def built_in_texts() -> Mapping[str, str]:
    """The profiles that come with the broker, by name."""
    folder = resources.files("broker.orders.mapping")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in files}


@cache
def built_in_documents() -> Mapping[str, ProfileDocument]:
    """Documents of the profiles that come with the broker, by name."""
    return {name: read(text, f"built-in {name}.toml") for name, text in built_in_texts().items()}


def resolved(name: str, documents: Mapping[str, ProfileDocument]) -> ProfileDocument:
    """A document with everything it extends merged in; `documents` hide built-in ones of the same name.

    Raises ConfigurationError for an unknown name and for a circle.
    """
    document = documents.get(name) or built_in_documents().get(name)
    if document is None:
        raise ConfigurationError(f"mapping profile {name!r}: no such profile")
    chain = [document]
    seen = {name}
    while (base := chain[-1].get("extends")) is not None:
        below = built_in_documents().get(base) if base == chain[-1]["name"] else None
        if below is None and isinstance(base, str) and base not in seen:
            below = documents.get(base) or built_in_documents().get(base)
        if below is None or any(below is other for other in chain) or len(chain) > MAX_DEPTH:
            raise ProfileMistake(place_of(name), "extends", "no such profile, or a circle")
        seen.add(base)
        chain.append(below)
    result: ProfileDocument = chain[-1]
    for own in reversed(chain[:-1]):
        result = merged(result, own)
    return {key: value for key, value in result.items() if key != "extends"}


def merged(base: ProfileDocument, own: ProfileDocument) -> ProfileDocument:
    """A document that completes another one."""
    result = {key: value for key, value in base.items() if key not in _OWN}
    for key, value in own.items():
        old = result.get(key)
        if key in _RULES and isinstance(old, list) and isinstance(value, list):
            result[key] = [*value, *old]
        else:
            result[key] = _joined(old, value)
        if key == "values" and isinstance(value, Mapping):  # of equal patterns the profile's own come first
            result[key] = {keyword: _led(table, value.get(keyword)) for keyword, table in result[key].items()}
    return result


def _led(table: Any, own: Any) -> Any:
    """A table whose own entries stand in front."""
    both = isinstance(table, Mapping) and isinstance(own, Mapping)
    return {**{key: table[key] for key in own}, **table} if both else table


def _joined(old: Any, new: Any) -> Any:
    """Tables with tables in them, key by key; anything else is replaced."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: _joined(old.get(key), value) for key, value in new.items()}}
