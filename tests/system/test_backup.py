"""A backup of a broker under load, restored elsewhere: what was acknowledged before is there, and is delivered.

`BROKER_FULL=1 pytest tests/system/test_backup.py` kills 500 backups at random.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.loops import SOON
from support.peers.peers import free_port, received, storescp
from support.peers.tools import ENVIRONMENT, wait_until
from support.scale import scaled
from support.service.program import start
from support.service.site import Site
from support.store import postgresql as pg

from broker.backup.manifest import FILE, backups

NODES = """
[[node]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
roles = ["destination"]
[default]
action = "send"
send = ["pacs"]
"""


@contextmanager
def sending(port: int) -> Iterator[list[Encoded]]:
    """Small and large objects go to a broker as long as the block lasts; those that it has acknowledged."""
    acknowledged: list[Encoded] = []
    ended = threading.Event()

    def send() -> None:
        with RawScu(port) as modality:
            first = ct_slice(1024)
            modality.associate([(first.sop_class, first.transfer_syntax)])
            while not ended.is_set():
                item = ct_slice(random.choice((1024, 100_000)))
                assert modality.store(item) == 0
                acknowledged.append(item)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield acknowledged
    finally:
        ended.set()
        thread.join(SOON)


def done(site: Site, *words: str | Path) -> dict[str, Any]:
    """What a command that must end well tells as JSON."""
    ran = site.command(*words, "--json", environment={"PATH": f"{pg.PROGRAMS}:{os.environ['PATH']}"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_a_backup_under_load_is_restored_and_all_is_delivered(
    tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    port, stored, elsewhere = free_port(), tmp_path / "backups", ""
    url = database_url if database_url.startswith("postgresql") else ""
    if url:
        server = request.getfixturevalue("postgresql")
        elsewhere = pg.create(server, "restored")
    try:
        with Site(tmp_path / "one", site=NODES.format(port=port), database_url=url) as one:
            with sending(one.dicom) as acknowledged:
                wait_until(lambda: len(acknowledged) > 20, SOON, "objects come")
                done(one, "backup", stored)
                before = list(acknowledged)
                told = done(one, "backup", stored, "--keep", "1", "--verify")
            assert (told["missing"], told["damaged"]) == ([], [])
            assert told["linked"] > 0
            assert len(backups(stored)) == 1
            assert one.asked("/api/v1/status").json()["backup"]["good_at"] == pytest.approx(told["made_at"])
        two = Site(tmp_path / "two", site=NODES.format(port=1), database_url=elsewhere)
        assert done(two, "restore", stored)["paused"] == ["pacs"]
        with two, storescp(tmp_path / "pacs", port=port):
            assert done(two, "fsck")["spoiled"] == []
            assert received(tmp_path / "pacs") == {}
            two.command("queue", "resume", "pacs", "--reason", "nothing was sent since")
            wanted = {item.sop_instance: item.data for item in before}
            wait_until(lambda: wanted.keys() <= received(tmp_path / "pacs").keys(), 60, "all is delivered")
            wait_until(lambda: wanted.items() <= received(tmp_path / "pacs").items(), SOON, "all is whole")
    finally:
        if url:
            pg.drop(server, "restored")


def test_a_killed_backup_is_none_and_harms_no_other(tmp_path: Path) -> None:
    stored, chance = tmp_path / "backups", random.Random(7)
    with Site(tmp_path / "site", site=NODES.format(port=1)) as site:
        with sending(site.dicom) as acknowledged:
            wait_until(lambda: len(acknowledged) > 30, SOON, "objects come")
        began = time.monotonic()
        done(site, "backup", stored)
        usual = time.monotonic() - began
        command = ("backup", stored, "--config", site.folder / "broker.toml")
        cut = 0
        with site.log.open("ab") as log:
            for _ in range(scaled(50, 500)):
                killed = start(*command, folder=site.folder, environment=ENVIRONMENT, stdout=log, stderr=log)
                try:
                    killed.wait(chance.uniform(0, 1.2 * usual))
                except subprocess.TimeoutExpired:
                    killed.send_signal(signal.SIGKILL)
                    killed.wait(SOON)
                    cut += 1
                for folder in backups(stored):
                    assert (folder / FILE).is_file()
        assert cut > 0
        last = Path(done(site, "backup", stored, "--verify")["folder"])
        assert [path.name for path in stored.iterdir() if path.name.endswith(".part")] == []
        for folder in backups(stored):
            assert done(site, "restore", folder, "--check")["damaged"] == []
        assert backups(stored)[-1] == last


def test_a_broker_backs_itself_up_and_says_whether_it_is_good(tmp_path: Path) -> None:
    """At its first start, and not again at the next one; a folder that cannot be written is told of."""
    stored = tmp_path / "backups"
    config: dict[str, dict[str, Any]] = {"backup": {"folder": str(stored)}}
    with Site(tmp_path / "site", config=config) as site:
        wait_until(lambda: (known := site.asked("/api/v1/status").json()["backup"]) and known["proven_at"], 60, "done")
        assert len(backups(stored)) == 1
        told = site.command("status")
        assert "the last good one began at" in told.stdout
        assert "read again and restored for a trial" in told.stdout
        assert f"broker restore {backups(stored)[0]}" in told.stdout
    with Site(tmp_path / "site", config=config) as site:
        wait_until(lambda: site.asked("/api/v1/status").json()["duties"], SOON, "housekeeping works")
        assert len(backups(stored)) == 1
    (tmp_path / "file").write_text("")
    with Site(tmp_path / "other", config={"backup": {"folder": str(tmp_path / "file")}}) as site:
        wait_until(lambda: "the last backup, at" in site.command("status").stdout, 60, "it is told")
        assert "backup-disk" in site.command("status").stdout
