"""Pages keep to the content security policy, and are light."""

from __future__ import annotations

import re
from pathlib import Path

from support.tree import BROKER

ADMIN = BROKER / "admin"
TEMPLATES = sorted((ADMIN / "templates").rglob("*.html"))
STATIC = sorted((ADMIN / "static").iterdir())
BUDGET = 100_000  # bytes of the first load: all static files and the page
PAGE = 40_000  # bytes of them for the page itself


def _found(paths: list[Path], pattern: str) -> list[str]:
    return [
        f"{path.relative_to(ADMIN)}: {match[0]}"
        for path in paths
        for match in re.finditer(pattern, path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]


def test_no_template_has_what_the_policy_forbids() -> None:
    assert TEMPLATES
    assert _found(TEMPLATES, r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle\s*=|\son[a-z]+=[\"']|javascript:") == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    """The namespace of SVG names a host, and is not loaded."""
    served = [path for path in TEMPLATES + STATIC if path.name != "swap.js"]
    assert [hit for hit in _found(served, r"(?:https?:)?//[\w.]+\.\w+[^\"\s]*") if "www.w3.org" not in hit] == []
    assert _found(STATIC, r"@import|url\((?!#)") == []


def test_nothing_turns_off_the_escaping_of_what_comes_from_outside() -> None:
    assert _found(TEMPLATES, r"\|\s*safe|autoescape\s+false") == []


def test_static_files_are_light() -> None:
    assert sum(path.stat().st_size for path in STATIC) <= BUDGET - PAGE


def test_every_symbol_is_used_and_every_used_one_is_drawn() -> None:
    drawn = set(re.findall(r'symbol id="([\w-]+)"', (ADMIN / "static" / "icons.svg").read_text(encoding="utf-8")))
    texts = [path.read_text(encoding="utf-8") for path in (*TEMPLATES, *ADMIN.rglob("*.py"))]
    words = {word for text in texts for word in re.findall(r'"([\w-]+)"', text)}
    assert drawn - words == set()
    asked = {word for text in texts for word in re.findall(r'\bicon(?:=|\()"([\w-]+)"', text)}
    assert asked - drawn == set()
