"""Sending images to DCMTK's storescp: our requestor and our delivery beside DCMTK's storescu, in one run.

    python tests/bench/send.py                      200 x 512 KiB and 1000 x 1 KiB, median of 5
    python tests/bench/send.py --rounds 1 --count 20         the short variant of CI

Three senders, the same objects, one association, the same storescp:
- `storescu`: DCMTK, whole process (a few milliseconds of it are its start);
- `association`: our requestor in this process, reading each file from disk in pieces, one request after the other;
- `delivery`: the running broker. The objects are in its queue, the destination's port is closed; then it opens, and
  the time runs from the first to the last object that arrives, as the destination counts them, scaled to all of them.
  This includes claiming the jobs and recording each outcome durably, which storescu does not do.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import Receiver, Target, dcmtk_scp, options, quiet_site, report, storescu, write_files
from support.peers import storescp
from support.tools import free_port, wait_until

from broker.dicom import uids
from broker.dicom.user import Proposal, Remote, associate

CT = "1.2.840.10008.5.1.4.1.1.2"
CELLS = ((512 * 1024, 200), (1024, 1000))
PIECE = 1024 * 1024
SITE = """
[default]
action = "send"
send = ["archive"]
[[node]]
name = "archive"
kind = "dicom"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {port}
roles = ["destination"]
"""


async def pieces(path: str, start: int) -> AsyncIterator[bytes]:
    """The data set of a file."""
    with open(path, "rb") as file:  # noqa: ASYNC230 - as storescu does, and from the page cache
        file.seek(start)
        while piece := file.read(PIECE):
            yield piece


async def send_all(files: list[tuple[str, str, int]], peer: Receiver) -> None:
    """All objects over one association; (path, SOP Instance UID, offset of the data set)."""
    remote = Remote("127.0.0.1", peer.port, peer.called, "BENCH")
    async with associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association:
        context = association.context(CT)
        assert context is not None
        for path, uid, offset in files:
            assert (await association.store(context, uid, pieces(path, offset))).status == 0


def by_association(files: list[str], peer: Receiver) -> float:
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
        runner.run(send_all(known, peer))
    return time.perf_counter() - began


def by_delivery(folder: Path, files: list[str]) -> float:
    """Seconds for the broker to deliver what waits in its queue."""
    port = free_port()
    site = quiet_site(folder / "broker", {"delivery": {"retry_first": 0.2, "retry_last": 0.5}}, SITE.format(port=port))
    with site:
        storescu(files, site.dicom, "BROKER")
        archive = folder / "archive"
        with storescp(archive, port=port):
            wait_until(lambda: len(list(archive.iterdir())) >= len(files), 120, "all have arrived")
            wait_until(
                lambda: site.rows("select count(*) from job where state = 'done'")[0][0] == len(files), 60, "recorded"
            )
        written = sorted(path.stat().st_mtime for path in archive.iterdir())
    assert len(written) == len(files)
    return (written[-1] - written[0]) * len(files) / (len(files) - 1)


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, count=0).parse_args()
    for size, count in CELLS:
        number = chosen.count or count
        times: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            for turn in range(chosen.rounds):
                folder = Path(name) / f"round{turn}"
                folder.mkdir()
                files = write_files(folder / "files", number, size)
                with dcmtk_scp(folder, "one") as one, dcmtk_scp(folder, "two") as two:
                    times.setdefault("storescu", []).append(storescu(files, one.port, one.called))
                    times.setdefault("association", []).append(by_association(files, two))
                    assert one.held() == two.held() == number
                times.setdefault("delivery", []).append(by_delivery(folder, files))
        title = f"send: {number} objects of {size} bytes to storescp"
        report(title, times, "association", [Target("storescu", most=1.3)], number)
        report(title, times, "delivery", [Target("storescu", most=1.3)], number)


if __name__ == "__main__":
    main()
