"""Tokens of a walk: what is entered, how the end of each item and sequence comes, where the bounds are."""

from __future__ import annotations

import pytest
from support.dicom.elements import ITEM_END, SEQUENCE_END, UNDEFINED, explicit, implicit, item, nested, sequence

from broker.dicom.dataset import encoding
from broker.dicom.dataset.encoding import ITEM
from broker.dicom.dataset.walk import MAX_DEPTH, OPEN, Token, Tokens
from broker.errors import BadContent

ID, CODES, PRIVATE = 0x00100020, 0x00400275, 0x00091001
NUMBER = explicit(ID, b"LO", b"12")


def tokens(data: bytes, *, is_explicit: bool = True, limit: int = 1000) -> list[Token]:
    """All tokens, the VR as it stands, CODES known as a sequence in implicit VR."""

    def resolve(tag: int, vr: bytes, length: int) -> bytes:
        return vr or (b"SQ" if tag == CODES or length == UNDEFINED else b"LO")

    return list(Tokens(data, explicit=is_explicit, max_elements=limit, resolve=resolve))


def tags(data: bytes, *, is_explicit: bool = True) -> list[int]:
    return [tag for tag, *_ in tokens(data, is_explicit=is_explicit)]


def refused(data: bytes, *, limit: int = 1000) -> str:
    with pytest.raises(BadContent) as caught:
        tokens(data, limit=limit)
    return caught.value.code


def test_an_element_is_told_with_the_place_of_its_value() -> None:
    data = NUMBER + explicit(PRIVATE, b"UT", b"long")
    assert tokens(data) == [(ID, b"LO", 8, 10), (PRIVATE, b"UT", 22, 26)]


@pytest.mark.parametrize(
    "data",
    [
        sequence(item(NUMBER)),
        explicit(CODES, b"SQ", implicit(ITEM, NUMBER)),
        explicit(CODES, b"SQ", item(NUMBER)),
        explicit(CODES, b"SQ", b"", UNDEFINED) + implicit(ITEM, NUMBER) + SEQUENCE_END,
    ],
    ids=["undefined", "defined", "undefined in defined", "defined in undefined"],
)
def test_a_sequence_of_every_form_comes_as_the_same_tokens(data: bytes) -> None:
    assert tags(data) == [CODES, ITEM, ID, encoding.ITEM_END, encoding.SEQUENCE_END]
    assert [stop for _, _, _, stop in tokens(data)][:2] == [OPEN, OPEN]


def test_an_empty_sequence_ends_at_once() -> None:
    assert tags(explicit(CODES, b"SQ", b"")) == [CODES, encoding.SEQUENCE_END]
    assert tags(sequence(b"")) == [CODES, encoding.SEQUENCE_END]


def test_an_unknown_sequence_is_in_implicit_vr_inside() -> None:
    """PS3.5 6.2.2."""
    data = explicit(PRIVATE, b"UN", b"", UNDEFINED) + item(implicit(ID, b"12")) + SEQUENCE_END
    assert tags(data) == [PRIVATE, ITEM, ID, encoding.ITEM_END, encoding.SEQUENCE_END]


def test_what_resolve_says_decides_in_implicit_vr() -> None:
    data = implicit(CODES, implicit(ITEM, implicit(ID, b"12")))
    assert tags(data, is_explicit=False) == [CODES, ITEM, ID, encoding.ITEM_END, encoding.SEQUENCE_END]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (NUMBER[:-1], "truncated"),
        (NUMBER[:5], "truncated"),
        (explicit(ID, b"XX", b""), "bad-vr"),
        (ITEM_END, "bad-delimiter"),
        (explicit(CODES, b"SQ", NUMBER), "bad-delimiter"),
        (explicit(CODES, b"SQ", implicit(ITEM, NUMBER, 50)), "truncated"),
        (explicit(CODES, b"SQ", implicit(ITEM, ITEM_END)), "bad-delimiter"),
        (sequence(implicit(ITEM, b"", UNDEFINED) + NUMBER), "bad-delimiter"),
        (nested(MAX_DEPTH + 1), "too-deep"),
    ],
)
def test_what_is_broken_is_refused(data: bytes, code: str) -> None:
    assert refused(data) == code


def test_bounds() -> None:
    assert len(tokens(nested(MAX_DEPTH))) == 4 * MAX_DEPTH
    assert len(tokens(NUMBER * 20, limit=20)) == 20
    assert refused(NUMBER * 21, limit=20) == "too-many-elements"
    assert refused(sequence(item(b"") * 20), limit=20) == "too-many-elements"
