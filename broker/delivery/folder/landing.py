"""Puts a file into a folder as a whole or not at all, and says what an error of the file system means.

The order: write to a name in `.broker`, fsync; rename without replacing; fsync the folder of the file. New folders are
synced in theirs before. Nothing below the folder is reached through a symbolic link.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import BadContent, PeerFault

PARTS = ".broker"  # folder of files that are being written
OLD = 86_400.0  # seconds after which a file there is nobody's
BESIDE_MOST = 999
_SEEN_MOST = 10_000
_NOREPLACE = 1  # RENAME_NOREPLACE
_PIECE = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
# what is wrong with the name of one object; all else is wrong with the folder
_OF_OBJECT = {
    errno.ENAMETOOLONG: "folder-long-path",
    errno.ENOTDIR: "folder-name-taken",
    errno.ELOOP: "folder-name-taken",
    errno.EISDIR: "folder-name-taken",
    errno.EILSEQ: "folder-bad-name",
    errno.EINVAL: "folder-bad-name",
    errno.EFBIG: "folder-large",
}
_OF_FOLDER = {
    errno.ENOSPC: "folder-full",
    errno.EDQUOT: "folder-full",
    errno.EROFS: "folder-read-only",
    errno.EACCES: "folder-forbidden",
    errno.EPERM: "folder-forbidden",
    errno.ENOENT: "folder-gone",
}


class NoLanding(BadContent):
    """This object cannot be put there; others can."""

    code = "folder-other-bytes"


class Landing:
    """One folder into which files are put. Its methods block."""

    def __init__(self, root: Path, marker: str) -> None:
        """`marker`: must be in the folder, empty for none."""
        self._root, self._marker = root, marker
        self._swept = False
        self._seen: OrderedDict[tuple[str, ...], None] = OrderedDict()  # folders whose spelling was looked at

    def put(
        self, parts: tuple[str, ...], pieces: Iterable[bytes], existing: str, beat: Callable[[], object] = lambda: None
    ) -> str:
        """Put a file; a code of what became of it, empty for the usual. `beat` is called with each piece.

        Raises PeerFault for a fault of the folder, NoLanding for one of this object, and what the pieces raise.
        """
        with self._at_work() as (root, work):
            name = f"{uuid.uuid4().hex}.part"
            try:
                with _told():
                    self._write(work, name, pieces, beat)
                beat()
                with _told(of_object=True):
                    return self._land(root, work, name, parts, existing)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=work)

    @contextmanager
    def _at_work(self) -> Iterator[tuple[int, int]]:
        """Descriptors of the folder and of the one for files that are being written."""
        with _told(), contextlib.ExitStack() as stack:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
            if self._marker:
                os.stat(self._marker, dir_fd=root)
            work, _ = _entered(root, PARTS)
            stack.callback(os.close, work)
            if not self._swept:
                self._swept = True
                _sweep(work)
            kept = stack.pop_all()
        with kept:
            yield root, work

    def _write(self, work: int, name: str, pieces: Iterable[bytes], beat: Callable[[], object]) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640, dir_fd=work)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(file, view) :]
                beat()
            os.fsync(file)
        finally:
            os.close(file)

    def _land(self, root: int, work: int, name: str, parts: tuple[str, ...], existing: str) -> str:
        folder = os.dup(root)
        try:
            for depth, part in enumerate(parts[:-1], 1):
                below, made = _entered(folder, part)
                os.close(folder)
                folder = below
                if not made:
                    self._check_spelling(root, parts[:depth])
            code = _renamed(work, name, folder, parts[-1], existing)
            os.fsync(folder)
            return code
        finally:
            os.close(folder)

    def _check_spelling(self, root: int, path: tuple[str, ...]) -> None:
        """Refuse a folder that is there by a name of other case: the file system takes two names for one."""
        if path[-1].upper() == path[-1].lower():
            return
        if path in self._seen:
            self._seen.move_to_end(path)
            return
        folder = os.dup(root)
        try:
            for part in path[:-1]:
                below, _ = _entered(folder, part)
                os.close(folder)
                folder = below
            if path[-1] not in os.listdir(folder):
                raise NoLanding(code="folder-other-case")
        finally:
            os.close(folder)
        self._seen[path] = None
        if len(self._seen) > _SEEN_MOST:
            self._seen.popitem(last=False)


@contextmanager
def _told(*, of_object: bool = False) -> Iterator[None]:
    """Turn an error of the file system into PeerFault or NoLanding."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        if number == errno.EFBIG or (of_object and number in _OF_OBJECT):
            raise NoLanding(code=_OF_OBJECT[number]) from None
        code = _OF_FOLDER.get(number) or f"folder-{errno.errorcode.get(number, 'error')}"
        raise PeerFault("the folder cannot be written", code=code) from None


def _entered(folder: int, name: str) -> tuple[int, bool]:
    """A descriptor of a folder below another one, which is made if need be; whether it was made. Raises OSError."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder), False
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, 0o750, dir_fd=folder)
    except FileExistsError:  # another worker was faster
        return os.open(name, _FOLDER, dir_fd=folder), False
    os.fsync(folder)
    return os.open(name, _FOLDER, dir_fd=folder), True


def _sweep(work: int) -> None:
    """Remove what a process has left that was killed."""
    for name in os.listdir(work):
        with contextlib.suppress(FileNotFoundError):
            if name.endswith(".part") and os.stat(name, dir_fd=work).st_mtime < time.time() - OLD:
                os.unlink(name, dir_fd=work)


def _renamed(work: int, name: str, folder: int, wanted: str, existing: str) -> str:
    """Give a written file its name; a code of what became of it. Raises OSError, NoLanding."""
    stem, dot, suffix = wanted.rpartition(".")
    if not dot:
        stem, suffix = wanted, ""
    for number in range(1, BESIDE_MOST + 1):
        target = wanted if number == 1 else f"{stem}.{number}{dot}{suffix}"
        if rename_new(work, name, folder, target):
            return "" if number == 1 else "folder-beside"
        if _same(work, name, folder, target):
            return "folder-there"
        if existing == "replace":
            os.rename(name, target, src_dir_fd=work, dst_dir_fd=folder)
            return "folder-replaced"
        if existing == "hold":
            break
    raise NoLanding


def rename_new(work: int, name: str, folder: int, target: str) -> bool:
    """Rename if nothing of the new name is there; False if there is. Raises OSError."""
    if (number := _renameat2(work, name, folder, target)) in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        try:  # a file system that cannot do so, such as NFS: a second name for the file instead
            os.link(name, target, src_dir_fd=work, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        os.unlink(name, dir_fd=work)
        return True
    if number == errno.EEXIST:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def _renameat2(work: int, name: str, folder: int, target: str) -> int:
    """renameat2(2) with RENAME_NOREPLACE; its errno, 0 for done."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return errno.ENOSYS
    return 0 if not function(work, os.fsencode(name), folder, os.fsencode(target), _NOREPLACE) else ctypes.get_errno()


def _same(work: int, name: str, folder: int, target: str) -> bool:
    """Both files have the same bytes. Raises OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(os.fdopen(os.open(name, flags, dir_fd=work), "rb"))
        theirs = stack.enter_context(os.fdopen(os.open(target, flags, dir_fd=folder), "rb"))
        if os.fstat(ours.fileno()).st_size != os.fstat(theirs.fileno()).st_size:
            return False
        while piece := ours.read(_PIECE):
            if theirs.read(len(piece)) != piece:
                return False
    return True
