"""Every text of the pages is translated, no translation is left over, and each fills the same places."""

from __future__ import annotations

import re
from collections import defaultdict

from support.words import shown, translated

from broker.admin.web.words import LOCALES

FOREIGN = [code for code in LOCALES if code != "en"]


def test_every_text_is_translated_and_none_is_left_over() -> None:
    texts = shown()
    for language in FOREIGN:
        known = {entry.id if isinstance(entry.id, str) else entry.id[0] for _, entry in translated(language)}
        assert {text: places for text, places in texts.items() if text not in known} == {}
        assert sorted(known - texts.keys()) == []


def test_translations_are_whole() -> None:
    """None is empty or marked as uncertain, none loses a value, and none is told in two ways."""
    for language in FOREIGN:
        said = defaultdict(set)
        for path, entry in translated(language):
            ids = entry.id if isinstance(entry.id, tuple) else (entry.id,)
            texts = entry.string if isinstance(entry.string, tuple) else (entry.string,)
            place = f"{path.name}: {ids[0]}"
            assert all(texts), place
            assert not entry.fuzzy, place
            assert len(texts) == len(ids), place
            assert {_places(text) for text in texts} <= {_places(text) for text in ids}, place
            said[ids].add(texts)
        assert {text: ways for text, ways in said.items() if len(ways) > 1} == {}


def _places(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"%\(\w+\)s", text))
