"""Values cut to what a device can take. Which attributes may be: `site.device.CUTTABLE`."""

from __future__ import annotations

import unicodedata


def cut(vr: str, value: str, length: int) -> str:
    """At most `length` characters, of a person name (VR PN) in each component group; no letter loses its mark."""
    if vr == "PN":
        return "=".join(_cut(group, length).rstrip("^ ") for group in value.split("="))
    return _cut(value, length).rstrip(" ")


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    while length and unicodedata.combining(text[length]):
        length -= 1
    return text[:length]
