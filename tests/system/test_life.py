"""Start, admission and stop of the real binary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import ENVIRONMENT, run, wait_until
from support.service.site import Mllp, Site, order

from broker.dicom import uids

VERIFICATION = [(uids.VERIFICATION, uids.IMPLICIT_LE)]
NODES = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[[node]]
name = "mr1"
kind = "dicom"
ae_title = "MR01"
host = "127.0.0.2"
roles = ["modality"]
"""


def serve(config: Path) -> subprocess.CompletedProcess[str]:
    """A broker that is expected to end by itself."""
    command = [sys.executable, "-m", "broker", "serve", "--config", str(config)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)


def test_only_known_devices_enter_and_others_are_seen_knocking(tmp_path: Path) -> None:
    with Site(tmp_path / "site", site=NODES, config={"dicom": {"accept": "known"}}) as site:
        for title, accepted in ((b"CT01", True), (b"NOBODY", False), (b"MR01", False), (b"ct01", False)):
            with RawScu(site.dicom) as peer:
                kind, body = peer.associate(VERIFICATION, calling=title)
                assert (kind == 2) is accepted, title
                assert accepted or body[1:] == bytes((1, 1, 3))
        wait_until(lambda: len(site.rows("select * from knock")) == 3, 10, "knocks are written")
        assert {row[0] for row in site.rows("select ae_title from knock")} == {"NOBODY", "MR01", "ct01"}
        assert run("echoscu", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom)).returncode == 0
        open_to_others = [p.name for p in (site.data, *site.data.rglob("*")) if p.stat().st_mode & 0o077]
        assert open_to_others == []


def test_stops_in_time_with_idle_peers(tmp_path: Path) -> None:
    site = Site(tmp_path / "site").start()
    with RawScu(site.dicom) as idle, RawScu(site.dicom), Mllp(site.hl7) as ris:
        assert idle.associate(VERIFICATION)[0] == 2
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        began = time.monotonic()
        assert site.stop() == 0
        assert time.monotonic() - began < 10
        assert idle.pdu()[0] == 7  # told, not just dropped


def test_stops_in_time_under_load_and_keeps_what_it_accepted(tmp_path: Path) -> None:
    site = Site(tmp_path / "site").start()
    accepted: list[str] = []

    def load() -> None:
        with RawScu(site.dicom) as modality:
            item = ct_slice(65536)
            modality.associate([(item.sop_class, item.transfer_syntax)])
            while modality.store(item) == 0:
                accepted.append(item.sop_instance)
                item = ct_slice(65536)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(accepted) > 20, 30, "load")
    began = time.monotonic()
    assert site.stop() == 0
    assert time.monotonic() - began < 30
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert set(accepted) <= {row[0] for row in site.rows("select sop_instance_uid from instance")}
    site.assert_private()


def test_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        done = serve(site.folder / "broker.toml")
        assert done.returncode == 2
        assert "in use by another broker" in done.stderr
        assert site.alive()


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with Site(tmp_path / "one") as site:
        other = Site(tmp_path / "two", config={"dicom": {"port": site.dicom}})
        done = serve(other.folder / "broker.toml")
        assert done.returncode == 2
        assert "dicom.port: cannot listen" in done.stderr
        assert "Traceback" not in done.stderr


def test_site_file_that_differs_from_the_database_is_a_warning(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", site=NODES)
    with site:
        pass
    (site.folder / "site.toml").write_text(NODES.replace("CT01", "CT77"))
    with site:
        assert "site.differs" in site.logged()
        assert run("echoscu", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom)).returncode == 0
    done = site.command("site", "import", site.folder / "site.toml")
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (
        0,
        [
            "nodes: version 2 in force",
            "rules: version 1 in force",
            '  node \'ct1\': ae_title: "CT01" → "CT77"',
        ],
        "",
    )


@pytest.mark.parametrize("streams", ["nobody reads", "closed"])
def test_nobody_has_to_hear_what_it_says(tmp_path: Path, streams: str) -> None:
    """Whoever started it is gone. The link for the first admin, told when all doors were open, ended the broker."""
    site = Site(tmp_path / "site")
    command = [sys.executable, "-m", "broker", "serve", "--config", str(site.folder / "broker.toml")]
    if streams == "closed":
        command = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    read, write = os.pipe()
    process = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=write, stderr=write)
    for end in (read, write):
        os.close(end)
    try:
        listeners = site.data / "listeners.json"
        wait_until(lambda: listeners.exists() or process.poll() is not None, 60, "it is up")
        assert process.poll() is None
        site.listeners = json.loads(listeners.read_text(encoding="utf-8"))
        for number in range(3):
            with Mllp(site.hl7) as ris:
                assert ris.exchange(order(number))["MSA"][0][1] == "AA"
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0
