"""UL-01 and UL-04 to UL-10: protocol data units that are late, huge, cut or none."""

from __future__ import annotations

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import (
    CT,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    RawScu,
    associate_rq,
    c_store_rq,
    echo_rq,
    item,
    p_data,
)
from support.loops import SOON
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import MIB, State, echo_time
from support.service.site import Site

ARTIM, PDU = scaled(1.0, 30.0), scaled(1.0, 60.0)  # seconds, as `conftest.LIMITS` has them
LATE = 2.0
VERIFY = [(VERIFICATION, IMPLICIT)]
ABORT, CLOSED = 7, 0


def header(kind: int, length: int) -> bytes:
    return struct.pack(">BBI", kind, 0, length)


def associated(site: Site, pairs: list[tuple[str, str]] | None = None) -> RawScu:
    """A connection with an association."""
    peer = RawScu(site.dicom, timeout=PDU + 20)
    assert peer.associate(pairs or VERIFY)[0] == 2
    return peer


def test_ul01_a_connection_that_says_nothing_is_closed_by_artim(site: Site) -> None:
    """Twenty of them, as many as one address may have: they do not count as associations, nor do they disturb."""
    silent = [RawScu(site.dicom, timeout=ARTIM + 10, source="127.0.0.3") for _ in range(20)]
    started = time.monotonic()
    assert echo_time(site.dicom) < SOON
    for peer in silent:
        assert peer.pdu() == (CLOSED, b"")
        assert time.monotonic() - started < ARTIM + LATE
        peer.close()
    assert echo_time(site.dicom, source="127.0.0.3") < 1


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7, 9])
@pytest.mark.parametrize("established", [False, True])
def test_ul04_a_header_that_claims_4_gib_is_enough(site: Site, kind: int, established: bool) -> None:
    with associated(site) if established else RawScu(site.dicom) as peer:
        before = State.of(site)
        peer.send(header(kind, 0xFFFFFFFF))
        block = bytes(MIB)
        for _ in range(scaled(24, 96)):
            if not peer.send(block):
                break
        else:
            pytest.fail("the broker takes it all")
        with suppress(ConnectionError):
            assert peer.ended()[0] in (ABORT, CLOSED)
        assert before.growth() < 2 * MIB


def proposal(contexts: int, syntaxes: int) -> bytes:
    """An A-ASSOCIATE-RQ with that many presentation contexts of that many transfer syntaxes each."""
    body = struct.pack(">HH", 1, 0) + b"BROKER".ljust(16) + b"RAW".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number in range(contexts):
        offered = b"".join(item(0x40, f"1.2.840.10008.1.2.4.{1000 + n}".encode()) for n in range(syntaxes - 1))
        sub = bytes((2 * number + 1, 0, 0, 0)) + item(0x30, VERIFICATION.encode()) + offered
        body += item(0x20, sub + item(0x40, IMPLICIT.encode()))
    body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"2.999.1"))
    return header(1, len(body)) + body


def test_ul05_128_contexts_of_50_syntaxes_are_answered_soon(site: Site) -> None:
    request = proposal(128, 50)
    assert len(request) > 180_000
    with RawScu(site.dicom) as peer:
        started = time.monotonic()
        peer.send(request)
        kind, body = peer.pdu()
        assert time.monotonic() - started < SOON
        assert kind == 2
        assert body.count(item(0x40, IMPLICIT.encode())) == 128
        assert peer.echo() == 0


def test_ul05_a_request_of_1_mib_is_cut_off_at_its_header(site: Site) -> None:
    request = proposal(128, 300)
    assert len(request) > MIB
    with RawScu(site.dicom) as peer:
        peer.send(request[:6])
        assert peer.ended()[0] == ABORT


def test_ul06_a_pdu_over_the_length_that_was_negotiated_is_aborted(site: Site) -> None:
    with RawScu(site.dicom) as peer:
        kind, body = peer.associate([(CT, EXPLICIT)])
        assert kind == 2
        mark = body.index(b"\x51\x00\x00\x04") + 4
        most = int.from_bytes(body[mark : mark + 4], "big")
        assert 16384 <= most <= MIB
        thing = ct_slice(most * 3)
        assert peer.store(thing, size=most - 6) == 0  # as long as allowed
        peer.send(p_data(1, c_store_rq(CT, "1.2.3"), is_command=True), header(4, most + 1))
        assert peer.ended() == (ABORT, bytes((0, 0, 2, 6)))  # invalid PDU parameter value
    with associated(site, [(CT, EXPLICIT)]) as peer:
        peer.send(p_data(1, bytes(4 * MIB), is_command=True))
        with suppress(ConnectionError):
            assert peer.ended()[0] in (ABORT, CLOSED)


@pytest.mark.parametrize("part", [1, 5, 6, 30])
@pytest.mark.parametrize("established", [False, True])
def test_ul07_half_a_pdu_and_then_silence_ends_in_time(site: Site, part: int, established: bool) -> None:
    with associated(site) if established else RawScu(site.dicom, timeout=ARTIM + 20) as peer:
        peer.send((echo_rq() if established else associate_rq(VERIFY))[:part])
        started = time.monotonic()
        kind, _ = peer.ended()
        assert kind == (ABORT if established else CLOSED)
        assert 0.5 * ARTIM < time.monotonic() - started < (PDU if established else ARTIM) + LATE


def test_ul07_half_an_object_and_then_silence_leaves_nothing(site: Site) -> None:
    thing = ct_slice(3 * MIB)
    with associated(site, [(CT, EXPLICIT)]) as peer:
        peer.send(p_data(1, c_store_rq(CT, thing.sop_instance), is_command=True))
        for start in range(0, 2 * MIB, 16000):
            peer.send(p_data(1, thing.data[start : start + 16000], is_command=False, last=False))
        peer.send(p_data(1, thing.data[:16000], is_command=False)[:9000])
        started = time.monotonic()
        assert peer.ended()[0] == ABORT
        assert time.monotonic() - started < PDU + LATE
    assert site.rows("select count(*) from instance where sop_instance_uid = ?", thing.sop_instance) == [(0,)]


@pytest.mark.parametrize("established", [False, True])
def test_ul08_one_byte_at_a_time_does_not_extend_the_deadline(site: Site, established: bool) -> None:
    """The deadline is for the whole PDU. The bytes would last five times as long."""
    limit = PDU if established else ARTIM
    with associated(site) if established else RawScu(site.dicom, timeout=ARTIM + 20) as peer:
        drops = echo_rq() if established else associate_rq(VERIFY)
        started, sent = time.monotonic(), 0
        peer.socket.settimeout(limit * 5 / len(drops))
        while time.monotonic() - started < limit + LATE:
            peer.send(drops[sent : sent + 1])
            sent += 1
            try:
                if (said := peer.socket.recv(10)) in (b"", b"\x07\0\0\0\0\x04\0\0\2\0"):
                    break
                pytest.fail(repr(said))
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        else:
            pytest.fail("the deadline moves")
        assert time.monotonic() - started > limit / 2


@pytest.mark.parametrize(
    ("kind", "reason"), [(0x09, 1), (0x00, 1), (0xFF, 1), (0x01, 2), (0x02, 2), (0x03, 2), (0x06, 2)]
)
def test_ul09_a_pdu_that_has_no_place_is_aborted_with_its_reason(site: Site, kind: int, reason: int) -> None:
    """The whole table of states and events is in `tests/wire/test_state_table.py`."""
    with associated(site) as peer:
        peer.send(header(kind, 4) + bytes(4))
        assert peer.ended() == (ABORT, bytes((0, 0, 2, reason)))
    assert echo_time(site.dicom) < SOON


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0\0\0\x20\1\3abc", b"\0\0\0\0\1\3", b"\0\0\0\1\1\3", b"\xff\xff\xff\xff\1\3",
        b"\0\0\0\4\2\3ab", b"\0\0\0\4\3\3ab", b"\0\0\0\4\xff\3ab", b"\0\0\0\4\0\3ab", b"\0\0\0\4\1\3ab",
        b"\0\0\0\4\1\2ab", b"\0\0\0\2\1\3", b"\0\0\0\4\1\3ab\0\0",
    ],
)  # fmt: skip
def test_ul10_fragments_that_cannot_be_are_aborted(site: Site, body: bytes) -> None:
    """Longer than the PDU, length 0 or 1, context ids that are even, zero or not accepted, commands of two bytes."""
    with associated(site) as peer:
        mark = len(site.logged())
        peer.send(header(4, len(body)) + body)
        assert peer.ended() == (ABORT, bytes((0, 0, 2, 6)))
        wait_until(lambda: "dicom.violation" in site.logged()[mark:], 5, "it is told at debug level")
        assert "warning" not in site.logged()[mark:]


def test_ul10_fragments_of_two_messages_cannot_be_mixed(site: Site) -> None:
    request = echo_rq()[12:]
    with associated(site, [*VERIFY, *VERIFY]) as peer:
        peer.send(p_data(1, request[:20], is_command=True, last=False), p_data(3, request[20:], is_command=True))
        assert peer.ended() == (ABORT, bytes((0, 0, 2, 6)))


def test_ul07_to_ul10_many_at_once_do_not_slow_an_honest_peer(site: Site) -> None:
    """All of the above side by side, from eight addresses."""

    def misbehave(number: int) -> None:
        with RawScu(site.dicom, source=f"127.0.0.{20 + number % 8}", timeout=PDU + 20) as peer:
            peer.send(associate_rq(VERIFY))
            peer.pdu()
            peer.send((echo_rq()[:20], header(4, 0xFFFFFFFF), header(9, 4), header(4, 0))[number % 4])
            peer.ended()

    with ThreadPoolExecutor(32) as pool:
        running = [pool.submit(misbehave, number) for number in range(64)]
        slowest = max(echo_time(site.dicom) for _ in range(20))
        for each in running:
            each.result()
    assert slowest < 1
