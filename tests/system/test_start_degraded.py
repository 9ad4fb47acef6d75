"""A broker starts on a disk that is full or read-only: the worklist answers, and all recovers when there is room."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import free_port, run, wait_until
from support.service.site import Mllp, Site, order

PORTS = ("dicom", "hl7", "web")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def site(tmp_path: Path, disk: Path) -> Iterator[Site]:
    """A broker that had an order and was stopped. Its ports are fixed: the file that tells them cannot be written."""
    ports = {name: free_port() for name in PORTS}
    config = {name: {"port": port} for name, port in ports.items()}
    site = Site(tmp_path / "site", config={**config, "service": {"data_dir": str(disk / "data")}})
    with site, Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    try:
        yield site
    finally:
        if site.alive():
            site.__exit__(None, None, None)


def launch(site: Site) -> None:
    """Start it; it must become ready, whatever the disk."""
    site.launch()
    wait_until(lambda: health(site) != "" or not site.alive(), 60, "the web answers")
    assert site.alive(), site.logged()[-2000:]


def health(site: Site) -> str:
    """What the readiness check says; empty while nothing answers."""
    try:
        with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
            return str(json.loads(answer.read())["status"])
    except urllib.error.HTTPError as error:
        return str(json.loads(error.read())["status"])
    except OSError:
        return ""


def worklist(site: Site) -> str:
    """What a modality sees."""
    return run(
        "findscu", "-W", "-aec", "BROKER", "-k", "0008,0050", "-k", "0040,0100[0].0040,0001=CT01", "127.0.0.1",
        str(site.dicom),
    ).stdout  # fmt: skip


def serves_and_refuses(site: Site) -> None:
    """The worklist answers; an order and an image stay with their senders."""
    # the check itself gives up after 0.8 s, which the first look at the database may take on a busy machine
    wait_until(lambda: health(site) == "degraded", 60, "it is found to be degraded")
    assert "[A1]" in worklist(site)
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(2)) == {}
    thing = ct_slice(40_000)
    with RawScu(site.dicom) as modality:
        modality.associate([(thing.sop_class, thing.transfer_syntax)])
        assert modality.store(thing) == 0xA700


def accepts(site: Site) -> bool:
    """An order that was refused is accepted when its sender repeats it."""
    with Mllp(site.hl7) as ris:
        return bool(ris.exchange(order(2)).get("MSA", [["", ""]])[0][1] == "AA")


def serves_all_again(site: Site) -> None:
    wait_until(lambda: health(site) == "ok", 60, "the database is written again")
    wait_until(lambda: accepts(site), 30, "the order is accepted")
    assert "[A2]" in worklist(site)
    assert site.rows("pragma integrity_check") == [("ok",)]


def fill(disk: Path) -> Path:
    """The file that takes all the room of a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_full_disk_after_a_kill(site: Site, disk: Path) -> None:
    """SQLite has a log to read then, and needs a file beside it for that: the room of it is kept ready."""
    reserve = site.data / "reserve"
    site.start()
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(3))["MSA"][0][1] == "AA"
    wait_until(reserve.exists, 30, "the reserve is there")
    site.kill()
    (site.data / "broker.db-shm").unlink()  # as in a copy; where it is left, others may take the room before it grows
    filler = fill(disk)
    launch(site)
    assert "disk.reserve_used" in site.logged()
    assert not reserve.exists()
    assert "[A3]" in worklist(site)
    filler.unlink()
    serves_all_again(site)
    wait_until(reserve.exists, 60, "the reserve is there again")


def test_full_disk(site: Site, disk: Path) -> None:
    filler = fill(disk)
    launch(site)
    serves_and_refuses(site)
    filler.unlink()
    serves_all_again(site)
    assert "store.thawed" in site.logged()
    wait_until((site.data / "listeners.json").exists, 60, "the ports are told")


def test_read_only_disk(site: Site, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        launch(site)
        serves_and_refuses(site)
        assert "control socket" in site.logged()
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    serves_all_again(site)
    wait_until((site.data / "control.sock").exists, 60, "commands reach it")
