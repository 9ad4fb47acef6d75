"""A broker whose clock the test sets, by libfaketime."""

from __future__ import annotations

from pathlib import Path

from support.peers.tools import missing
from support.service.site import Site


def library() -> Path:
    """libfaketime; skips the test where there is none."""
    for folder in (*Path("/usr/lib").glob("*/faketime"), Path("/usr/lib/faketime"), Path("/usr/local/lib/faketime")):
        if (file := folder / "libfaketimeMT.so.1").exists():
            return file
    missing("libfaketime")


class FakeTime:
    """The clock of a broker, which runs on but can be set. What counts running time is left alone."""

    def __init__(self, site: Site, offset: str = "+0") -> None:
        """Call it before the broker starts. `offset` as libfaketime reads it, such as `+1h` or `-8d`."""
        self._file = site.folder / "faketime"
        self.set(offset)
        site.environment |= {
            "LD_PRELOAD": str(library()), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # it takes a lock of the process at each wait: all is ten times slower
        }  # fmt: skip

    def set(self, offset: str) -> None:
        """Set the clock so far from the true one."""
        part = self._file.with_name("faketime.part")
        part.write_text(offset + "\n", encoding="ascii")
        part.replace(self._file)
