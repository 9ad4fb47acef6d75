"""What the table of offers says is what the DICOM door accepts: every SOP class known, unknown and private ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom._uid_dict import UID_dictionary
from support.dicom.raw import RawScu
from support.service.site import Site

from broker.dicom import uids
from broker.dicom.dimse.served import served

PRIVATE, UNKNOWN = "1.2.276.0.7230010.3.1.0.1", "2.999.7.7"
MAX = 128
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("offers")
    with Site(folder, config={"dicom": {"private_sop_classes": [PRIVATE]}}) as running:
        yield running


def _answers(body: bytes) -> dict[int, tuple[int, str]]:
    """Result and transfer syntax of each context of an A-ASSOCIATE-AC (PS3.8 table 9-18)."""
    answers, position = {}, 68
    while position < len(body):
        kind, _, length = struct.unpack_from(">BBH", body, position)
        data = body[position + 4 : position + 4 + length]
        if kind == 0x21:
            (size,) = struct.unpack_from(">H", data, 6)
            answers[data[0]] = data[2], data[8 : 8 + size].decode()
        position += 4 + length
    return answers


def _accepted(port: int, pairs: list[Pair]) -> set[Pair]:
    accepted = set()
    for start in range(0, len(pairs), MAX):
        chunk = pairs[start : start + MAX]
        with RawScu(port) as peer:
            kind, body = peer.associate(chunk)
            assert kind == 2
            answers = _answers(body)
            assert set(answers) == {2 * n + 1 for n in range(len(chunk))}
            for number, pair in enumerate(chunk):
                result, syntax = answers[2 * number + 1]
                if result == 0:
                    assert syntax == pair[1]
                    accepted.add(pair)
            peer.release()
    return accepted


def test_the_door_accepts_what_the_table_says_and_nothing_else(site: Site) -> None:
    classes = {uid for uid, entry in UID_dictionary.items() if "SOP Class" in entry[1]}
    classes |= {uid for offer in served() for uid in offer.classes} | {PRIVATE, UNKNOWN}
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    syntaxes = known | uids.TRANSFER_SYNTAXES | {UNKNOWN}
    said = {(uid, syntax) for offer in served((PRIVATE,)) for uid in offer.classes for syntax in offer.syntaxes}
    pairs = sorted((uid, syntax) for uid in classes for syntax in syntaxes)
    assert said < set(pairs)
    assert _accepted(site.dicom, pairs) == said
    assert not any(uid == UNKNOWN or syntax == UNKNOWN for uid, syntax in said)
