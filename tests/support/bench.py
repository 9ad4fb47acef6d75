"""What the benchmarks share: receivers side by side, objects on disk, the report with targets beside what was seen."""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.peers.peers import orthanc
from support.peers.tools import ENVIRONMENT, background, free_port, listens, tool, wait_until
from support.service.site import Site, destination

PYNETDICOM = """
import sys, uuid
from pathlib import Path
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
_config.STORE_RECV_CHUNKED_DATASET = True
_config.LOG_HANDLER_LEVEL = "none"
folder = Path(sys.argv[2])

def store(event):
    (folder / uuid.uuid4().hex).write_bytes(event.dataset_path.read_bytes())
    return 0

ae = AE("PYNETDICOM")
ae.maximum_associations = 200
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
ae.add_supported_context("1.2.840.10008.1.1")
handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_ECHO, lambda event: 0)]
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=handlers)
"""

NOWHERE = """
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


@dataclass(frozen=True, slots=True)
class Receiver:
    """A running storage SCP: port, its AE title, how many objects it holds."""

    port: int
    called: str
    held: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked of the broker's median: at most `most` times a peer's time, or at least `least` times its rate."""

    peer: str
    most: float = 0
    least: float = 0


def quiet_site(folder: Path, config: Mapping[str, Mapping[str, Any]] | None = None, site: str = NOWHERE) -> Site:
    """A broker as a hospital runs it: no fault points, no debug log."""
    made = Site(
        folder, site=site, config={"log": {"level": "warning"}, **{k: dict(v) for k, v in (config or {}).items()}}
    )
    made.environment = {}
    return made


@contextmanager
def pynetdicom_scp(folder: Path) -> Iterator[Receiver]:
    """pynetdicom's server in a process of its own, writing what it receives in chunks."""
    store = folder / "pynetdicom"
    store.mkdir()
    script, port = folder / "pynetdicom_scp.py", free_port()
    script.write_text(PYNETDICOM)
    process = subprocess.Popen([sys.executable, str(script), str(port), str(store)], env=ENVIRONMENT)
    try:
        wait_until(lambda: listens(port), 30, "pynetdicom listens")
        yield Receiver(port, "PYNETDICOM", lambda: len(list(store.iterdir())))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def dcmtk_scp(folder: Path, name: str = "dcmtk", *options: str) -> Iterator[Receiver]:
    """DCMTK's storescp: one association after the other; with the option `--fork` several at once."""
    store, port = folder / name, free_port()
    store.mkdir()
    arguments = ["--bit-preserving", "-od", str(store), "+uf", *options, str(port)]
    with background("storescp", *arguments, ready=lambda: listens(port), cwd=folder):
        yield Receiver(port, "DCMTK", lambda: len(list(store.iterdir())))


@contextmanager
def receivers(folder: Path) -> Iterator[dict[str, Receiver]]:
    """The broker and its peers by name, all running."""
    with ExitStack() as stack:
        site = stack.enter_context(quiet_site(folder / "broker"))
        peer = stack.enter_context(orthanc(folder / "orthanc"))
        yield {
            "broker": Receiver(site.dicom, "BROKER", lambda: int(site.rows("select count(*) from instance")[0][0])),
            "dcmtk": stack.enter_context(dcmtk_scp(folder, "dcmtk", "--fork")),
            "orthanc": Receiver(peer.dicom, "ORTHANC", peer.count),
            "pynetdicom": stack.enter_context(pynetdicom_scp(folder)),
        }


@contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port that nobody listens on and nobody else gets; who sets SO_REUSEADDR may listen on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@contextmanager
def forwarder(folder: Path) -> Iterator[tuple[Site, int]]:
    """A broker that sends all it gets to the node ARCHIVE, and the port where a storescp may be that node."""
    with closed_port() as port:
        text = '[default]\naction = "send"\nsend = ["archive"]\n' + destination("archive", port)
        with quiet_site(folder, {"delivery": {"retry_first": 0.1, "retry_last": 0.2}}, text) as site:
            yield site, port


def write_files(folder: Path, count: int, size: int) -> list[str]:
    """`count` CT slices with `size` bytes of pixel data that differ in their SOP Instance UID; their paths."""
    folder.mkdir()
    model = ct_slice(size)
    for number in range(count):
        uid = fresh_uid(len(model.sop_instance))
        data = model.data.replace(model.sop_instance.encode(), uid.encode())
        (folder / f"{number:05d}.dcm").write_bytes(Encoded(model.sop_class, uid, model.transfer_syntax, data).part10())
    return sorted(str(path) for path in folder.iterdir())


def storescu(files: Sequence[str], port: int, called: str, associations: int = 1) -> float:
    """Seconds for DCMTK's storescu to send all files, over one association or over several at once."""
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


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Another order each round, so that nobody always comes first."""
    return [*names[number % len(names) :], *names[: number % len(names)]]


def report(title: str, times: Mapping[str, Sequence[float]], ours: str, targets: Sequence[Target], count: int) -> None:
    """The table with ratios to `ours`, and each target beside what was seen."""
    table(title, times, ours, count)
    asked(times, ours, targets)


def table(title: str, times: Mapping[str, Sequence[float]], base: str, count: int) -> None:
    """Medians, spread, rates, ratios to `base`."""
    print(f"\n{title}, median of {len(times[base])}")
    reference = statistics.median(times[base])
    for peer, values in sorted(times.items(), key=lambda pair: statistics.median(pair[1])):
        median = statistics.median(values)
        print(
            f"  {peer:24} {median:8.3f} s   min {min(values):.3f}  max {max(values):.3f}   "
            f"{count / median:8.0f} /s   {median / reference:5.2f} x the time of {base}"
        )


def asked(times: Mapping[str, Sequence[float]], ours: str, targets: Sequence[Target]) -> None:
    """Each target beside what was seen."""
    own = statistics.median(times[ours])
    for target in targets:
        peer = statistics.median(times[target.peer])
        if target.most:
            met = "met" if own <= target.most * peer else "MISSED"
            print(f"  {ours}: asked: at most {target.most} x {target.peer}'s time; seen: {own / peer:.2f} x  {met}")
        else:
            met = "met" if peer >= target.least * own else "MISSED"
            print(f"  {ours}: asked: at least {target.least} x {target.peer}'s rate; seen: {peer / own:.2f} x  {met}")


def options(text: str | None, **more: Any) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    for name, default in more.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser
