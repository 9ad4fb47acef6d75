from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.hl7.mllp.framing import Frame, Framer, Oversize, wrap

A, B = b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\rPID|2\r"


def run(data: bytes, *cuts: int) -> list[Frame | Oversize]:
    framer, out, last = Framer(1000), [], 0
    for cut in (*cuts, len(data)):
        out += framer.feed(data[last:cut])
        last = cut
    return out + framer.finish()


@pytest.mark.parametrize("cut", range(len(wrap(A) + wrap(B)) + 1))
def test_two_frames_cut_anywhere(cut: int) -> None:
    assert [frame.payload for frame in run(wrap(A) + wrap(B), cut)] == [A, B]


@given(st.lists(st.binary(max_size=50).filter(lambda m: not set(m) & {0x0B, 0x1C}), max_size=5), st.data())
def test_frames_survive_any_cutting(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(wrap(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert run(stream, *cuts) == [Frame(message) for message in messages]


@given(st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"x", b"MSH"]), max_size=40), st.integers(0, 60))
def test_cutting_never_changes_payloads(parts: list[bytes], cut: int) -> None:
    stream = b"".join(parts)
    whole, halves = run(stream), run(stream, min(cut, len(stream)))
    assert [f.payload for f in whole] == [f.payload for f in halves]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n\0 " + wrap(A),  # noise before
        b"\x0b" + wrap(A),  # doubled VT
        b"\x0b" + A + b"\x1c",  # no CR, end of connection
        b"\x0b" + A + b"\x1c\n",  # LF after FS
        wrap(A) + b"\n",  # LF after the end block
        wrap(A) + b"\x1c\r",  # doubled end block
    ],
)
def test_tolerated(stream: bytes) -> None:
    assert run(stream) == [Frame(A)]


def test_end_block_without_cr_before_next_frame() -> None:
    assert [f.payload for f in run(b"\x0b" + A + b"\x1c" + wrap(B))] == [A, B]  # type: ignore[union-attr]


def test_single_fs_is_content() -> None:
    assert run(wrap(b"a\x1cb\x1c\x1cc")) == [Frame(b"a\x1cb\x1c\x1cc")]


def test_embedded_end_block_marks_the_frame() -> None:
    assert run(wrap(b"MSH|a\x1c\rrest|b\r"))[0] == Frame(b"MSH|a", truncated=True)


def test_stray_bytes_are_counted() -> None:
    framer = Framer(1000)
    framer.feed(b"\r\njunk")
    assert (framer.tolerated, framer.stray) == ({"noise"}, 4)
    framer.feed(wrap(A))
    assert framer.stray == 0


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        (wrap(A) + wrap(B), set()), (b"\0" + wrap(A), {"noise"}), (wrap(A) + b"\n", {"noise"}),
        (b"\x0b" + wrap(A), {"doubled-start"}), (b"\x0b" + A + b"\x1c" + wrap(B), {"end-without-cr"}),
        (b"\x0b" + A + b"\x1c", {"end-without-cr"}), (b"\x0b" + A + b"\x1c\n", {"lf-after-end"}),
        (b"\x0bcut", set()), (A + b"\x1c\r", {"noise", "no-start-block"}),
        (A + wrap(B), {"noise", "no-start-block", "lost"}),
    ],
)  # fmt: skip
def test_what_no_sender_should_do_is_known(data: bytes, faults: set[str]) -> None:
    framer = Framer(1000)
    framer.feed(data)
    framer.finish()
    assert framer.tolerated == faults


def test_oversize_gives_its_head_once() -> None:
    framer = Framer(10_000)
    found = [item for _ in range(100) for item in framer.feed(b"\x0b" + b"M" * 999)]
    assert found == [Oversize((b"M" * 999 + b"\x0b" + b"M" * 4096)[:999] + found[0].head[999:])]  # type: ignore[union-attr]
    assert len(found[0].head) == 4096  # type: ignore[union-attr]
    assert framer.feed(wrap(A)) == []


def test_limit_is_exact() -> None:
    assert Framer(4).feed(wrap(b"abcd")) == [Frame(b"abcd")]
    assert Framer(3).feed(wrap(b"abcd")) == [Oversize(b"abcd")]


def test_linear_time_for_hostile_bytes() -> None:
    framer = Framer(10**7)
    started = time.process_time()
    framer.feed(b"\x0b")
    for _ in range(2000):
        framer.feed(b"\x1cx" * 500)
    assert time.process_time() - started < 5
    assert framer.feed(b"\x1c\r")[0] == Frame(b"\x1cx" * 1_000_000)


@pytest.mark.parametrize("cut", range(len(A) + 3))
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\xef\xbb\xbf"])
def test_a_message_without_vt_is_one_wherever_it_is_cut(cut: int, before: bytes) -> None:
    found = run(before + A + b"\x1c\r", cut)
    assert [frame.payload.removeprefix(b"\xef\xbb\xbf") for frame in found] == [A]  # type: ignore[union-attr]


def test_messages_without_vt_one_after_the_other() -> None:
    assert run(A + b"\x1c\r" + B + b"\x1c\r" + wrap(A)) == [Frame(A), Frame(B), Frame(A)]


def test_text_without_an_end_is_lost_before_a_frame_and_said_so() -> None:
    framer = Framer(1000)
    assert framer.feed(A + wrap(B)) == [Frame(B)]
    assert "lost" in framer.tolerated


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n", b"MSHA|x", b"PID|1\r\x1c\r", b"MS", b"MSH", b"MSH\rx"])
def test_other_text_is_no_message(text: bytes) -> None:
    framer = Framer(1000)
    assert framer.feed(text) + framer.finish() == []
    assert framer.unframed
    assert framer.feed(wrap(A)) == [Frame(A)]
    assert not framer.unframed


def test_the_rest_of_a_message_that_an_end_block_cuts_is_no_message() -> None:
    assert run(wrap(b"MSH|a\x1c\rOBX|b\r"))[0] == Frame(b"MSH|a", truncated=True)


def test_a_message_without_vt_is_bounded_as_any() -> None:
    found = Framer(10).feed(b"MSH|" + b"x" * 100)
    assert isinstance(found[0], Oversize)
