"""Finds the line on which a key or a table of a TOML text stands, so that a mistake is shown beside it.

It reads no values and checks nothing: the reader of TOML does. Of a text that is no TOML it finds what it can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]  # ("station", 2, "when", "Modality"): what stands in a list is counted from 1
MAX_DEPTH = 20  # of values in values; what is deeper is passed over
_TOKEN = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}'  # texts of several lines
    r'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|\n|[\[\]{}=,.]|[^\s\[\]{}=,.#"\']+|["\']',
    re.DOTALL,
)
_LINE = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int


def places_of(text: str) -> Mapping[KeyPath, int]:
    """The lines of all tables and keys of a text, counted from 1; of one that stands twice the first."""
    return _Places(text).found


def line_of(places: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of a path; of one that is not there that of the table around it, 0 if there is none either."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, 0)


def line_of_syntax(text: str, told: str) -> int:
    """The line that the reader of TOML names for what it cannot read; the last one for the end of the text."""
    found = _LINE.search(told)
    return int(found[1]) if found else len(text.rstrip("\n").split("\n"))


class _Places:
    """One reading of a text, from its first token to its last."""

    def __init__(self, text: str) -> None:
        self.found: dict[KeyPath, int] = {}
        self._lists: dict[KeyPath, int] = {}  # how many tables each list of tables has so far
        self._tokens = _tokens(text)
        self._token = next(self._tokens, None)
        table: KeyPath = ()
        while self._token is not None:
            if self._token.text == "[":
                table = self._header()
            elif self._token.text == "\n" or not self._statement(table, 0):
                self._next()

    def _next(self) -> None:
        self._token = next(self._tokens, None)

    def _at(self, *texts: str) -> bool:
        return self._token is not None and self._token.text in texts

    def _note(self, path: KeyPath, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def _header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins there."""
        line = self._token.line if self._token else 0
        self._next()
        is_list = self._at("[")
        if is_list:
            self._next()
        names = self._key()
        path: KeyPath = ()
        for name in names[:-1] if is_list else names:
            path = self._inside((*path, name))
        if is_list and names:
            whole = (*path, names[-1])
            self._lists[whole] = self._lists.get(whole, 0) + 1
            path = (*whole, self._lists[whole])
        self._note(path, line)
        while self._token is not None and self._token.text != "\n":
            self._next()
        return path

    def _inside(self, path: KeyPath) -> KeyPath:
        """A path; of a list of tables that of the last one, which is the one that is meant."""
        return (*path, self._lists[path]) if path in self._lists else path

    def _key(self) -> tuple[str, ...]:
        """The parts of a dotted key."""
        parts = []
        while self._token is not None and not self._at("=", "]", "[", "{", "}", ",", "\n"):
            if self._token.text != ".":
                parts.append(_bare(self._token.text))
            self._next()
        return tuple(parts)

    def _statement(self, table: KeyPath, depth: int) -> bool:
        """`key = value`; False if there is none."""
        line = self._token.line if self._token else 0
        key = self._key()
        if not key or not self._at("="):
            return False
        path = (*table, *key)
        self._note(path, line)
        self._next()
        self._value(path, depth)
        return True

    def _value(self, path: KeyPath, depth: int) -> None:
        if self._at("{") and depth < MAX_DEPTH:
            self._next()
            while self._token is not None and not self._at("}"):
                if not self._statement(path, depth + 1):
                    self._next()
            self._next()
        elif self._at("[") and depth < MAX_DEPTH:
            self._list(path, depth)
        else:
            self._pass_over()

    def _list(self, path: KeyPath, depth: int) -> None:
        self._next()
        number = 1
        while self._token is not None and not self._at("]"):
            if self._at("\n", ","):
                number += self._at(",")
                self._next()
            else:
                self._note((*path, number), self._token.line)
                self._value((*path, number), depth + 1)
        self._next()

    def _pass_over(self) -> None:
        """A plain value, or one that is too deep: up to what ends it."""
        depth = 0
        while self._token is not None and (depth or not self._at("\n", ",", "]", "}")):
            depth += self._at("[", "{") - self._at("]", "}")
            self._next()


def _tokens(text: str) -> Iterator[_Token]:
    line, before = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", before, found.start())
        before = found.start()
        if not found[0].startswith("#"):
            yield _Token(found[0], line)


def _bare(text: str) -> str:
    """A part of a key without its quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
