"""Receiving images: the broker beside DCMTK storescp, Orthanc and pynetdicom, in one run.

    python tests/bench/receive.py                                        all four cells, median of 5
    python tests/bench/receive.py --size 1024 --count 1000 --associations 8         one cell
    python tests/bench/receive.py --rounds 1 --size 524288 --count 20               the short variant of CI

Each round makes fresh SOP Instance UIDs and sends the same files with DCMTK's storescu to every receiver in turn, in
another order each time, after a sync of the disk. The time is that of the whole storescu process. The broker answers
each object after it is on stable storage; Orthanc syncs its files; DCMTK and pynetdicom sync nothing. DCMTK's
storescp runs with --fork, so that it serves several associations at once. `(disk)` is what a durable receiver pays
at least on one association, without any network: the bytes of each object written over a file that is there, and
synced before the next (an append would make the file system journal the new size too). Where its minimum and maximum
lie far apart, others use the disk, and the rest of the table is worth as little.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Receiver, Target, options, receivers, report, rotated, storescu, write_files

CELLS = ((512 * 1024, 200, 1), (512 * 1024, 200, 8), (1024, 1000, 1), (1024, 1000, 8))


def targets(size: int, associations: int) -> list[Target]:
    """What issue 3 asks of a cell."""
    found = [Target("orthanc", least=2), Target("pynetdicom", least=4 if size < 65536 else 2.5)]
    return [Target("dcmtk", most=1.3), *found] if associations == 1 else found


def disk_alone(target: Path, files: Sequence[str]) -> float:
    """Seconds to put the bytes of each file on the disk before the next, over blocks that the target has already."""
    contents = [Path(path).read_bytes() for path in files]
    target.write_bytes(b"".join(contents))
    os.sync()
    began = time.perf_counter()
    with target.open("r+b", buffering=0) as out:
        for content in contents:
            out.write(content)
            os.fdatasync(out.fileno())
    return time.perf_counter() - began


def cell(folder: Path, peers: dict[str, Receiver], size: int, count: int, associations: int, rounds: int) -> None:
    """Measure and print one cell."""
    times: dict[str, list[float]] = {}
    for number in range(rounds):
        files = write_files(folder / f"{size}-{associations}-{number}", count, size)
        for name in rotated(list(peers), number):
            peer = peers[name]
            before = peer.held()
            times.setdefault(name, []).append(storescu(files, peer.port, peer.called, associations))
            assert peer.held() == before + count, (name, before, peer.held())
        if associations == 1:
            times.setdefault("(disk)", []).append(disk_alone(folder / f"{size}-{number}.disk", files))
    title = f"receive: {count} objects of {size} bytes, {associations} association(s)"
    report(title, times, "broker", targets(size, associations), count)


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=0, size=0, associations=1).parse_args()
    cells = CELLS
    if chosen.size:
        cells = ((chosen.size, chosen.count or 200, chosen.associations),)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, receivers(Path(name)) as peers:
        for size, count, associations in cells:
            cell(Path(name), peers, size, count, associations, chosen.rounds)


if __name__ == "__main__":
    main()
