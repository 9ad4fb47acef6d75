"""Finds and reads whole files that a person names, as far as they may be long.

A size that is asked for before means nothing: a device has none and no end, and a file that somebody writes grows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MOST = 16 * 1024 * 1024  # bytes of a file of configuration


def read_whole(path: Path, most: int = MOST) -> bytes:
    """The bytes of a file. Raises OSError, with EFBIG for one of more than `most` bytes."""
    with open(path, "rb", buffering=0) as file:
        parts, left = [], most + 1
        while left and (part := file.read(min(left, 1024 * 1024))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise OSError(errno.EFBIG, f"more than {most} bytes", os.fspath(path))
    return b"".join(parts)


def read_text(path: Path, most: int = MOST) -> str:
    """The text of a file in UTF-8; a mark at its beginning, as some editors set it, is no part of it.

    Raises OSError, UnicodeDecodeError.
    """
    return read_whole(path, most).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def files_below(paths: Iterable[Path], missed: Callable[[str, str], None]) -> Iterator[str]:
    """Paths that are no folders, and all that is below those that are, in the order of names; no link to a folder.

    `missed` is told of a folder that cannot be read, and why.
    """

    def note(error: OSError) -> None:
        missed(str(error.filename), error.strerror or type(error).__name__)

    for path in paths:
        if not path.is_dir():
            yield str(path)
            continue
        for folder, folders, names in os.walk(path, onerror=note):
            folders.sort()
            for name in sorted(names):
                yield os.path.join(folder, name)
