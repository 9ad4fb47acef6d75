"""Finds the control socket of a data directory, and names its users; light, as every command imports it."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import ConfigurationError

NAME = "control.sock"
LONGEST = 103  # bytes of a path that every system takes for a socket (104 with its NUL on BSD, 108 on Linux)


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path of the socket in `folder` that is short enough for bind and connect, for as long as the context lasts.

    Raises ConfigurationError where a long path cannot be shortened, OSError without the folder.
    """
    path = str(folder / NAME)
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    if not sys.platform.startswith("linux"):
        raise ConfigurationError(f"service.data_dir: the path is too long for a socket: at most {LONGEST} bytes")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def user_name(uid: int) -> str:
    """Name of a user of this machine; the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
