"""GDCM's gdcmscu, the only network program of GDCM: a user, and a provider for the objects of its own C-MOVE.

What it cannot do: with every provider (DCMTK's and pynetdicom's too) it aborts itself, by "ProtocolStream as nullptr
is invalid", as soon as its release is answered; so it never shows what it found, and the proof is taken at our end.
`--worklist` is not done ("need to explicitly choose … --patientroot or --studyroot"), nor is `--get` (it ends with 1
before it connects). It has no N-services.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dicom.archive import Archive
from support.peers.tools import free_port, run, wait_until

from interop.cells import same, study, study_uid, write
from interop.running import Running


def gdcmscu(called: str, port: int, *words: str | Path, files: list[Path] | None = None) -> None:
    """Run it; it must have come as far as its release."""
    done = run("gdcmscu", *words, "--aetitle", "GDCM", "--call", called, "127.0.0.1", str(port), *(files or []))
    assert done.returncode == 0 or "ProtocolStream as nullptr" in done.stdout, done.stdout


def test_gdcm_broker_echo(broker: Running) -> None:
    gdcmscu("BROKER", broker.site.dicom, "--echo")
    wait_until(lambda: "calling_ae=GDCM" in broker.site.logged(), 5, "the broker has answered")


def test_gdcm_broker_store(broker: Running, folder: Path) -> None:
    objects = study()
    gdcmscu("BROKER", broker.site.dicom, "--store", files=write(folder, objects))
    for item, got in zip(objects, broker.delivered(objects), strict=True):
        same(item, got.part10())


def test_gdcm_user_echo(ours: Archive) -> None:
    gdcmscu("ARCHIVE", ours.port, "--echo")
    assert ours.done == [("C-ECHO", "")]


def test_gdcm_user_store(ours: Archive, folder: Path) -> None:
    objects = study()
    gdcmscu("ARCHIVE", ours.port, "--store", files=write(folder, objects))
    for item in objects:
        same(item, ours.objects[item.sop_instance].part10())


@pytest.mark.parametrize("model", [("--patientroot", "--patient"), ("--studyroot", "--study")])
def test_gdcm_user_find(model: tuple[str, str], ours: Archive) -> None:
    ours.put(*study())
    gdcmscu("ARCHIVE", ours.port, "--find", *model, "--key", "10,20=CANARY1", "--key", "20,d=")
    assert ours.done == [("C-FIND", "")]


def test_gdcm_user_move_and_provider_store(ours: Archive, folder: Path) -> None:
    objects = study()
    ours.put(*objects)
    ours.nodes["GDCM"] = free_port()
    words = ("--key", f"20,d={study_uid(objects)}", "--port-scp", str(ours.nodes["GDCM"]), "-o", folder)
    gdcmscu("ARCHIVE", ours.port, "--move", "--studyroot", "--study", *words)
    assert ours.done == [("C-MOVE", "GDCM")]
    for item in objects:
        same(item, folder / f"{item.sop_instance}.dcm")
