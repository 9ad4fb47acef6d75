"""What differs between two texts: by lines with some around, and in changed lines by words."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from broker.versions.text_difference import MOST, LineKind, text_difference


def shown(before: str, after: str) -> list[list[str]]:
    signs = {LineKind.SAME: " ", LineKind.REMOVED: "-", LineKind.ADDED: "+"}
    return [[signs[line.kind] + line.text for line in place] for place in text_difference(before, after)]


def test_same_texts_have_no_difference() -> None:
    assert text_difference("a\nb\n", "a\nb\n") == []


def test_lines_around_a_difference_are_shown_and_far_ones_are_parted() -> None:
    old = "\n".join("abcdefghijklmnop")
    new = old.replace("b", "B").replace("o", "")
    assert shown(old, new) == [
        [" a", "-b", "+B", " c", " d", " e"],
        [" l", " m", " n", "-o", "+", " p"],
    ]


def test_near_differences_stand_in_one_place() -> None:
    assert shown("a\nb\nc\nd", "a\nc\nd\ne") == [[" a", "-b", " c", " d", "+e"]]


def test_lines_have_their_numbers() -> None:
    (place,) = text_difference("x\na\nb", "y\nz\na\nb")
    assert [(line.before, line.after) for line in place] == [(1, 0), (0, 1), (0, 2), (2, 3), (3, 4)]


def test_a_changed_line_says_which_words() -> None:
    (place,) = text_difference('TDM = "CT"', 'TDM = "MR"')
    assert [[(part.text, part.changed) for part in line.parts] for line in place] == [
        [('TDM = "', False), ("CT", True), ('"', False)],
        [('TDM = "', False), ("MR", True), ('"', False)],
    ]
    (other,) = text_difference("abc", "wholly another line")
    assert [len(line.parts) for line in other] == [1, 1]


def test_hostile_texts_take_no_long_time() -> None:
    began = time.perf_counter()
    many = "a\n" * (MOST * 20)
    text_difference(many, many.replace("a", "b"))
    text_difference("a\n" * MOST, "b\na\n" * (MOST // 2))
    text_difference("x" * 1_000_000, "y" * 1_000_000)
    assert time.perf_counter() - began < 20


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_nothing_is_lost(old: list[str], new: list[str]) -> None:
    """All lines that are not shown are the same in both texts."""
    lines = [line for place in text_difference("\n".join(old), "\n".join(new)) for line in place]
    assert [line.text for line in lines if line.before] == [old[line.before - 1] for line in lines if line.before]
    assert [line.text for line in lines if line.after] == [new[line.after - 1] for line in lines if line.after]
    hidden_old = [text for number, text in enumerate(old, 1) if number not in {line.before for line in lines}]
    hidden_new = [text for number, text in enumerate(new, 1) if number not in {line.after for line in lines}]
    assert hidden_old == hidden_new
