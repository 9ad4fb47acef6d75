"""Delivers objects to destinations that take them in another transfer syntax only: converted, whole, and told so."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from support.delivery.hospital import Hospital
from support.dicom.elements import SEQUENCE_END, UNDEFINED, deflated, explicit, implicit, thing
from support.dicom.objects import Encoded, ct_slice
from support.loops import run, until
from support.peers.peers import orthanc, received, sink, storescp
from support.queue.lanes import dispatching
from support.store.altering import flip_bit

from broker.delivery import object_source
from broker.delivery.converted_source import ConvertedSource
from broker.delivery.object_source import SpoiledObject
from broker.dicom import uids
from broker.dicom.conversion import converting
from broker.dicom.conversion.byte_stream import ByteStream
from broker.store.images.instances import StoredObject
from broker.store.images.spool import Spool

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
EXPLICIT, IMPLICIT, BIG, DEFLATED = uids.EXPLICIT_LE, uids.IMPLICIT_LE, uids.EXPLICIT_BE, uids.DEFLATED


def turned(item: Encoded, target: str) -> bytes:
    """An object in another syntax, made by hand of the same pieces."""
    pieces = [item.data]
    facts = converting.surveyed(ByteStream.of_pieces(iter(pieces)), item.transfer_syntax, target)
    return b"".join(converting.converted(ByteStream.of_pieces(iter(pieces)), item.transfer_syntax, target, facts))


def forms(size: int = 1000) -> list[Encoded]:
    """One slice in each syntax that is not compressed, each an object of its own."""
    found = []
    for syntax in (EXPLICIT, IMPLICIT, BIG, DEFLATED):
        item = ct_slice(size)
        data = item.data if syntax in (EXPLICIT, DEFLATED) else turned(item, syntax)
        data = deflated(data) if syntax == DEFLATED else data
        found.append(Encoded(item.sop_class, item.sop_instance, syntax, data))
    return found


def read(data: bytes, syntax: str) -> Dataset:
    ds = read_dataset(io.BytesIO(data), syntax == IMPLICIT, syntax != BIG)
    ds.PixelData = bytes(ds.PixelData) if syntax != BIG else swapped(ds.PixelData)
    return ds


def swapped(words: bytes) -> bytes:
    return b"".join(words[at : at + 2][::-1] for at in range(0, len(words), 2))


def same(data: bytes, syntax: str, item: Encoded) -> bool:
    """What came in a syntax has the values of an object."""
    original = item.data
    if item.transfer_syntax == DEFLATED:
        original = zlib.decompressobj(-15).decompress(original)
    plain = EXPLICIT if item.transfer_syntax == DEFLATED else item.transfer_syntax
    before, after = read(original, plain), read(data, syntax)
    return {e.tag: e.value for e in before} == {e.tag: e.value for e in after}


def only(folder: Path, syntax: str) -> tuple[str, ...]:
    """Options by which storescp takes a single transfer syntax."""
    path = folder / "only.cfg"
    path.write_text(
        f"[[TransferSyntaxes]]\n[Only]\nTransferSyntax1 = {syntax}\n"
        f"[[PresentationContexts]]\n[Classes]\nPresentationContext1 = {CT}\\Only\n"
        "[[Profiles]]\n[Default]\nPresentationContexts = Classes\n"
    )
    return "-xf", str(path), "Default"


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG, EXPLICIT])
def test_storescp_gets_each_object_in_the_one_syntax_that_it_takes(
    hospital: Hospital, tmp_path: Path, syntax: str
) -> None:
    items = [hospital.take(item) for item in [*forms(), *forms(2_500_000)]]
    counted = conversions(syntax)
    with storescp(tmp_path / "pacs", *(["+xi"] if syntax == IMPLICIT else only(tmp_path, syntax))) as port:
        hospital.destination(port)
        hospital.until_settled(*["done"] * 8)
        arrived = received(tmp_path / "pacs")
    for item in items:
        assert same(arrived[item.sop_instance], syntax, item), item.transfer_syntax
        assert item.transfer_syntax != syntax or arrived[item.sop_instance] == item.data
    told = ["" if name == NAMES[syntax] else f"converted-{name}-to-{NAMES[syntax]}" for name in NAMES.values()]
    assert hospital.queue.errors() == told * 2
    grown = [now - before for now, before in zip(conversions(syntax), counted, strict=True)]
    assert grown == [2 if note else 0 for note in told]


NAMES = {EXPLICIT: "explicit-le", IMPLICIT: "implicit-le", BIG: "explicit-be", DEFLATED: "deflated"}


def conversions(target: str) -> list[float]:
    """How many objects node `pacs` took in a syntax, by the one in which they came."""
    labels = [{"node": "pacs", "source": name, "target": NAMES[target]} for name in NAMES.values()]
    return [REGISTRY.get_sample_value("broker_objects_converted_total", one) or 0 for one in labels]


@pytest.mark.parametrize("option", ["+x=", "+xb", "+xe"])
def test_a_destination_that_takes_several_syntaxes_gets_the_bytes_as_they_came(
    hospital: Hospital, tmp_path: Path, option: str
) -> None:
    """Whatever it prefers: what needs no work is proposed in a context of its own."""
    items = [hospital.take(item) for item in forms()[:3]]
    with storescp(tmp_path / "pacs", option) as port:
        hospital.destination(port)
        hospital.until_settled(*["done"] * 3)
        assert received(tmp_path / "pacs") == {item.sop_instance: item.data for item in items}
    assert hospital.queue.errors() == [""] * 3


def test_a_warning_stands_in_place_of_the_note_and_the_conversion_is_counted(hospital: Hospital) -> None:
    hospital.slices(1)
    counted = conversions(IMPLICIT)
    ae = AE("PACS")
    ae.add_supported_context(CT, [IMPLICIT])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0xB000)])
    hospital.destination(server.server_address[1])
    hospital.until_settled("done")
    server.shutdown()
    assert hospital.queue.errors() == ["status-B000"]
    assert sum(conversions(IMPLICIT)) == sum(counted) + 1


def test_orthanc_that_takes_implicit_vr_only(hospital: Hospital, tmp_path: Path) -> None:
    items = [hospital.take(item) for item in forms()]
    accepted = {"AcceptedTransferSyntaxes": [IMPLICIT], "CheckedTransferSyntaxes": []}
    with orthanc(tmp_path / "orthanc", **accepted) as peer:
        hospital.destination(peer.dicom, ae_title="ORTHANC")
        hospital.until_settled(*["done"] * 4)
        assert peer.count() == 4
        found = {peer.get(f"/instances/{one}/simplified-tags")["SOPInstanceUID"] for one in peer.get("/instances")}
    assert found == {item.sop_instance for item in items}


def test_a_destination_that_changes_its_mind_gets_the_object_in_what_it_takes_then(hospital: Hospital) -> None:
    """It ends an idle association as it is used again, and takes implicit VR only on the next one."""
    first = hospital.slices(1)
    arrived: list[tuple[str, str, bytes]] = []

    def answer(event: Any) -> int:
        if len(arrived) == 1 and str(event.context.transfer_syntax) == EXPLICIT:
            server.contexts = [build_context(CT, [IMPLICIT])]
            event.assoc.abort()
        else:
            request = event.request
            arrived.append((request.AffectedSOPInstanceUID, event.context.transfer_syntax, request.DataSet.getvalue()))
        return 0

    ae = AE("PACS")
    ae.add_supported_context(CT, [EXPLICIT])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    hospital.destination(server.server_address[1])

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery) as dispatcher:
            await until(lambda: hospital.states() == ["done"] and not dispatcher.busy, "the lane has ended")
            second.extend(await asyncio.to_thread(hospital.slices, 1))
            dispatcher.wake()
            await until(lambda: hospital.states() == ["done"] * 2, "both are done")
        await delivery.close()

    second: list[Encoded] = []
    run(work())
    server.shutdown()
    assert arrived == [
        (first[0].sop_instance, EXPLICIT, first[0].data),
        (second[0].sop_instance, IMPLICIT, turned(second[0], IMPLICIT)),
    ]
    assert hospital.queue.errors() == ["", "converted-explicit-le-to-implicit-le"]


@pytest.mark.parametrize("kept", ["in one piece", "in pieces", "in the database"])
@pytest.mark.parametrize("place", [0, 700, -1])
def test_altered_bytes_are_not_converted_either(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, kept: str, place: int
) -> None:
    if kept == "in pieces":
        monkeypatch.setattr(object_source, "CHUNK", 400)
        monkeypatch.setattr(converting, "PIECE", 128)
    hospital.reception.small = 1 << 20 if kept == "in the database" else 0
    items = hospital.slices(3)
    flip_bit(hospital.database, hospital.spool, 2, place)
    with sink(CT, [IMPLICIT]) as (port, arrived):
        hospital.destination(port)
        hospital.until_settled("done", "held", "done")
    note = "converted-explicit-le-to-implicit-le"
    errors = hospital.queue.errors()
    assert errors[::2] == [note, note]
    assert errors[1] == "file-altered" or (place == 0 and errors[1] == "not-convertible" and kept == "in pieces")
    assert {uid: one.data for uid, one in arrived.items()} == {i.sop_instance: turned(i, IMPLICIT) for i in items[::2]}


def test_what_cannot_be_converted_is_held_with_words_and_costs_the_others_nothing(hospital: Hospital) -> None:
    fragments = implicit(0xFFFEE000, b"abcd") + SEQUENCE_END
    hidden = thing(explicit(0x7FE00010, b"OB", b"", UNDEFINED) + fragments)  # compressed, in a syntax that is not
    compressed = replace(thing(explicit(0x7FE00010, b"OB", b"", UNDEFINED) + fragments), transfer_syntax=JPEG)
    strange = thing(explicit(0x00091001, b"ZZ", b"ab"))
    for item in (hidden, compressed, strange):
        hospital.take(item)
    good = hospital.slices(1)
    with sink(CT, [IMPLICIT]) as (port, arrived):
        hospital.destination(port)
        hospital.until_settled("held", "held", "held", "done")
    assert hospital.queue.errors()[:3] == ["not-convertible", "no-presentation-context", "not-convertible"]
    assert list(arrived) == [good[0].sop_instance]
    assert hospital.queue.breaker()[0] == 0


def test_more_classes_than_contexts_fit_into_an_association(hospital: Hospital) -> None:
    """60 SOP classes with three syntaxes each: all arrive, over several associations."""
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts[:60]]
    for uid in classes:
        hospital.slices(1, SOPClassUID=uid)
    proposed: list[int] = []

    def requested(event: Any) -> None:
        proposed.append(len(event.assoc.requestor.primitive.presentation_context_definition_list))

    ae = AE("PACS")
    for uid in classes[:-1]:
        ae.add_supported_context(uid, [IMPLICIT])
    handlers = [(evt.EVT_C_STORE, lambda event: 0), (evt.EVT_REQUESTED, requested)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    hospital.destination(server.server_address[1])
    hospital.until_settled(*["done"] * 59, "held")
    server.shutdown()
    assert hospital.queue.errors()[-1] == "no-presentation-context"
    assert max(proposed) == 128
    assert len(proposed) == 2


# --- big objects -------------------------------------------------------------------------------------------------


def stored(folder: Path, size: int, change: bool = False) -> tuple[Spool, StoredObject]:
    """A slice with so many bytes of pixels in a spool file with holes."""
    head = ct_slice(8).data[:-20]
    pixels = explicit(0x7FE00010, b"OW", b"", size)
    spool = Spool(folder, ahead=0)
    file = spool.create(b"")
    digest = sha256()
    for part in (head, pixels):
        file.write(part)
        digest.update(part)
    with file.path.open("r+b") as hole:
        hole.truncate(len(head + pixels) + size)
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        digest.update(block)
    file.close()
    item = StoredObject(
        id=1, sop_instance_uid="1.2", sop_class_uid=CT, transfer_syntax_uid=EXPLICIT, path=file.name,
        data_offset=0, data_length=len(head + pixels) + size, digest=b"" if change else digest.digest(), content=None,
    )  # fmt: skip
    spool.close()
    return spool, item


@pytest.mark.parametrize("target", [IMPLICIT, BIG])
def test_a_big_object_is_converted_in_bounded_memory(tmp_path: Path, target: str) -> None:
    spool, item = stored(tmp_path / "spool", 64 << 20)
    source = ConvertedSource(spool, item, target)
    tracemalloc.start()
    assert source.begin() == ""
    assert source.whole is None
    length = sum(map(len, source.pieces()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(length - item.data_length) < 200
    assert peak < 12 << 20


def test_the_last_piece_of_a_big_object_waits_for_its_digest(tmp_path: Path) -> None:
    spool, item = stored(tmp_path / "spool", 4 << 20, change=True)
    source = ConvertedSource(spool, item, IMPLICIT)
    assert source.begin() == ""
    got: list[int] = []
    with pytest.raises(SpoiledObject, match="file-altered"):
        got.extend(map(len, source.pieces()))
    assert 1 << 20 < sum(got) < item.data_length - (1 << 20)
