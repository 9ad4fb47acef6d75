"""Sending images to DCMTK's storescp: our requestor and our delivery beside DCMTK's storescu, in one run.

    python tests/bench/send.py                      200 x 512 KiB and 1000 x 1 KiB, median of 5
    python tests/bench/send.py --rounds 1 --count 20         the short variant of CI

The same objects over one association to a storescp of their own, the order of senders another one each round:
- `storescu`: DCMTK;
- `association`: our requestor in this process, reading each file from disk in pieces, one request after the other;
- `delivery`: the running broker. The objects are in its queue, the destination's port is closed; then it opens, and
  the lane finds it by itself. This includes claiming the jobs and recording each outcome durably, which storescu does
  not do;
- `broker send`: the command, where this version has it.

Compared is the time from the first object complete at the storescp to the last, by the times of its files: the same
measure for all, without the start of processes, associations or the lane's wait for its next try. What the whole took
stands below and is another thing for each: for `storescu` and `broker send` the process with its start (an interpreter
for the latter), for `association` from connecting to the release, for `delivery` from the first object complete to the
last outcome recorded.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Target, asked, forwarder, options, rotated, storescu, table, write_files
from support.peers.peers import storescp
from support.peers.tools import ENVIRONMENT, wait_until
from support.service.site import Site

from broker.dicom import uids
from broker.dicom.association.user import Proposal, Remote, associate

CT = "1.2.840.10008.5.1.4.1.1.2"
CELLS = ((512 * 1024, 200), (1024, 1000))
PIECE = 1024 * 1024
Way = Callable[[Site, int, list[str]], float]  # sends files to a port; seconds of the whole


async def pieces(path: str, start: int) -> AsyncIterator[bytes]:
    """The data set of a file."""
    with open(path, "rb") as file:  # noqa: ASYNC230 - as storescu does, and from the page cache
        file.seek(start)
        while piece := file.read(PIECE):
            yield piece


async def send_all(files: list[tuple[str, str, int]], port: int) -> None:
    """All objects over one association; (path, SOP Instance UID, offset of the data set)."""
    remote = Remote("127.0.0.1", port, "ARCHIVE", "BENCH")
    async with associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association:
        context = association.context(CT)
        assert context is not None
        for path, uid, offset in files:
            assert (await association.store(context, uid, pieces(path, offset))).status == 0


def by_association(site: Site, port: int, files: list[str]) -> float:
    """Seconds for our requestor."""
    import uvloop

    known = []
    for path in files:
        head = Path(path).read_bytes()[:1024]
        length = int.from_bytes(head[140:144], "little")
        at = head.index(b"\x02\x00\x03\x00UI") + 8
        size = int.from_bytes(head[at - 2 : at], "little")
        known.append((path, head[at : at + size].rstrip(b"\0").decode(), 144 + length))
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all(known, port))
    return time.perf_counter() - began


def by_storescu(site: Site, port: int, files: list[str]) -> float:
    """Seconds for DCMTK."""
    return storescu(files, port, "ARCHIVE")


def by_command(site: Site, port: int, files: list[str]) -> float:
    """Seconds for `broker send`."""
    began = time.perf_counter()
    broker(site.folder, "send", "archive", str(Path(files[0]).parent), "--config", "broker.toml").check_returncode()
    return time.perf_counter() - began


def broker(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command of the broker to its end."""
    command = [sys.executable, "-m", "broker", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, cwd=folder, capture_output=True, check=False)


def by_delivery(site: Site, port: int, files: list[str]) -> float:
    """When (epoch) the broker has recorded the last of what waited in its queue."""
    wait_until(lambda: waiting(site) == 0, 120, "all outcomes are recorded")
    return float(site.rows("select max(done_at) from job")[0][0])


def waiting(site: Site) -> int:
    """Deliveries that are not done."""
    return int(site.rows("select count(*) from job where state <> 'done'")[0][0])


def once(way: Way, site: Site, port: int, folder: Path, files: list[str]) -> tuple[float, float]:
    """Seconds from the first object at the storescp to the last, and of the whole."""
    if way is by_delivery:
        storescu(files, site.dicom, "BROKER")
        assert waiting(site) == len(files)
    os.sync()  # nobody pays for what another left unwritten
    with storescp(folder / "archive", port=port):
        whole = way(site, port, files)
    written = sorted(path.stat().st_mtime for path in (folder / "archive").iterdir())
    assert len(written) == len(files), (way.__name__, len(written))
    return written[-1] - written[0], whole - written[0] if way is by_delivery else whole


def cell(root: Path, number: int, size: int, rounds: int) -> None:
    """Measure and print one set."""
    ways: dict[str, Way] = {"storescu": by_storescu, "association": by_association, "delivery": by_delivery}
    if broker(root, "send", "--help").returncode == 0:
        ways["broker send"] = by_command
    spans: dict[str, list[float]] = {name: [] for name in ways}
    wholes: dict[str, list[float]] = {name: [] for name in ways}
    with forwarder(root / "broker") as (site, port):
        for turn in range(rounds):
            for name in rotated(list(ways), turn):
                folder = root / f"{name}{turn}"
                folder.mkdir()
                files = write_files(folder / "files", number, size)
                span, whole = once(ways[name], site, port, folder, files)
                spans[name].append(span)
                wholes[name].append(whole)
    title = f"send: {number} objects of {size} bytes to storescp"
    table(f"{title}, first to last", spans, "storescu", number - 1)
    for name in list(ways)[1:]:
        asked(spans, name, [Target("storescu", most=1.3)])
    table(f"{title}, the whole", wholes, "storescu", number)


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=0).parse_args()
    for size, count in CELLS:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            cell(Path(name), chosen.count or count, size, chosen.rounds)


if __name__ == "__main__":
    main()
