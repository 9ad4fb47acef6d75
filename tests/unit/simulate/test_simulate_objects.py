"""The objects of the virtual modalities, read back by pydicom and walked by the broker."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.rle import _rle_decode_frame
from pydicom.sequence import Sequence

from broker.dicom import uids
from broker.dicom.dataset.scan import scan
from broker.simulate import jpeg
from broker.simulate.modality import worklist_query
from broker.simulate.objects import Encoded, encode, examination
from broker.simulate.stations import JPEG_BASELINE, RLE_LOSSLESS, STATIONS, Station

NOW = datetime(2030, 3, 12, 8, 15, 0, tzinfo=UTC)
NAME = "SHIKEN^Hanako=試験^花子=しけん^はなこ"


def _answer() -> Dataset:
    step = Dataset()
    step.ScheduledProcedureStepID = "SPS1"
    step.ScheduledProcedureStepDescription = "Schädel"
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    answer.PatientName, answer.PatientID = NAME, "SIM-1"
    answer.AccessionNumber, answer.StudyInstanceUID = "ACC1", "2.999.5"
    answer.RequestedProcedureID = "RP1"
    answer.ScheduledProcedureStepSequence = Sequence([step])
    return answer


def _made(station: Station) -> list[Encoded]:
    return list(examination(_answer(), station, NOW))


def _read(item: Encoded) -> Dataset:
    data = item.data
    if item.transfer_syntax == uids.DEFLATED:
        data = zlib.decompress(data, wbits=-15)
    implicit, little = item.transfer_syntax == uids.IMPLICIT_LE, item.transfer_syntax != uids.EXPLICIT_BE
    return read_dataset(BytesIO(data), is_implicit_VR=implicit, is_little_endian=little, bytelength=len(data))


def _first(transfer_syntax: str, sop_class: str = "") -> Dataset:
    for item in (item for station in STATIONS for item in _made(station)):
        if item.transfer_syntax == transfer_syntax and sop_class in ("", item.sop_class):
            return _read(item)
    raise LookupError(transfer_syntax)


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.modality)
def test_identity_comes_from_the_worklist_answer(station: Station) -> None:
    made = _made(station)
    assert len(made) == station.objects
    assert len({item.sop_instance for item in made}) == station.objects
    for item in made:
        found = _read(item)
        assert (str(found.PatientName), found.PatientID) == (NAME, "SIM-1")
        assert (found.AccessionNumber, found.StudyInstanceUID) == ("ACC1", "2.999.5")
        assert found.RequestAttributesSequence[0].ScheduledProcedureStepID == "SPS1"
        assert (found.SOPInstanceUID, found.SOPClassUID) == (item.sop_instance, item.sop_class)
        assert found.SeriesDescription == "Schädel"
        assert found.StationName == station.ae_title


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.modality)
def test_the_broker_can_walk_them(station: Station) -> None:
    for item in _made(station):
        assert len(item.data) % 2 == 0
        found = scan(item.data, item.transfer_syntax, {0x00080018})
        assert found.big_endian == (item.transfer_syntax == uids.EXPLICIT_BE)
        assert found.elements[0x00080018].value.rstrip(b"\0").decode() == item.sop_instance


def test_all_families_of_transfer_syntaxes_are_there() -> None:
    used = {series.transfer_syntax for station in STATIONS for series in station.series}
    assert used == {*uids.UNCOMPRESSED, RLE_LOSSLESS, JPEG_BASELINE}
    assert all(series.sop_class in uids.STORAGE_CLASSES for station in STATIONS for series in station.series)


@pytest.mark.parametrize(("syntax", "order"), [(uids.EXPLICIT_LE, "little"), (uids.EXPLICIT_BE, "big")])
def test_native_pixels_are_words_of_12_bits(syntax: str, order: str) -> None:
    image = _first(syntax)
    assert len(image.PixelData) == image.Rows * image.Columns * 2
    high = image.PixelData[1 if order == "little" else 0 :: 2]
    assert max(high) == 0x0F


def test_rle_unpacks_to_the_whole_image() -> None:
    image = _first(RLE_LOSSLESS)
    frame = next(generate_frames(image.PixelData, number_of_frames=1))
    assert len(_rle_decode_frame(frame, image.Rows, image.Columns, 1, 16)) == image.Rows * image.Columns * 2


def test_cine_loop_has_all_its_frames() -> None:
    image = _first(JPEG_BASELINE)
    frames = list(generate_frames(image.PixelData, number_of_frames=image.NumberOfFrames))
    assert len(frames) == image.NumberOfFrames == 12
    assert len(set(frames)) == 12
    assert all(frame.startswith(b"\xff\xd8\xff") for frame in frames)


def test_jpeg_keeps_the_level_of_every_block() -> None:
    levels = [128, 0, 255, 255, 1, 127, 129, 200, 13, 250, 64, 96]
    image = jpeg.frame(24, 32, levels)
    assert image.endswith(b"\xff\xd9")
    start = image.index(b"\xff\xda") + 10
    data = image[start:-2].replace(b"\xff\x00", b"\xff")
    bits = "".join(f"{byte:08b}" for byte in data)
    assert _decoded(bits, len(levels)) == levels


def _decoded(bits: str, count: int) -> list[int]:
    """Levels of flat blocks, by the standard table of DC code lengths (T.81 table K.3)."""
    codes = {
        "00": 0, "010": 1, "011": 2, "100": 3, "101": 4, "110": 5, "1110": 6, "11110": 7, "111110": 8,
    }  # fmt: skip
    found, level, position = [], 128, 0
    for _ in range(count):
        code = next(code for code in codes if bits.startswith(code, position))
        position += len(code)
        size = codes[code]
        extra = bits[position : position + size]
        position += size
        if size:
            level += int(extra, 2) if extra[0] == "1" else int(extra, 2) - (1 << size) + 1
        assert bits[position] == "0"  # end of block
        position += 1
        found.append(level)
    assert len(bits) - position < 8
    assert set(bits[position:]) <= {"1"}
    return found


def test_the_query_names_station_date_and_modality() -> None:
    day = NOW.date()
    data = encode(worklist_query(STATIONS[0], day), uids.IMPLICIT_LE)
    query = read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True, bytelength=len(data))
    step = query.ScheduledProcedureStepSequence[0]
    assert step.ScheduledStationAETitle == STATIONS[0].ae_title
    assert step.ScheduledProcedureStepStartDate == "20300312"
    assert step.Modality == STATIONS[0].modality
    assert "PatientName" in query
    assert not query.PatientName
