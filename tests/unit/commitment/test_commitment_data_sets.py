"""Data sets of storage commitment, written and read by both codecs (PS3.4 tables J.3-1 and J.3-2)."""

from __future__ import annotations

import random
import time

import pytest
from pydicom.dataset import Dataset
from support.dicom.archive import from_bytes, to_bytes
from support.dicom.commitments import request, told

from broker.commitment.data_sets import read_report, read_request, write_report, write_request
from broker.dicom import uids
from broker.errors import BadContent
from broker.store.commitments import packing
from broker.store.commitments.states import ObjectReference

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SYNTAXES = (uids.IMPLICIT_LE, uids.EXPLICIT_LE)
THREE = [ObjectReference(CT, "1.2.1"), ObjectReference(MR, "1.2.2"), ObjectReference(CT, "1.2.30")]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_request_is_what_pydicom_reads_and_writes(syntax: str) -> None:
    read = from_bytes(write_request("2.25.7", THREE, syntax), syntax)
    assert read.TransactionUID == "2.25.7"
    named = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in read.ReferencedSOPSequence]
    assert named == [tuple(one) for one in THREE]
    back = read_request(to_bytes(request([*named, named[0]], "2.25.7"), syntax), syntax)
    assert (back.transaction_uid, list(back.references)) == ("2.25.7", THREE)  # each object once


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("verdict", [[0, 0, 0], [0, 0x0112, 0], [0x0110, 0x0131, 0x0213]])
def test_a_report_names_each_object_once(syntax: str, verdict: list[int]) -> None:
    kind, data = write_report("2.25.7", THREE, verdict, syntax)
    said = told((kind, from_bytes(data, syntax)))
    assert said == {one.sop_instance_uid: reason for one, reason in zip(THREE, verdict, strict=True)}
    result = read_report(data, syntax)
    assert (result.transaction_uid, dict(result.results)) == ("2.25.7", dict(zip(THREE, verdict, strict=True)))


def test_an_object_in_both_lists_of_a_report_has_failed() -> None:
    report = request([(CT, "1.2.1"), (CT, "1.2.2")], "2.25.7")
    failed = Dataset()
    failed.ReferencedSOPClassUID, failed.ReferencedSOPInstanceUID, failed.FailureReason = CT, "1.2.1", 0x0112
    report.FailedSOPSequence = [failed]
    results = read_report(to_bytes(report, uids.IMPLICIT_LE), uids.IMPLICIT_LE).results
    assert list(results.values()) == [0x0112, 0]


def broken(**changes: object) -> bytes:
    asked = request([(CT, "1.2.1")], "2.25.7")
    for keyword, value in changes.items():
        if value is None:
            delattr(asked, keyword)
        else:
            setattr(asked, keyword, value)
    return to_bytes(asked, uids.IMPLICIT_LE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no-objects"),
        (b"\x08\0\x95", "identifier-unreadable"),
        (broken(TransactionUID=None), "no-transaction-uid"),
        (broken(TransactionUID=""), "no-transaction-uid"),
        (broken(ReferencedSOPSequence=None), "no-objects"),
        (broken(ReferencedSOPSequence=[]), "no-objects"),
        (broken(ReferencedSOPSequence=[Dataset()]), "no-object-uid"),
        (write_request("2.25.7", [ObjectReference(CT, "../../etc")], uids.IMPLICIT_LE), "no-object-uid"),
        (write_request("2.25.7", [ObjectReference(CT, "1." + "2" * 70)], uids.IMPLICIT_LE), "no-object-uid"),
        (
            write_request("2.25.7", [ObjectReference(CT, f"1.{n}") for n in range(packing.MOST + 1)], uids.EXPLICIT_LE),
            "too-many-objects",
        ),
    ],
)
def test_what_is_no_request_is_refused_by_a_code(data: bytes, code: str) -> None:
    syntax = uids.EXPLICIT_LE if code == "too-many-objects" else uids.IMPLICIT_LE
    with pytest.raises(BadContent) as refused:
        read_request(data, syntax)
    assert refused.value.code == code


def test_fifty_thousand_objects_are_read_and_packed_small() -> None:
    many = [ObjectReference(CT, f"1.2.840.113619.2.55.3.2831868886.{n}.{n * n}") for n in range(packing.MOST)]
    data = write_request("2.25.7", many, uids.EXPLICIT_LE)
    began = time.process_time()
    back = read_request(data, uids.EXPLICIT_LE)
    assert time.process_time() - began < 10
    assert list(back.references) == many
    packed, _ = packing.pack_references(many)
    assert len(packed) < 1_500_000
    assert packing.unpack_references(packed) == many


def test_numbers_are_packed() -> None:
    numbers = [random.Random(1).randrange(-1, 0xFFFF) for _ in range(1000)]
    assert packing.unpack_numbers(packing.pack_numbers(numbers)) == numbers
    assert packing.unpack_numbers(b"") == []
