"""Walks the files of a folder in the order of their names, from where the last part ended.

Links are not followed, and a folder of a million files needs the memory of some thousand names.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

WINDOW = 10_000  # names of a folder in memory
DEEPEST = 32  # folders in one another
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Steps = tuple[str, ...]  # the names of folders on the way to a file, and its own


class FoundFile(NamedTuple):
    """A file by the way to it, or what is in the way: a fault, and nothing behind it is looked at."""

    steps: Steps
    fault: str = ""


class _Name(NamedTuple):
    name: str
    folder: bool
    link: bool


def files_below(folder: int, after: Steps = (), steps: Steps = ()) -> Iterator[FoundFile]:
    """The files below an open folder, behind a place at which an earlier walk ended."""
    for name, is_folder, is_link in _names(folder, after[0] if after else ""):
        here, inner = (*steps, name), after[1:] if after and name == after[0] else ()
        if after and name == after[0] and not inner:
            continue  # it was looked at
        if is_link:
            yield FoundFile(here, "symlink")
        elif not is_folder:
            yield FoundFile(here)
        elif len(here) >= DEEPEST:
            yield FoundFile(here, "too-deep")
        else:
            try:
                opened = os.open(name, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError:
                yield FoundFile(here, "unreadable")
                continue
            try:
                yield from files_below(opened, inner, here)
            finally:
                os.close(opened)


def _names(folder: int, first: str) -> Iterator[_Name]:
    """The names in a folder from a first one on, in their order."""
    last = ""
    while True:
        with os.scandir(folder) as entries:
            names = (entry for entry in entries if entry.name >= first and entry.name > last)
            kinds = (_Name(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in names)
            window = heapq.nsmallest(WINDOW, kinds)
        yield from window
        if len(window) < WINDOW:
            return
        last = window[-1].name


def cursor(steps: Steps) -> str:
    """A place of a walk as text; names are bytes of any kind."""
    return "/".join(quote_from_bytes(os.fsencode(step), safe="") for step in steps)


def place_of(text: str) -> Steps:
    """The place that `cursor` has told. It is only compared with names, never opened."""
    given = text.encode("utf-8", "replace").split(b"/")
    return tuple(takewhile(bool, (os.fsdecode(unquote_to_bytes(step)) for step in given)))


def shown(steps: Steps) -> str:
    """The path of a file below the folder, for people: bytes that are no text as escapes."""
    return "/".join(os.fsencode(step).decode("utf-8", "backslashreplace") for step in steps)
