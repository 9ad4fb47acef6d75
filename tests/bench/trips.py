"""Counts the files of the product that a message enters: an order, a query, an object until delivered, an MPPS.

python tests/bench/trips.py            the counts
python tests/bench/trips.py --files    and the files of each

The broker runs in this process under a profiler; what it also does while nothing comes is not counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from pynetdicom import AE
from support.dicom.objects import ct_slice
from support.hl7.receiver import Ris, ris_node
from support.mpps.performed import MPPS, creation, item
from support.peers.peers import received, storescp
from support.peers.tools import free_port, listens, run, wait_until
from support.service.site import Mllp, destination, order
from support.worklist.worklist import dataset

import broker
from broker.cli.main import app

PRODUCT = str(Path(broker.__file__).parent) + os.sep
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'
Entered = set[tuple[str, str]]  # file and function


class Recorder:
    """A profiler of all threads that remembers what was entered while a trip lasts."""

    def __init__(self) -> None:
        self.entered: dict[str, Entered] = {}
        self._trip: Entered | None = None
        self._always: Entered = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """See `sys.setprofile`."""
        trip, code = self._trip, frame.f_code
        if trip is not None and event == "call" and code.co_filename.startswith(PRODUCT):
            trip.add((code.co_filename.removeprefix(PRODUCT), code.co_name))

    def idle(self, seconds: float) -> None:
        """Learn what is entered while nothing comes."""
        self._trip = self._always
        time.sleep(seconds)
        self._trip = None

    @contextmanager
    def trip(self, name: str) -> Iterator[None]:
        """Record what is entered inside, and a moment longer: some of it is written behind."""
        time.sleep(1)  # what came before has ended
        self._trip = self.entered[name] = set()
        yield
        time.sleep(2)
        self._trip = None

    def files(self, name: str) -> list[str]:
        """Files entered by a trip, without what is entered always."""
        return sorted({file for file, _ in self.entered[name] - self._always})


def drive(record: Recorder, ports: dict[str, int], ris: Ris, objects: Path, folder: Path) -> None:
    """Send one of each and wait until it has arrived."""
    wait_until(lambda: listens(ports["web"]), 30, "the broker is ready")
    door = str(ports["dicom"])
    with Mllp(ports["hl7"]) as mllp:
        assert mllp.exchange(order(1))["MSA"][0][1] == "AA"
        record.idle(8)
        with record.trip("a new order"):
            assert mllp.exchange(order(2))["MSA"][0][1] == "AA"
    keys = ("-k", "AccessionNumber", "-k", "PatientName", "-k", "0040,0100[0].0040,0002=20300312")
    with record.trip("a query (C-FIND, uncached)"):
        assert "[A2]" in run("findscu", "-W", "-aet", "CT01", "-aec", "BROKER", *keys, "127.0.0.1", door).stdout
    file = folder / "object.dcm"
    file.write_bytes(ct_slice(1024).part10())
    with record.trip("an object (C-STORE) until delivered"):
        run("storescu", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", door, str(file))
        wait_until(lambda: bool(received(objects)), 20, "the object is delivered")
    modality = AE("CT01")
    modality.add_requested_context(MPPS)
    with record.trip("an MPPS (N-CREATE) until the RIS is told"):
        association = modality.associate("127.0.0.1", ports["dicom"], ae_title="BROKER")
        status, _ = association.send_n_create(dataset(creation(item(2), patient="QZPAT2")), MPPS, "2.999.5.1")
        association.release()
        assert status.Status == 0
        wait_until(lambda: bool(ris.told), 20, "the RIS is told")


def report(record: Recorder, *, files: bool) -> None:
    """Print what was counted."""
    for name in record.entered:
        print(f"{name}: {len(record.files(name))} files")
        if files:
            print("".join(f"    {file}\n" for file in record.files(name)), end="")


def serve(folder: Path, ports: dict[str, int], site: str) -> None:
    """Run a broker in the main thread until it is stopped; raises SystemExit."""
    (folder / "site.toml").write_text(site, encoding="utf-8")
    doors = "".join(f"[{door}]\nport = {ports[door]}\n" for door in ("hl7", "web"))
    text = f'[dicom]\nport = {ports["dicom"]}\naccept = "any"\n{doors}[log]\nlevel = "warning"\n'
    (folder / "broker.toml").write_text(text, encoding="utf-8")
    app(["serve", "--config", str(folder / "broker.toml")])


def main() -> None:
    """Start peers and broker, send, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="print the files of each trip")
    wanted = parser.parse_args()
    ports = {name: free_port() for name in ("dicom", "hl7", "web", "pacs")}
    record = Recorder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with storescp(folder / "objects", port=ports["pacs"]), Ris() as ris:
            site = MODALITY + destination("pacs", ports["pacs"]) + ris_node(ris.port, events=["started"]) + RULE

            failed: list[BaseException] = []

            def all_of_it() -> None:
                sys.setprofile(None)
                try:
                    drive(record, ports, ris, folder / "objects", folder)
                except BaseException as error:
                    failed.append(error)
                os.kill(os.getpid(), signal.SIGTERM)  # ends the broker

            threading.Thread(target=all_of_it, daemon=True).start()
            profile: Callable[..., Any] = record
            threading.setprofile(profile)
            sys.setprofile(profile)
            try:
                serve(folder, ports, site)
            except SystemExit:
                sys.setprofile(None)
            if failed:
                raise failed[0]
            report(record, files=wanted.files)


if __name__ == "__main__":
    main()
