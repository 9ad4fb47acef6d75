"""Images through the broker to a PACS: rules, queue and delivery beside Orthanc's auto-routing, in one run.

    python tests/bench/through.py                      200 x 512 KiB and 1000 x 1 KiB, median of 5
    python tests/bench/through.py --rounds 1 --count 20 --size 1024          the short variant of CI

storescu sends the same files each way, in another order each round, always over one association:
- `direct`: to a storescp, with nothing between;
- `broker`: to the broker, which passes each object on to a storescp by its rules;
- `broker, three`: the same to three storescp, each object to each of them;
- `broker, kept`: to a broker whose rules send nothing on: reception alone;
- `orthanc`: to Orthanc, whose Lua script sends each new instance on, as its users configure it.

The time ends when the last file is whole at the storescp that got it last, by the times of its files. `reception` is
the time of the storescu process alone. The broker answers after the object and its jobs are on stable storage, and
records each outcome; storescp syncs nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Target, asked, options, quiet_site, rotated, storescu, table, write_files
from support.peers.peers import orthanc, storescp
from support.peers.tools import wait_until
from support.service.site import destination

CELLS = ((512 * 1024, 200), (1024, 1000))
SCRIPT = "function OnStoredInstance(instance, tags, metadata)\n  SendToModality(instance, 'archive')\nend\n"
DIRECT, ONE, THREE, KEPT, ORTHANC = "direct", "broker", "broker, three", "broker, kept", "orthanc"


@dataclass(frozen=True, slots=True)
class Way:
    """Where storescu sends to, and the folders in which each object arrives at the end."""

    port: int
    called: str
    folders: Sequence[Path]
    taken: Callable[[], int] = lambda: 0  # for a way without a folder: how many objects have arrived


class Ways:
    """The servers of all ways, running."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self._root = root
        self._stack = stack
        one, three = [self.store("one")], [self.store(f"three{n}") for n in range(3)]
        kept = stack.enter_context(quiet_site(root / "kept"))
        self.ways = {
            DIRECT: Way(*self.direct()),
            ONE: Way(self.broker("first", one), "BROKER", [folder for folder, _ in one]),
            THREE: Way(self.broker("second", three), "BROKER", [folder for folder, _ in three]),
            KEPT: Way(kept.dicom, "BROKER", [], lambda: int(kept.rows("select count(*) from instance")[0][0])),
            ORTHANC: self.orthanc(),
        }

    def store(self, name: str) -> tuple[Path, int]:
        """A storescp of its own: its folder and port. It takes several associations at once."""
        folder = self._root / f"archive-{name}"
        return folder, self._stack.enter_context(storescp(folder, "--fork"))

    def direct(self) -> tuple[int, str, Sequence[Path]]:
        """A storescp and nothing else."""
        folder, port = self.store("direct")
        return port, "ARCHIVE", [folder]

    def broker(self, name: str, archives: Sequence[tuple[Path, int]]) -> int:
        """Port of a broker that sends each object to all archives."""
        names = [f"archive{number}" for number in range(len(archives))]
        nodes = "".join(destination(node, port) for node, (_, port) in zip(names, archives, strict=True))
        text = f'[default]\naction = "send"\nsend = {names!r}\n{nodes}'.replace("'", '"')
        return self._stack.enter_context(quiet_site(self._root / name, site=text)).dicom

    def orthanc(self) -> Way:
        """Orthanc that sends each new instance on."""
        folder, port = self.store("orthanc")
        script = self._root / "route.lua"
        script.write_text(SCRIPT)
        modalities = {"archive": ["ARCHIVE", "127.0.0.1", port]}
        more = {"LuaScripts": [str(script)], "DicomModalities": modalities}
        peer = self._stack.enter_context(orthanc(self._root / "orthanc", **more))
        return Way(peer.dicom, "ORTHANC", [folder])


def once(way: Way, files: list[str]) -> tuple[float, float]:
    """Seconds until the last file is whole where it goes, and of storescu alone."""
    kept = way.taken()
    known = [set(os.listdir(folder)) for folder in way.folders]
    began = time.time()
    reception = storescu(files, way.port, way.called)
    if not way.folders:
        assert way.taken() == kept + len(files)
        return time.time() - began, reception

    def arrived() -> bool:
        pairs = zip(way.folders, known, strict=True)
        return all(len(os.listdir(folder)) >= len(old) + len(files) for folder, old in pairs)

    wait_until(arrived, 180, "all objects have arrived")
    size = Path(files[0]).stat().st_size // 2
    last = 0.0
    for folder, old in zip(way.folders, known, strict=True):
        new = [folder / name for name in os.listdir(folder) if name not in old]
        assert len(new) == len(files), (folder, len(new))
        wait_until(lambda new=new: all(path.stat().st_size > size for path in new), 30, "all files are whole")
        last = max(last, *(path.stat().st_mtime for path in new))
    return last - began, reception


def cell(root: Path, number: int, size: int, rounds: int) -> None:
    """Measure and print one set."""
    with ExitStack() as stack:
        ways = Ways(root, stack).ways
        spans: dict[str, list[float]] = {name: [] for name in ways}
        receptions: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(-1, rounds):  # the first does not count: everybody opens files and associations
            for name in rotated(list(ways), turn):
                files = write_files(root / f"files-{turn}-{name.replace(' ', '')}", number, size)
                span, reception = once(ways[name], files)
                if turn >= 0:
                    spans[name].append(span)
                    receptions[name].append(reception)
    title = f"through: {number} objects of {size} bytes"
    table(f"{title}, until the last has arrived", spans, DIRECT, number)
    large = size > 64 * 1024
    asked(spans, ONE, [Target(ORTHANC, most=0.5), Target(DIRECT, most=3 if large else 5)])
    asked(spans, THREE, [Target(ONE, most=1.6)])
    table(f"{title}, reception", receptions, KEPT, number)
    asked(receptions, ONE, [Target(KEPT, most=1.25)])


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=0, size=0).parse_args()
    for size, count in (one for one in CELLS if chosen.size in (0, one[0])):
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            cell(Path(name), chosen.count or count, size, chosen.rounds)


if __name__ == "__main__":
    main()
