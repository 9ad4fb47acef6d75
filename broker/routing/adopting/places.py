"""Says which folders may be looked at for files to adopt, and opens them without following links of others.

Files in the spool, in its `unclaimed/`, and in what a restore has set aside are the broker's own: they may be named
from anywhere, are linked into the spool and not copied, and go away once they are adopted. Whoever works on this
machine may name any other folder. Its files are copied, and stay.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from broker.errors import BadContent

SPOOL, UNCLAIMED, ASIDE = "spool", "unclaimed", "before-restore-"
OWN = frozenset({".spool-id", ".spool-id.part", "clock", "purge.lock"})  # in a spool folder, beside its objects
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class BadFolder(BadContent):
    """A folder that cannot be looked at. The text says why, and names nothing."""


@dataclass(frozen=True, slots=True)
class StrayPlace:
    """A folder with files that may be adopted: `root` and, below it, `parts` that are no links.

    `spool`: it is the spool itself, of which only the hour folders and `unclaimed/` count. `ours`: the broker made it.
    """

    root: Path
    parts: tuple[str, ...]
    spool: bool
    ours: bool

    @property
    def name(self) -> str:
        """As it is told."""
        return "/".join(self.parts) if self.ours else str(self.root)

    def open(self) -> int:
        """A descriptor of the folder. Raises BadFolder."""
        try:
            # the spool itself may be a link to another disk: its owner has set it up so
            return os.open(self.root / SPOOL, _FOLDER) if self.spool else below(self.root, self.parts)
        except OSError as error:
            raise BadFolder(f"the folder cannot be opened: {error.strerror}", code="adopt-folder") from None


def find(data: Path, folder: str, *, local: bool) -> StrayPlace:
    """The place that a caller means: empty for the spool, a path below the data folder, or (`local`) any other.

    Raises BadFolder.
    """
    data = data.resolve()
    try:
        if b"\0" in os.fsencode(folder):
            raise ValueError
    except ValueError:  # halves of surrogate pairs cannot be encoded
        raise BadFolder("no folder has such a name", code="adopt-folder") from None
    path = Path(folder)
    if path.is_absolute():
        path = Path(os.path.normpath(path))
        if not path.is_relative_to(data):
            if not local:
                raise BadFolder("only a folder below the data folder can be named here", code="adopt-folder")
            return _elsewhere(data, path)
        parts = path.relative_to(data).parts
    else:
        parts = tuple(folder.split("/")) if folder else (SPOOL,)
    if parts == (SPOOL,):
        return StrayPlace(data, parts, spool=True, ours=True)
    if any(part in ("", ".", "..") for part in parts) or not _is_ours(parts):
        if local and path.is_absolute():
            return _elsewhere(data, path)
        words = f"only {SPOOL}/{UNCLAIMED} and folders in {ASIDE}… can be named here"
        raise BadFolder(words, code="adopt-folder")
    return StrayPlace(data, parts, spool=False, ours=True)


def _is_ours(parts: tuple[str, ...]) -> bool:
    return bool(parts) and (parts[:2] == (SPOOL, UNCLAIMED) or parts[0].startswith(ASIDE))


def _elsewhere(data: Path, path: Path) -> StrayPlace:
    spool = (data / SPOOL).resolve()
    if spool.is_relative_to(path) or path.is_relative_to(spool):
        raise BadFolder("the spool of the broker is in that folder, or the folder is in it", code="adopt-folder")
    return StrayPlace(path, (), spool=False, ours=False)


def below(root: Path | int, parts: tuple[str, ...]) -> int:
    """A descriptor of a folder below another, in which no step is a link. Raises OSError."""
    descriptor = os.dup(root) if isinstance(root, int) else os.open(root, _FOLDER)
    for part in parts:
        try:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def set_aside(data: Path) -> list[str]:
    """The old spools that restores have set aside, as they are named here; those that are folders."""
    found = (path for path in data.glob(f"{ASIDE}*/{SPOOL}") if path.is_dir() and not path.is_symlink())
    return sorted(path.relative_to(data).as_posix() for path in found)
