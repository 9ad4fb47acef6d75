"""Makes a changed copy of a rules document by what a button says: `up:2`, `down:2`, `off:2`, `on:2`, `remove:2`.

Numbers are places, from 1. What a button says of a place that is not there changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changed(document: Mapping[str, Any], do: str) -> tuple[dict[str, Any], str]:
    """The changed document, and the query by which the page of the draft puts the focus on the same rule."""
    rules = list(document.get("rule", []))
    verb, _, text = do.partition(":")
    place = int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= place < len(rules):
        return dict(document), ""
    match verb:
        case "up" | "down":
            other = place + (1 if verb == "down" else -1)
            if not 0 <= other < len(rules):
                return dict(document), ""
            rules[place], rules[other] = rules[other], rules[place]
            place = other
        case "on":
            rules[place] = {key: value for key, value in rules[place].items() if key != "enabled"}
        case "off":
            rules[place] = {**rules[place], "enabled": False}
        case "remove":
            del rules[place]
            return {**document, "rule": rules}, ""
    return {**document, "rule": rules}, f"?at={place + 1}&do={verb}" if verb in ("up", "down", "on", "off") else ""
