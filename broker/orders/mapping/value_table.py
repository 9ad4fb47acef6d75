"""Value tables of a profile: what a value of HL7 becomes.

An entry is a value (any case), a pattern with `*` and `?`, an expression of RE2 that begins with `re:` and must fit the
whole value (any case), or `*` for every other value. The value itself comes first, then the pattern with the most other
characters, then the expressions and at last `*`; of equals the first that is written, those of the profile before those
of the one it extends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import re2

from broker.wildcard import compile_wildcard, has_wildcard

OTHERS = "*"
EXPRESSION = "re:"
LONGEST = 200  # characters of a pattern
_Test = Callable[[str], bool]


class ValueTable(Mapping[str, str | int]):
    """Entries by the value of HL7 in capitals; expressions as they are written. Immutable."""

    def __init__(self, entries: Mapping[str, str | int]) -> None:
        """Raises ValueError that begins with an entry that is no usable pattern."""
        self._entries = {_key(entry): value for entry, value in entries.items()}
        globs = [key for key in self._entries if has_wildcard(key) and key != OTHERS and not _is_expression(key)]
        globs.sort(key=lambda key: sum(character not in "*?" for character in key), reverse=True)
        expressions = [key for key in self._entries if _is_expression(key)]
        self._tests = [(_glob(key), key) for key in globs] + [(_expression(key), key) for key in expressions]

    def __getitem__(self, key: str) -> str | int:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, text: str) -> str | int | None:
        """What a value becomes by an entry of its own or a pattern, None without any: then `*` decides."""
        key = text.upper()
        if key in self._entries and key != OTHERS:
            return self._entries[key]
        return next((self._entries[entry] for fits, entry in self._tests if fits(key)), None)


def _key(entry: str) -> str:
    return entry if _is_expression(entry) else entry.upper()


def _is_expression(entry: str) -> bool:
    return entry.startswith(EXPRESSION)


def _glob(entry: str) -> _Test:
    if len(entry) > LONGEST:
        raise ValueError(f"{entry[:20]}…: longer than {LONGEST} characters")
    return compile_wildcard(entry).matches


def _expression(entry: str) -> _Test:
    options = re2.Options()
    options.case_sensitive, options.log_errors = False, False
    if len(entry) > LONGEST:
        raise ValueError(f"{entry[:20]}…: longer than {LONGEST} characters")
    try:
        expression = re2.compile(entry.removeprefix(EXPRESSION), options)
    except re2.error:
        raise ValueError(f"{entry}: not an expression of RE2") from None
    return lambda text: expression.fullmatch(text) is not None
