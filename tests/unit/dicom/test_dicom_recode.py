"""Between implicit and explicit VR little endian: headers change, values do not; what is broken is refused."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support.dicom.elements import ITEM_END, SEQUENCE_END, UNDEFINED, explicit, implicit, item
from support.mpps.mpps import creation, ending
from support.worklist.worklist import document, encoded, read

from broker.dicom.conversion.converting import recoded
from broker.dicom.uids import EXPLICIT_LE, IMPLICIT_LE
from broker.errors import BadContent

NESTED = 0x00400270  # Scheduled Step Attributes Sequence
ID = 0x00100020
PRIVATE = 0x00091010
ITEM = 0xFFFEE000
JPEG = "1.2.840.10008.1.2.4.50"


def refused(data: bytes, source: str = IMPLICIT_LE, target: str = EXPLICIT_LE) -> str:
    with pytest.raises(BadContent) as caught:
        recoded(data, source, target)
    return caught.value.code


@pytest.mark.parametrize("keys", [creation(), ending(), document()], ids=["create", "set", "worklist"])
def test_values_stay_as_they_are(keys: dict[object, object]) -> None:
    for implicit_vr in (True, False):
        source, target = (IMPLICIT_LE, EXPLICIT_LE) if implicit_vr else (EXPLICIT_LE, IMPLICIT_LE)
        data = encoded(keys, implicit=implicit_vr, charset=["ISO_IR 192"])
        turned = recoded(data, source, target)
        assert read(turned, implicit=not implicit_vr) == read(data, implicit=implicit_vr)
        assert recoded(recoded(turned, target, source), source, target) == turned
    assert recoded(data, EXPLICIT_LE, EXPLICIT_LE) is data


def test_padding_and_odd_characters_are_no_reason_to_change_a_value() -> None:
    value = b" 0042\0\xff  "
    assert recoded(implicit(ID, value), IMPLICIT_LE, EXPLICIT_LE) == explicit(ID, b"LO", value)
    assert recoded(explicit(ID, b"LO", value), EXPLICIT_LE, IMPLICIT_LE) == implicit(ID, value)


def test_what_has_no_vr_becomes_un() -> None:
    for tag in (PRIVATE, 0x00019999):  # private, unknown
        assert recoded(implicit(tag, b"ab"), IMPLICIT_LE, EXPLICIT_LE) == explicit(tag, b"UN", b"ab")
    assert recoded(implicit(0x00090010, b"AB"), IMPLICIT_LE, EXPLICIT_LE) == explicit(0x00090010, b"LO", b"AB")
    long = b"x" * 70_000  # longer than a short VR can be
    assert recoded(implicit(ID, long), IMPLICIT_LE, EXPLICIT_LE) == explicit(ID, b"UN", long)


def test_group_lengths_are_left_out() -> None:
    assert recoded(implicit(0x00100000, b"\x0c\0\0\0") + implicit(ID, b"AB"), IMPLICIT_LE, EXPLICIT_LE) == explicit(
        ID, b"LO", b"AB"
    )


def test_sequences_of_every_form() -> None:
    head = struct.pack("<HHI", NESTED >> 16, NESTED & 0xFFFF, UNDEFINED)
    whole = head + item(implicit(ID, b"AB")) + SEQUENCE_END
    defined = implicit(NESTED, implicit(ITEM, implicit(ID, b"AB")))
    expected = struct.pack("<HH2sHI", NESTED >> 16, NESTED & 0xFFFF, b"SQ", 0, UNDEFINED)
    expected += item(explicit(ID, b"LO", b"AB")) + SEQUENCE_END
    assert recoded(whole, IMPLICIT_LE, EXPLICIT_LE) == recoded(defined, IMPLICIT_LE, EXPLICIT_LE) == expected
    assert recoded(expected, EXPLICIT_LE, IMPLICIT_LE) == whole


def test_an_unknown_sequence_stays_in_implicit_vr() -> None:
    """PS3.5 6.2.2. What implicit VR does not name but shows to be a sequence is one."""
    inner = item(implicit(ID, b"AB")) + SEQUENCE_END
    plain = struct.pack("<HHI", PRIVATE >> 16, PRIVATE & 0xFFFF, UNDEFINED) + inner
    turned = struct.pack("<HH2sHI", PRIVATE >> 16, PRIVATE & 0xFFFF, b"UN", 0, UNDEFINED) + inner
    named = struct.pack("<HH2sHI", PRIVATE >> 16, PRIVATE & 0xFFFF, b"SQ", 0, UNDEFINED)
    named += item(explicit(ID, b"LO", b"AB")) + SEQUENCE_END
    assert recoded(plain + implicit(0x00100040, b"F "), IMPLICIT_LE, EXPLICIT_LE) == named + explicit(
        0x00100040, b"CS", b"F "
    )
    assert recoded(named, EXPLICIT_LE, IMPLICIT_LE) == plain
    assert recoded(turned, EXPLICIT_LE, IMPLICIT_LE) == plain


def test_what_is_broken_is_refused() -> None:
    head = struct.pack("<HHI", NESTED >> 16, NESTED & 0xFFFF, UNDEFINED)
    assert refused(b"\x10\0\x20\0") == "truncated"
    assert refused(implicit(ID, b"AB")[:-1]) == "truncated"
    assert refused(head + item(b"")) == "truncated"
    assert refused(head + implicit(ID, b"AB")) == "bad-delimiter"
    assert refused(ITEM_END) == "bad-delimiter"
    assert refused(implicit(NESTED, implicit(ITEM, ITEM_END))) == "bad-delimiter"
    assert refused(struct.pack("<HHI", 0x10, 0x20, UNDEFINED)) == "bad-length"
    assert refused(b"\x10\0\x20\0QQ\x02\0AB", EXPLICIT_LE, IMPLICIT_LE) == "bad-vr"
    assert refused(b"\x10\0\x20\0??\x02\0AB", EXPLICIT_LE, IMPLICIT_LE) == "truncated"  # taken for implicit VR
    assert refused(b"\x10\0\x20\0UT\0\0\x02\0", EXPLICIT_LE, IMPLICIT_LE) == "truncated"
    assert refused(b"", JPEG, EXPLICIT_LE) == refused(b"", EXPLICIT_LE, JPEG) == "not-recodable"
    deep = head + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    assert refused(deep * 100_000) == "too-deep"


@settings(max_examples=300, deadline=None)
@given(some.binary(max_size=200), some.integers(0, 400), some.booleans())
def test_no_bytes_do_harm(noise: bytes, at: int, is_implicit: bool) -> None:
    data = encoded(creation(), implicit=is_implicit, charset=["ISO_IR 192"])
    spoiled = data[:at] + noise + data[at + len(noise) :]
    source, target = (IMPLICIT_LE, EXPLICIT_LE) if is_implicit else (EXPLICIT_LE, IMPLICIT_LE)
    with suppress(BadContent):
        recoded(spoiled, source, target)
