"""What goes wrong beside the kills: a disk that fills and empties, a clock that is set."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.service.faketime import FakeTime

STEPS = ("+0", "+0", "+1h", "-1h", "+365d", "-365d")
SHARES = (0.0, 0.0, 0.003, 0.01, 0.04)  # of the disk: what stays free, below each of the broker's marks


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """A small file system of its own in `folder`; whether it could be made."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filler:
    """Fills a disk and empties it, again and again, until the end of the block."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._file, self._random = folder / "filler", random.Random(seed)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.filled = 0

    def __enter__(self) -> Filler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._random.uniform(0.5, 4)):
            self.fill(self._random.choice(SHARES))
            self._ending.wait(self._random.uniform(0.1, 1.5))
            self._file.unlink(missing_ok=True)

    def fill(self, share: float) -> None:
        """Leave this share of the disk free."""
        disk = os.statvfs(self._file.parent)
        wanted = disk.f_bavail * disk.f_frsize - int(share * disk.f_blocks * disk.f_frsize)
        with self._file.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while wanted > 0:
                wanted -= file.write(bytes(min(wanted, 1 << 20)))
            while not share:
                file.write(bytes(4096))
        self.filled += 1


class Clock:
    """Sets the clock of a broker to and fro."""

    def __init__(self, fake: FakeTime, seed: int) -> None:
        self._fake, self._random = fake, random.Random(seed)
        self.set = 0

    def step(self) -> None:
        """Set it, or leave it."""
        if self._random.random() < 0.5:
            self._fake.set(self._random.choice(STEPS))
            self.set += 1

    def right(self) -> None:
        """Set it right."""
        self._fake.set("+0")
