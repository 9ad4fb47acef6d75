"""Receiving images: the broker beside DCMTK storescp, Orthanc and pynetdicom, in one run.

    python tests/bench/receive.py                                        all four cells, median of 5
    python tests/bench/receive.py --size 1024 --count 1000 --associations 8         one cell
    python tests/bench/receive.py --rounds 1 --size 524288 --count 20               the short variant of CI
    python tests/bench/receive.py --rules 20                      a broker with 20 rules beside one without any

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

from support.bench import Receiver, Target, options, quiet_site, receivers, report, rotated, storescu, write_files
from support.service.site import Site

CELLS = ((512 * 1024, 200, 1), (512 * 1024, 200, 8), (1024, 1000, 1), (1024, 1000, 8))


RULED = ((512 * 1024, 200, 1), (1024, 1000, 1))
# one rule of each looks at other elements; none matches, so that both brokers do the same with each object
TESTS = (
    '{{ field = "tag.Modality", value = "MR" }}',
    '{{ field = "tag.StudyDescription", op = "contains", value = "thorax {n}" }}',
    '{{ field = "tag.SliceThickness", op = "gt", value = {n}000 }}',
    '{{ field = "tag.ImageType[3]", value = "LOCALIZER {n}" }}',
    '{{ item = "ProcedureCodeSequence", all = [{{ field = "tag.CodeValue", value = "X{n}" }}] }}',
)
RULE = """
[[rule]]
name = "rule {n}"
when = {{ all = [{{ field = "assoc.calling_ae", op = "exists" }}, {{ any = [{tests}] }}] }}
action = "discard"
reason = "never"
"""


def rules(count: int) -> str:
    """So many rules of five tests as `site.toml` has them."""
    return "".join(RULE.format(n=n, tests=", ".join(TESTS).format(n=n)) for n in range(1, count + 1))


def with_rules(folder: Path, count: int, rounds: int) -> None:
    """Measure a broker with so many rules beside one without any."""
    ruled = f"{count} rules"
    with quiet_site(folder / "plain") as plain, quiet_site(folder / "ruled", site=rules(count)) as other:
        peers = {"no rules": _receiver(plain), ruled: _receiver(other)}
        for size, objects, associations in RULED:
            times = measured(folder, peers, size, objects, associations, rounds)
            report(
                f"receive: {objects} objects of {size} bytes", times, ruled, [Target("no rules", most=1.05)], objects
            )


def _receiver(site: Site) -> Receiver:
    return Receiver(site.dicom, "BROKER", lambda: int(site.rows("select count(*) from instance")[0][0]))


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


def measured(
    folder: Path, peers: dict[str, Receiver], size: int, count: int, associations: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each round, by receiver."""
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
    return times


def cell(folder: Path, peers: dict[str, Receiver], size: int, count: int, associations: int, rounds: int) -> None:
    """Measure and print one cell."""
    times = measured(folder, peers, size, count, associations, rounds)
    title = f"receive: {count} objects of {size} bytes, {associations} association(s)"
    report(title, times, "broker", targets(size, associations), count)


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=0, size=0, associations=1, rules=0).parse_args()
    if chosen.rules:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            with_rules(Path(name), chosen.rules, chosen.rounds)
        return
    cells = CELLS
    if chosen.size:
        cells = ((chosen.size, chosen.count or 200, chosen.associations),)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, receivers(Path(name)) as peers:
        for size, count, associations in cells:
            cell(Path(name), peers, size, count, associations, chosen.rounds)


if __name__ == "__main__":
    main()
