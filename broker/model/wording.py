"""Sentences for people that can be translated: an English text with places for values, and the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence for people: English text with places like `%(name)s`, and the values that fill them.

    It is translated where it is shown. `many` is its plural, where it depends on the value `n`.
    """

    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    many: str = ""
