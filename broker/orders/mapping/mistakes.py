"""Says what is wrong with a mapping profile, and by which key: one error for all that cannot be used."""

from __future__ import annotations

import re

from broker.errors import ConfigurationError
from broker.orders.mapping.lines import KeyPath

_NUMBERED = re.compile(r"(\w+) (\d{1,6})")  # `example 3`
_UNKNOWN = re.compile(r"unknown key (\S{1,100})")


class ProfileMistake(ConfigurationError):
    """A profile cannot be used. `place` names it, `key` is empty for what is wrong with its text as a whole."""

    def __init__(self, place: str, key: str, words: str) -> None:
        super().__init__(f"{place}: {key}: {words}" if key else f"{place}: {words}")
        self.place, self.key, self.words = place, key, words

    @property
    def path(self) -> KeyPath:
        """Where in the document: the key, and what `words` name below it (`3: when.Modality: …`)."""
        numbered = _NUMBERED.fullmatch(self.key)
        path: KeyPath = (numbered[1], int(numbered[2])) if numbered else _parts(self.key)
        *pieces, last = self.words.split(": ")
        for piece in pieces:
            path += (int(piece),) if piece.isascii() and piece.isdigit() and len(piece) < 7 else _parts(piece)
        unknown = _UNKNOWN.fullmatch(last)
        return (*path, unknown[1]) if unknown else path


def place_of(name: object) -> str:
    """How mistakes name a profile."""
    return f"mapping profile {name!r}" if isinstance(name, str) and name else "mapping profile"


def _parts(key: str) -> KeyPath:
    """The parts of a key. Only the first dot counts: others may be of an HL7 path."""
    return tuple(part for part in key.split(".", 1) if part)
