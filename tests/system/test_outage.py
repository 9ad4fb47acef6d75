"""Destinations away, disks full: accepted work waits, refused work stays with its sender, all recovers by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, run, wait_until
from support.service.site import Mllp, Site, destination, order
from support.store.spool import spool_files

RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "exists" }
send = ["archive"]
"""


@pytest.fixture
def archive_port() -> int:
    return free_port()


@pytest.fixture
def site(tmp_path: Path, database_url: str, archive_port: int) -> Iterator[Site]:
    """A broker on SQLite and on PostgreSQL."""
    url = database_url if database_url.startswith("postgresql") else ""
    with Site(tmp_path / "site", site=destination("archive", archive_port) + RULE, database_url=url) as running:
        yield running


def store(site: Site, objects: list[Encoded]) -> list[int | None]:
    """Send over one association; the statuses."""
    with RawScu(site.dicom) as modality:
        assert modality.associate([(uids_of(objects[0]))])[0] == 2
        return [modality.store(item) for item in objects]


def uids_of(item: Encoded) -> tuple[str, str]:
    return item.sop_class, item.transfer_syntax


def worklist(site: Site) -> str:
    """What a modality sees."""
    return run(
        "findscu", "-W", "-aec", "BROKER", "-k", "0008,0050", "-k", "0040,0100[0].0040,0001=CT01", "127.0.0.1",
        str(site.dicom),
    ).stdout  # fmt: skip


def health(site: Site) -> tuple[int, str]:
    """HTTP status of the readiness check, and what is wrong beside the destination, which is away."""
    with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
        problems = json.loads(answer.read())["problems"]
        return answer.status, " ".join(text for text in problems if " is down since " not in text)


def test_objects_wait_for_a_destination_that_is_away(site: Site, archive_port: int, tmp_path: Path) -> None:
    objects = [ct_slice(4096) for _ in range(200)]
    assert store(site, objects) == [0] * 200
    wait_until(lambda: "lane.broken" in site.logged(), 20, "the destination is found to be away")
    with storescp(tmp_path / "archive", port=archive_port):
        wait_until(lambda: len(received(tmp_path / "archive")) >= 200, 60, "all arrive")
        assert received(tmp_path / "archive") == {item.sop_instance: item.data for item in objects}
        wait_until(lambda: "lane.mended" in site.logged(), 20, "the lane is mended")


def test_full_disk_refuses_images_and_orders_while_the_worklist_answers(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    for point in ("spool.write", "spool.sync", "store.commit"):
        site.faults.write_text(f"{point} ENOSPC\n", encoding="ascii")
        assert store(site, [ct_slice(40_000), ct_slice(40_000)]) == [0xA700, 0xA700], point
    # the database's disk is still full: no answer at all is given, so that the RIS keeps its message
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(2)) == {}
    assert "[A1]" in worklist(site)
    assert "[A2]" not in worklist(site)
    assert health(site)[0] == 200
    assert "the database cannot be written: orders and images are refused" in health(site)[1]

    site.faults.write_text("", encoding="ascii")
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(2))["MSA"][0][1] == "AA"
    assert store(site, [ct_slice(4096), ct_slice(40_000)]) == [0, 0]
    assert "[A2]" in worklist(site)
    wait_until(lambda: health(site) == (200, ""), 20, "nothing else is wrong")
    spool = [path for path in spool_files(site.data / "spool") if "unclaimed" not in path.parts]
    assert len(spool) <= 3  # at most the objects whose commit failed after they were safe, for the sweep


def test_real_small_disk_fills_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        fill_and_recover(disk, tmp_path)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill_and_recover(disk: Path, tmp_path: Path) -> None:
    """Images until the disk is full, then space again."""
    with Site(tmp_path / "site", config={"service": {"data_dir": str(disk / "data")}}) as site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        with RawScu(site.dicom) as modality:
            first = ct_slice(512 * 1024)
            modality.associate([uids_of(first)])
            statuses = [modality.store(ct_slice(512 * 1024)) for _ in range(24)]
            assert statuses[0] == 0
            assert statuses[-1] == 0xA700
            assert set(statuses) == {0, 0xA700}
        assert "[A1]" in worklist(site)
        accepted = statuses.count(0)
        freed = next(iter(spool_files(disk / "data" / "spool")))
        freed.unlink()  # an operator makes room
        assert store(site, [ct_slice(1024)]) == [0]
        assert site.rows("select count(*) from instance") == [(accepted + 1,)]
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(2))["MSA"][0][1] == "AA"
