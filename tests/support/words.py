"""Collects the texts that pages show, and the catalogues that translate them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from support.tree import BROKER

ADMIN = BROKER / "admin"
# a sentence's plural is its third argument, or named `many`
_PYTHON = {"Sentence": (1,), "gettext": (1,), "counted": (1, 2)}
_TEMPLATE = {"_": None, "gettext": None, "ngettext": (1, 2)}


def shown() -> dict[str, list[str]]:
    """Every text by its places: of `_()` in templates, and of sentences in Python."""
    found: dict[str, list[str]] = {}
    for path in sorted(BROKER.rglob("*.py")):
        if path.parts[-2] != "migrations":
            _collect(found, path, "python", _PYTHON)
    for path in sorted((ADMIN / "templates").rglob("*.html")):
        _collect(found, path, "jinja2.ext:babel_extract", _TEMPLATE)
    return found


def _collect(found: dict[str, list[str]], path: Path, method: str, keywords: dict[str, tuple[int, ...] | None]) -> None:
    options = {"silent": "false", "trimmed": "true", "newstyle_gettext": "true"}
    with path.open("rb") as file:
        for line, text, _, _ in extract(method, file, keywords=keywords, options=options):
            key = text if isinstance(text, str) else text[0]
            found.setdefault(key, []).append(f"{path.relative_to(BROKER)}:{line}")


def translated(language: str) -> Iterator[tuple[Path, Message]]:
    """Every entry of the catalogues of a language, with its file."""
    for path in sorted((ADMIN / "locale" / language).glob("*.po")):
        with path.open("rb") as file:
            yield from ((path, entry) for entry in read_po(file, locale=language) if entry.id)
