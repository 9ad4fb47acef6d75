"""Receiving images: the broker beside DCMTK storescp, Orthanc and pynetdicom, in one run.

    python tests/bench/receive.py                 200 CT slices of 512 KiB, one association, median of 5
    python tests/bench/receive.py --size 1024 --count 1000
    python tests/bench/receive.py --rounds 1 --count 20      the short variant of CI

Each round makes fresh SOP Instance UIDs and sends the same files with DCMTK's storescu to every receiver in turn, in
another order each time, after a sync of the disk. The time is that of the whole storescu process. The broker fsyncs
each object (file, folder, database) before its answer; Orthanc syncs its files; DCMTK and pynetdicom sync nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.objects import Encoded, ct_slice, fresh_uid
from support.peers import orthanc
from support.site import Site
from support.tools import ENVIRONMENT, background, free_port, listens, tool, wait_until

PYNETDICOM = """
import sys, uuid
from pathlib import Path
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pydicom.uid import AllTransferSyntaxes
_config.STORE_RECV_CHUNKED_DATASET = True
_config.LOG_HANDLER_LEVEL = "none"
folder = Path(sys.argv[2])

def store(event):
    (folder / uuid.uuid4().hex).write_bytes(event.dataset_path.read_bytes())
    return 0

ae = AE("PYNETDICOM")
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store)])
"""

SITE = """
[[rule]]
name = "none"
when = { field = "assoc.calling_ae", op = "is", value = "NOBODY" }
send = ["nowhere"]
[[node]]
name = "nowhere"
kind = "dicom"
ae_title = "NOWHERE"
host = "127.0.0.1"
port = 1
roles = ["destination"]
"""


@contextmanager
def receivers(folder: Path) -> Iterator[dict[str, tuple[int, str, Callable[[], int]]]]:
    """Name to (port, called AE title, how many objects it holds), all running."""
    for name in ("dcmtk", "pynetdicom"):
        (folder / name).mkdir()
    dcmtk, pynet = free_port(), free_port()
    script = folder / "pynetdicom_scp.py"
    script.write_text(PYNETDICOM)
    with ExitStack() as stack:
        run = stack.enter_context
        site = Site(folder / "broker", site=SITE, config={"log": {"level": "warning"}})
        site.environment = {}  # no fault points
        run(site)
        run(
            background(
                "storescp", "-od", str(folder / "dcmtk"), "+uf", str(dcmtk), ready=lambda: listens(dcmtk), cwd=folder
            )
        )
        peer = run(orthanc(folder / "orthanc"))
        process = subprocess.Popen(
            [sys.executable, str(script), str(pynet), str(folder / "pynetdicom")], env=ENVIRONMENT
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_until(lambda: listens(pynet), 30, "pynetdicom listens")
        yield {
            "broker": (site.dicom, "BROKER", lambda: int(site.rows("select count(*) from instance")[0][0])),
            "dcmtk": (dcmtk, "DCMTK", lambda: len(list((folder / "dcmtk").iterdir()))),
            "orthanc": (peer.dicom, "ORTHANC", peer.count),
            "pynetdicom": (pynet, "PYNETDICOM", lambda: len(list((folder / "pynetdicom").iterdir()))),
        }


def write_files(folder: Path, model: Encoded, count: int) -> None:
    """`count` files that differ in their SOP Instance UID only."""
    folder.mkdir()
    for number in range(count):
        uid = fresh_uid(len(model.sop_instance))
        data = model.data.replace(model.sop_instance.encode(), uid.encode())
        (folder / f"{number:05d}.dcm").write_bytes(Encoded(model.sop_class, uid, model.transfer_syntax, data).part10())


def send(folder: Path, port: int, called: str, associations: int) -> float:
    """Seconds for storescu to send all files, over one association or over several at once."""
    files = sorted(str(path) for path in folder.iterdir())
    shares = [files[i::associations] for i in range(associations)]
    os.sync()  # nobody pays for what another receiver left unwritten
    began = time.perf_counter()
    senders = [
        subprocess.Popen([tool("storescu"), "-xe", "-aec", called, "127.0.0.1", str(port), *share], env=ENVIRONMENT)
        for share in shares
    ]
    codes = [sender.wait() for sender in senders]
    assert not any(codes), codes
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=512 * 1024, help="bytes of pixel data")
    parser.add_argument("--associations", type=int, default=1)
    options = parser.parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name, receivers(Path(name)) as peers:
        model = ct_slice(options.size)
        for number in range(options.rounds):
            files = Path(name) / f"round{number}"
            write_files(files, model, options.count)
            order = list(peers)[number % len(peers) :] + list(peers)[: number % len(peers)]
            for peer in order:
                port, called, held = peers[peer]
                times.setdefault(peer, []).append(send(files, port, called, options.associations))
                assert held() == (number + 1) * options.count, (peer, held())
    report(options, times)


def report(options: argparse.Namespace, times: dict[str, list[float]]) -> None:
    """Medians, spread, rates, and each peer's time as a multiple of the broker's."""
    print(
        f"{options.count} objects of {options.size} bytes, {options.associations} association(s), "
        f"median of {options.rounds}"
    )
    ours = statistics.median(times["broker"])
    for peer, values in sorted(times.items(), key=lambda pair: statistics.median(pair[1])):
        median = statistics.median(values)
        print(
            f"{peer:12} {median:7.3f} s   min {min(values):.3f}  max {max(values):.3f}   "
            f"{options.count / median:7.0f} objects/s   {options.count * options.size / median / 2**20:7.1f} MiB/s   "
            f"{median / ours:5.2f} x the broker's time"
        )


if __name__ == "__main__":
    main()
