"""`broker support` with the real binary: what is in the bundle, and that nothing of a patient is, on both databases."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import tarfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.peers.tools import wait_until
from support.service.canaries import PATIENT_DATA, TOKEN, filled, rows, told
from support.service.site import Site

from broker.service.doctor import threads

RUNNING = {"processes.json", "status.json", "health.json", "retention.json", "metrics.txt", "threads.txt"}
ALWAYS = {"versions.json", "packages.json", "settings.json", "doctor.json", "machine.json", "files.json"}


def opened(file: Path) -> dict[str, str]:
    """The parts of a bundle by their names."""
    with tarfile.open(file) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {Path(one.name).name: archive.extractfile(one).read().decode() for one in members}  # type: ignore[union-attr]


def made(site: Site, name: str, *more: str | Path, wait: int = 110) -> dict[str, str]:
    """The parts of a new bundle; the command ends as soon as it has all, also on a machine with much to do."""
    file = site.folder / name
    ran = site.command("support", file, "--wait", str(wait), *more)
    assert ran.returncode == 0, ran.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    parts = opened(file)
    missing: dict[str, Any] = json.loads(parts["missing.json"])
    assert [line.split(":")[1].strip() for line in ran.stdout.splitlines()[1:]] == list(missing)
    return parts


def _workers(site: Site) -> list[int]:
    """The workers that answer the signal, in the order of their numbers."""
    return [seat.process for seat in threads.seats(site.data, site.listeners["pid"])[1:]]


def test_a_bundle_of_a_broker_full_of_patients_names_none(tmp_path: Path, database_url: str) -> None:
    url = database_url if database_url.startswith("postgresql") else ""
    with filled(tmp_path / "site", url) as full:
        site = full.site
        ours = url or f"sqlite:///{site.data / 'broker.db'}"
        values = {str(row[0]) for query in PATIENT_DATA for row in rows(ours, query)}
        values = {value for value in values if len(value) > 4 and not value.startswith("1.2.840.10008.")}
        assert len(values) > 30
        for addresses in ((), ("--addresses",)):
            parts = made(site, f"bundle{len(addresses)}.tar.gz", "--log", site.log, *addresses)
            assert parts.keys() == ALWAYS | RUNNING | {
                "database.json", "nodes.json", "rules.json", "log.txt", "missing.json"
            }, parts["missing.json"]  # fmt: skip
            for name, text in parts.items():
                assert told(text) == [], name
                assert [value for value in values if value in text] == [], name
                assert TOKEN not in text, name
        assert ("127.0.0.1" in parts["nodes.json"]) is True  # with --addresses
        first = opened(site.folder / "bundle0.tar.gz")
        assert "127.0.0.1" not in first["nodes.json"]
        assert json.loads(first["database.json"])["rows"]["patient"] == len(rows(ours, "SELECT 1 FROM patient"))
        assert json.loads(first["database.json"])["revision"]["current"] is True
        assert {rule["name"] for rule in json.loads(first["rules.json"])["rules"]["rule"]} == {
            "CT to PACS",
            "no number",
        }
        assert "broker_health" in first["metrics.txt"]
        assert "hl7.message" in first["log.txt"]
        assert re.search(r"File .*service/loop.py", first["threads.txt"])
        again = site.command("support", site.folder / "bundle0.tar.gz")
        assert again.returncode == 1
        assert "is there already" in again.stderr


def test_without_a_broker_and_with_a_broken_database(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with site:
        pass
    parts = made(site, "off.tar.gz")
    assert json.loads(parts["missing.json"]).keys() == RUNNING | {"log.txt"}
    assert parts.keys() >= ALWAYS
    (site.data / "broker.db").write_bytes(b"this is no database" * 1000)
    parts = made(site, "broken.tar.gz")
    missing = json.loads(parts["missing.json"])
    assert missing.keys() == RUNNING | {"log.txt", "database.json", "nodes.json", "rules.json"}
    assert all(missing.values())
    assert "bad" in parts["doctor.json"]


def test_while_postgresql_is_away(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", database_url="postgresql+psycopg://nobody:s3cret@127.0.0.1:1/none")
    parts = made(site, "away.tar.gz")
    missing = json.loads(parts["missing.json"])
    assert {"database.json", "nodes.json", "rules.json"} <= missing.keys()
    assert ALWAYS - {"files.json"} <= parts.keys()  # there is no data folder
    assert [name for name, text in parts.items() if "s3cret" in text] == []


def test_of_a_broker_that_stands_still(tmp_path: Path) -> None:
    """Stopped by SIGSTOP: it answers nothing, and the rest is collected all the same."""
    with Site(tmp_path / "site") as site:
        assert site.process is not None
        os.kill(site.listeners["pid"], signal.SIGSTOP)
        try:
            parts = made(site, "still.tar.gz", wait=10)
        finally:
            os.kill(site.listeners["pid"], signal.SIGCONT)
        missing = json.loads(parts["missing.json"])
        assert {"status.json", "metrics.txt", "threads.txt"} <= missing.keys()
        assert missing["threads.txt"] == f"first process ({site.listeners['pid']}) has not answered within 3 s"
        assert ALWAYS | {"processes.json", "database.json"} <= parts.keys()
        assert "T (stopped)" in parts["processes.json"]
        wait_until(lambda: site.asked("/health/live").status_code == 200, 30, "it goes on")
        assert "threads.txt" in made(site, "goes-on.tar.gz")
    assert not (site.data / "threads.txt").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_processes_of_which_some_stand_still(tmp_path: Path, database_url: str) -> None:
    """The stopped ones are named, and where the other one stands is told all the same."""
    with Site(tmp_path / "site", config={"service": {"workers": 3}}, database_url=database_url) as site:
        first = site.listeners["pid"]
        both = made(site, "all.tar.gz")
        assert "threads.txt" not in json.loads(both["missing.json"])
        parts = [part.partition("\n") for part in both["threads.txt"].split("=== ")[1:]]
        heads = [head for head, _, _ in parts]
        processes = [one["process"] for one in json.loads(both["processes.json"])]
        assert processes[0] == first
        assert sorted(processes[1:]) == sorted(child.pid for child in psutil.Process(first).children())
        second, third = (int(head.removesuffix(")").rpartition(" ")[2]) for head in heads[1:])
        assert {second, third} == set(processes[1:])
        assert heads == [f"first process ({first})", f"worker 2 (process {second})", f"worker 3 (process {third})"]
        for _, _, text in parts:
            assert re.search(r"File .*service/loop.py", text)
        for process in (first, second):  # the first one, which would kill the second one, stands still before it
            os.kill(process, signal.SIGSTOP)
        try:
            stopped = made(site, "stopped.tar.gz", wait=10)
        finally:
            for process in (second, first):
                os.kill(process, signal.SIGCONT)
        assert json.loads(stopped["missing.json"])["threads.txt"] == (
            f"no answer within 3 s of first process ({first}), worker 2 (process {second})"
        )
        one, two, three = stopped["threads.txt"].split("=== ")[1:]
        assert "has not answered within 3 s" in one
        assert "has not answered within 3 s" in two
        assert re.search(r"File .*service/loop.py", three)
        assert stopped["processes.json"].count("T (stopped)") == 2
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: _workers(site) not in ([second, third], [third]), 60, "another one is started and answers")
        assert f"worker 2 (process {_workers(site)[0]})" in made(site, "another.tar.gz")["threads.txt"]
    assert list(site.data.glob("threads*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_signal_ends_no_process_that_starts_or_ends(tmp_path: Path, database_url: str) -> None:
    """All processes get it, 20 times a second and more: while they start, answer and end."""
    site = Site(tmp_path / "site", config={"service": {"workers": 2}}, database_url=database_url)
    over, sent = threading.Event(), Counter[int]()

    def holds_it_back(process: int) -> bool:
        mask = re.search(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{process}/status").read_text("ascii"), re.M)
        return mask is not None and bool(int(mask[1], 16) >> signal.SIGUSR1 - 1 & 1)

    def signals() -> None:
        held: set[int] = set()  # once it holds it back it gets it to its end
        while not over.wait(0.02):
            first = site.process.pid if site.process is not None else 0
            with suppress(OSError, psutil.Error):
                for process in (first, *(child.pid for child in psutil.Process(first).children())):
                    if process in held or holds_it_back(process):
                        held.add(process)
                        os.kill(process, signal.SIGUSR1)
                        sent[process] += 1

    sender = threading.Thread(target=signals)
    sender.start()
    try:
        with site:
            first = site.listeners["pid"]
            children = {child.pid for child in psutil.Process(first).children()}
            for file in ("threads.txt", "threads.2.txt"):
                wait_until(lambda file=file: (site.data / file).read_text().count("Current thread") > 20, 60, "answers")
            assert site.process is not None
            site.process.terminate()
            assert site.process.wait(60) == 0
    finally:
        over.set()
        sender.join()
    assert sent.keys() == {first, *children}  # none was started again
    assert all(count > 20 for count in sent.values())
    assert not re.search(r"worker\.(died|given_up|defect|stuck|failed)|Traceback", site.logged())


@pytest.mark.parametrize("where", ["folder", "link", "nowhere"])
def test_where_no_file_can_be_made(tmp_path: Path, where: str) -> None:
    site = Site(tmp_path / "site")
    target = {"folder": tmp_path, "link": tmp_path / "link", "nowhere": tmp_path / "no" / "x.tar.gz"}[where]
    if where == "link":
        target.symlink_to(tmp_path / "elsewhere")
    ran = site.command("support", target)
    assert ran.returncode == 1
    assert str(target) in ran.stderr
    assert not (tmp_path / "elsewhere").exists()
