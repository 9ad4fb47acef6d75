"""`broker demo` whole: as a user runs it, with a PACS that loses an object, and with Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.peers.tools import listens, wait_until

import broker
from broker.cli.demo import demo
from broker.dicom import uids
from broker.dicom.association.user import Proposal, Remote, associate, open_association
from broker.dicom.dimse.request import Request
from broker.errors import PeerFault
from broker.simulate import hospital
from broker.simulate.pacs import VirtualPacs
from broker.simulate.stations import CT_IMAGE

ROOT = Path(broker.__file__).parent.parent


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "broker", "demo", *arguments]


def _environment(folder: Path) -> dict[str, str]:
    # the last one must not reach the broker of the demonstration
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "BROKER_DICOM__AE_TITLE": "OTHER"}


def test_every_order_comes_back_as_identical_images(tmp_path: Path) -> None:
    done = subprocess.run(
        _command("--orders", "6"), env=_environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 6 orders were on the worklist of their modality; all 20 images" in done.stdout
    assert "(24 deliveries)" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_an_object_lost_by_a_pacs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost: list[str] = []
    store = VirtualPacs._store

    async def forgetful(self: VirtualPacs, request: Request) -> None:
        await store(self, request)
        if not lost:
            lost.append(request.command.sop_instance)
            del self.kept[lost[0]]

    monkeypatch.setattr(VirtualPacs, "_store", forgetful)
    monkeypatch.setattr(hospital, "STALL", 2.0)
    monkeypatch.setattr(demo.telemetry, "configure", lambda *_, **__: None)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert demo.run(orders=6, keep=False) == 1
    out = capsys.readouterr().out
    assert re.search(rf"image {lost[0]} \(SIM_\w+\): did not arrive at (ARCHIVE|CAD)", out)
    assert "Not everything arrived: 6 of 6 orders on the worklist, 19 of 20 images" in out


def test_keep_stays_until_ctrl_c_and_leaves_the_data(tmp_path: Path) -> None:
    log = tmp_path / "output"
    folder = tmp_path / "folder"
    folder.mkdir()
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command("--orders", "1", "--keep"), env=_environment(folder), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: b"findscu" in log.read_bytes() or process.poll() is not None, 60, "the demo shows commands")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert re.search(r"web    http://127\.0\.0\.1:\d+/invite/[\w-]{43}\n", log.read_text())
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (kept / "broker-data" / "broker.db").exists()
    assert not (kept / "broker-data" / "listeners.json").exists()  # withdrawn: the broker stopped in order
    assert re.fullmatch(r"\nNobody can sign in yet\.[^\[]*", (kept / "broker.log").read_text())  # no line of the log


def test_sigterm_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "output"
    folder = tmp_path / "folder"
    folder.mkdir()
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command("--orders", "200"), env=_environment(folder), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: b"broker running" in log.read_bytes() or process.poll() is not None, 60, "the broker runs")
        process.terminate()
        assert process.wait(30) == 130, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert log.read_text().endswith("interrupted\n")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())
    assert found
    assert not listens(int(found[1]))
    assert list(folder.iterdir()) == []


def test_a_broker_that_cannot_start_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("broker.cli.demo.demo_broker._SETTINGS", "[nonsense]\n")
    monkeypatch.setattr(demo.telemetry, "configure", lambda *_, **__: None)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert demo.run(orders=1, keep=False) == 1
    out = capsys.readouterr().out
    assert "exit code 2" in out
    assert "nonsense: unknown key" in out
    assert list(tmp_path.iterdir()) == []


async def _data() -> AsyncIterator[bytes]:
    yield b"data set"


def test_a_pacs_goes_away_and_comes_back_on_its_port() -> None:
    async def scenario() -> None:
        pacs = VirtualPacs("ARCHIVE")
        await pacs.start()
        remote = Remote("127.0.0.1", pacs.port, "ARCHIVE", "BROKER")
        for arrivals in (1, 2):
            async with associate(remote, [Proposal(CT_IMAGE, (uids.EXPLICIT_LE,))]) as association:
                context = association.context(CT_IMAGE)
                assert context is not None
                assert (await association.store(context, "2.999.1", _data())).status == 0
            assert pacs.kept["2.999.1"].arrivals == arrivals
            await pacs.stop()
            with pytest.raises(PeerFault):
                await open_association(remote, [Proposal(CT_IMAGE, (uids.EXPLICIT_LE,))])
            await pacs.start()
            assert pacs.port == remote.port
        assert not pacs.kept["2.999.1"].changed
        await pacs.stop()

    asyncio.run(scenario())
