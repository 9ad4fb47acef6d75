"""DCMTK: users echoscu, findscu, storescu, dcmsend, movescu, getscu, dcmprscu; providers storescp, dcmqrscp, others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from support.dicom.archive import (  # fmt: skip
    FILM_BOX,
    FILM_SESSION,
    IMAGE_BOX,
    PRINT,
    PRINTER,
    PRINTER_INSTANCE,
    Archive,
    archive,
    from_bytes,
    to_bytes,
)
from support.dicom.asking import Asking, keys
from support.dicom.objects import Encoded, fresh_uid
from support.peers.dcmtk import dcmprscp, dcmqrscp, dcmrecv, print_configuration, wlmscpfs
from support.peers.peers import received, storescp
from support.peers.tools import free_port, run, wait_until
from support.worklist.worklist import dataset, document

from broker.dicom import uids
from broker.dicom.association.association import Association
from interop.cells import CT, same, study, study_uid, write
from interop.running import Running

STUDY_ROOT = ("-S", "-k", "QueryRetrieveLevel=STUDY")


def dcmtk(program: str, port: int, *words: str | Path, called: str = "ARCHIVE", files: list[Path] | None = None) -> str:
    """Run a user of DCMTK to its success; its output."""
    done = run(program, *words, "-aet", "DCMTK", "-aec", called, "127.0.0.1", str(port), *(files or []))
    assert done.returncode == 0, done.stdout
    return done.stdout


# --- users -------------------------------------------------------------------------------------------------------


def test_dcmtk_broker_echo(broker: Running) -> None:
    dcmtk("echoscu", broker.site.dicom, "--propose-ts", "10", "--propose-pc", "128", "--repeat", "3", called="BROKER")


def test_dcmtk_broker_worklist(broker: Running) -> None:
    asked = ("-W", "-k", "PatientID", "-k", "AccessionNumber", "-k", "0040,0100[0].ScheduledStationAETitle=CT01")
    found = dcmtk("findscu", broker.site.dicom, *asked, called="BROKER")
    assert re.findall(r"AccessionNumber|\[A1\]|\[QZPAT1\]", found).count("[A1]") == 1, found
    assert "[QZPAT1]" in found


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_dcmtk_broker_store(program: str, broker: Running, folder: Path) -> None:
    objects = study()
    dcmtk(program, broker.site.dicom, called="BROKER", files=write(folder, objects))
    assert [got.data for got in broker.delivered(objects)] == [item.data for item in objects]


def test_dcmtk_user_echo(ours: Archive) -> None:
    dcmtk("echoscu", ours.port)
    assert ours.done == [("C-ECHO", "")]


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_dcmtk_user_store(program: str, ours: Archive, folder: Path) -> None:
    objects = study()
    dcmtk(program, ours.port, files=write(folder, objects))
    assert {uid: item.data for uid, item in ours.objects.items()} == {o.sop_instance: o.data for o in objects}


@pytest.mark.parametrize("model", ["-P", "-S"])
def test_dcmtk_user_find(model: str, ours: Archive) -> None:
    mine = study()
    ours.put(*mine, *study())
    level = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid(mine)}", "-k", "PatientID")
    found = dcmtk("findscu", ours.port, model, *level)
    assert found.count("Find Response") == 1
    assert "[CANARY1 ]" in found or "[CANARY1]" in found


def test_dcmtk_user_find_cancelled(ours: Archive) -> None:
    for _ in range(30):
        ours.put(*study(1))
    found = dcmtk("findscu", ours.port, *STUDY_ROOT, "-k", "StudyInstanceUID", "--cancel", "2", "-v")
    assert found.count("Find Response") >= 2
    assert "Cancel Request" in found


@pytest.mark.parametrize("program", ["movescu", "getscu"])
def test_dcmtk_user_retrieve(program: str, ours: Archive, folder: Path) -> None:
    objects = study()
    ours.put(*objects)
    words = [*STUDY_ROOT, "-k", f"StudyInstanceUID={study_uid(objects)}", "-od", folder]
    if program == "movescu":  # which keeps files bit by bit in its working directory only
        ours.nodes["DCMTK"] = free_port()
        words += ["-aem", "DCMTK", "--port", str(ours.nodes["DCMTK"])]
    dcmtk(program, ours.port, *words)
    kept = received(folder)
    assert kept.keys() == {item.sop_instance for item in objects}
    for item in objects:
        same(item, Encoded(item.sop_class, item.sop_instance, uids.EXPLICIT_LE, kept[item.sop_instance]).part10())


def test_dcmtk_user_print(ours: Archive, folder: Path) -> None:
    """N-CREATE, N-SET, N-ACTION, N-GET and N-DELETE of Basic Grayscale Print Management."""
    ours.instances[PRINTER_INSTANCE] = Dataset()
    ours.instances[PRINTER_INSTANCE].PrinterStatus = "NORMAL"
    configuration = print_configuration(folder / "print", ours.port, "ARCHIVE")
    page = run("dcmpsprt", "-c", configuration, "-p", "ARCHIVE", "-s", *write(folder, study(1)))
    assert page.returncode == 0, page.stdout
    jobs = list((folder / "print" / "database").glob("SP_*.dcm"))
    printed = run("dcmprscu", "-c", configuration, "-p", "ARCHIVE", *jobs)
    assert printed.returncode == 0, printed.stdout
    services = [service for service, _ in ours.done]
    assert {"N-CREATE", "N-SET", "N-ACTION", "N-GET", "N-DELETE"} == set(services), services


# --- providers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [storescp, dcmrecv])
def test_dcmtk_provider_store(program: object, tmp_path: Path) -> None:
    objects = study()
    with program(tmp_path / "kept") as port:  # type: ignore[operator]
        ask = Asking(port, "DCMTK")
        assert ask.echo() == 0
        assert ask.store(*objects) == [0, 0, 0]
        wait_until(lambda: len(received(tmp_path / "kept")) == 3, 10, "all are written")
    assert received(tmp_path / "kept") == {item.sop_instance: item.data for item in objects}


def test_dcmtk_provider_archive(tmp_path: Path) -> None:
    """Echo, store, find, move and get at dcmqrscp."""
    objects = study()
    wanted = keys("STUDY", StudyInstanceUID=study_uid(objects), PatientID="")
    with archive("ELSEWHERE") as there, dcmqrscp(tmp_path / "qr", {"ELSEWHERE": there.port}) as port:
        ask = Asking(port, "QRSCP")
        assert ask.echo() == 0
        assert ask.store(*objects) == [0, 0, 0]
        assert [str(ds.PatientID) for ds in ask.find(wanted)] == ["CANARY1"]
        del wanted.PatientID
        responses = ask.move(wanted, "ELSEWHERE")
        assert [response.status for response in responses] == [0xFF00] * 3 + [0]
        for item in objects:
            same(item, there.objects[item.sop_instance].part10())
        assert there.originators[0][0] == "BROKER"
        assert [response.status for response in ask.move(wanted, "NOWHERE")] == [0xA801]
        status, came = ask.get(wanted, (CT, uids.EXPLICIT_LE))
        assert status == 0
        for item in objects:
            same(item, came[item.sop_instance].part10())


def test_dcmtk_provider_worklist(tmp_path: Path) -> None:
    asked = dataset({"PatientID": "", "ScheduledProcedureStepSequence": [{"ScheduledStationAETitle": "CT01"}]})
    with wlmscpfs(tmp_path / "wl", dataset(document()), dataset(document(step={"Modality": "CT"}))) as port:
        found = Asking(port, "WORKLIST").find(asked, uids.MODALITY_WORKLIST)
    assert [ds.PatientID for ds in found] == ["P1", "P1"]


def test_dcmtk_provider_print(tmp_path: Path) -> None:
    """All N-services that a print provider has, in one context of the meta SOP class."""

    async def work(association: Association) -> list[int]:
        context = association.context(PRINT)
        printer = await association.n_get(PRINTER, PRINTER_INSTANCE, (0x21100010,), context=context)
        assert from_bytes(printer.data, uids.IMPLICIT_LE).PrinterStatus == "NORMAL"
        session, box = fresh_uid(), Dataset()
        created = await association.n_create(FILM_SESSION, session, context=context)
        box.ImageDisplayFormat = "STANDARD\\1,1"
        box.ReferencedFilmSessionSequence = [reference(FILM_SESSION, session)]
        film = await association.n_create(FILM_BOX, "", to_bytes(box, uids.IMPLICIT_LE), context=context)
        image = from_bytes(film.data, uids.IMPLICIT_LE).ReferencedImageBoxSequence[0].ReferencedSOPInstanceUID
        filled = await association.n_set(IMAGE_BOX, image, to_bytes(pixels(), uids.IMPLICIT_LE), context=context)
        acted = await association.n_action(FILM_BOX, film.command.sop_instance, 1, context=context)
        gone = await association.n_delete(FILM_SESSION, session, context=context)
        return [r.status for r in (printer, created, film, filled, acted, gone)]

    with dcmprscp(tmp_path / "printer") as port:
        assert Asking(port, "PRINTSCP").normalized(PRINT, work) == [0] * 6


def reference(sop_class: str, uid: str) -> Dataset:
    """An item of a reference sequence."""
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = sop_class, uid
    return made


def pixels() -> Dataset:
    """What an image box is set to."""
    image = Dataset()
    image.SamplesPerPixel, image.PhotometricInterpretation, image.Rows, image.Columns = 1, "MONOCHROME2", 64, 64
    image.PixelAspectRatio, image.BitsAllocated, image.BitsStored, image.HighBit = ["1", "1"], 8, 8, 7
    image.PixelRepresentation, image.PixelData = 0, bytes(64 * 64)
    box = Dataset()
    box.ImageBoxPosition, box.BasicGrayscaleImageSequence = 1, [image]
    return box
