"""DM-01 to DM-06: commands that are endless, senseless, too many, or in the wrong place."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress

import pytest
from support.dicom import raw as wire
from support.dicom.objects import ct_slice
from support.dicom.raw import CT, EXPLICIT, IMPLICIT, VERIFICATION, WORKLIST, RawScu
from support.loops import SOON
from support.scale import scaled
from support.service.abuse import MIB, State, echo_time
from support.service.site import Mllp, Site, order

MR = "1.2.840.10008.5.1.4.1.1.4"
COMMITMENT = "1.2.840.10008.1.20.1"
PDU = scaled(1.0, 60.0)  # seconds, as `conftest.LIMITS` has it
ABORT, CLOSED = 7, 0
UNRECOGNIZED, NOT_SUPPORTED = 0x0211, 0x0122
RETURN = b"\x08\0\x50\0\0\0\0\0"  # an identifier that asks for the accession number


def associated(site: Site, *pairs: tuple[str, str]) -> RawScu:
    """A connection with an association."""
    peer = RawScu(site.dicom, timeout=PDU + 60)
    assert peer.associate(pairs or [(VERIFICATION, IMPLICIT)])[0] == 2
    return peer


def stored(site: Site, uid: str) -> int:
    return int(site.rows("select count(*) from instance where sop_instance_uid = ?", uid)[0][0])


# --- DM-01 -----------------------------------------------------------------------------------------------


def test_dm01_a_store_that_announces_no_data_set_is_refused(site: Site) -> None:
    request = wire.c_store_rq(CT, "1.2.3").replace(
        wire.element(0x0800, wire.us(1)), wire.element(0x0800, wire.us(0x0101))
    )
    thing = ct_slice(1024)
    with associated(site, (CT, EXPLICIT)) as modality:
        modality.send(wire.p_data(1, request, is_command=True))
        assert modality.status() == 0xC000
        assert modality.store(thing) == 0


@pytest.mark.parametrize("sent", [0, 1000, 2 * MIB])
def test_dm01_a_data_set_that_never_ends_is_ended_by_the_deadline(site: Site, sent: int) -> None:
    thing = ct_slice(3 * MIB)
    with associated(site, (CT, EXPLICIT)) as modality:
        modality.send(wire.p_data(1, wire.c_store_rq(CT, thing.sop_instance), is_command=True))
        for start in range(0, sent, 16_000):
            modality.send(wire.p_data(1, thing.data[start : start + 16_000], is_command=False, last=False))
        started = time.monotonic()
        assert modality.ended()[0] == ABORT
        assert time.monotonic() - started < PDU + 2
    assert stored(site, thing.sop_instance) == 0


# --- DM-02 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [60_000, 600])
def test_dm02_a_command_set_of_10_mb_is_aborted(site: Site, piece: int) -> None:
    before = State.of(site)
    part = wire.p_data(1, bytes(piece), is_command=True, last=False)
    with associated(site) as attacker:
        sent = 0
        while sent < 10 * MIB and attacker.send(part):
            sent += piece
        assert sent < 10 * MIB
        with suppress(ConnectionError):
            assert attacker.ended()[0] in (ABORT, CLOSED)
    assert before.growth() < 4 * MIB


def test_dm02_a_command_of_100_000_elements_is_aborted(site: Site) -> None:
    elements = b"".join(wire.element(0x0110, b"") for _ in range(100_000))
    with associated(site) as attacker:
        for start in range(0, len(elements), 60_000):
            attacker.send(wire.p_data(1, elements[start : start + 60_000], is_command=True, last=False))
        with suppress(ConnectionError):
            assert attacker.ended()[0] in (ABORT, CLOSED)


def test_dm02_a_command_just_under_the_cap_is_read_in_time(site: Site) -> None:
    many = [wire.element(0x5000 + n % 1000, b"") for n in range(8000)]
    request = wire.command(
        wire.element(0x0002, VERIFICATION.encode()), wire.element(0x0100, wire.us(0x30)),
        wire.element(0x0110, wire.us(1)), wire.element(0x0800, wire.us(0x0101)), *many,
    )  # fmt: skip
    with associated(site) as modality:
        started = time.monotonic()
        modality.send(wire.p_data(1, request, is_command=True))
        assert modality.status() == 0
        assert time.monotonic() - started < SOON


@pytest.mark.parametrize("field", [0x0099, 0x0021, 0x0100, 0x0000, 0x7FFF])
def test_dm02_an_unknown_command_field_is_answered(site: Site, field: int) -> None:
    """No abort, as the catalogue has it: PS3.7 annex C has a status for it, and the next request is fine."""
    with associated(site) as modality:
        modality.send(wire.p_data(1, wire.message(field, 9, VERIFICATION), is_command=True), wire.echo_rq(10))
        assert modality.answer() == (9, UNRECOGNIZED)
        assert modality.answer() == (10, 0)


@pytest.mark.parametrize(
    "command",
    [
        b"\x01", wire.element(0x0110, b"\1\0"), b"\0\0\0\1\xff\xff\xff\xff", b"\x08\0\x18\0\2\0\0\x001\0",
        wire.element(0x0100, b""), wire.element(0x0100, wire.us(0x30))[:-1],
    ],
)  # fmt: skip
def test_dm02_a_command_set_that_is_none_is_aborted(site: Site, command: bytes) -> None:
    with associated(site) as attacker:
        attacker.send(wire.p_data(1, command, is_command=True))
        assert attacker.ended() == (ABORT, bytes((0, 0, 2, 6)))


# --- DM-03 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(scaled(400, 1000), 2_000), (scaled(60, 1000), 512 * 1024)])
def test_dm03_pipelined_stores_wait_in_the_network_and_not_in_memory(site: Site, count: int, size: int) -> None:
    """The window is 1:1: what comes too early is not read, and TCP makes the sender wait. Each gets its answer."""
    before = State.of(site)
    things = [ct_slice(size) for _ in range(count)] if size < 10_000 else [ct_slice(size)] * count
    with associated(site, (CT, EXPLICIT)) as modality:

        def send() -> None:
            for number, thing in enumerate(things, 1):
                modality.send(wire.p_data(1, wire.c_store_rq(CT, thing.sop_instance, number), is_command=True))
                modality.send(*wire.pieces(thing.data, 100_000))

        sending = threading.Thread(target=send)
        sending.start()
        answers = [modality.answer() for _ in things]
        sending.join()
    assert answers == [(number, 0) for number in range(1, count + 1)]
    assert before.growth() < 32 * MIB


def test_dm03_a_sender_that_reads_no_answer_meets_the_deadline(site: Site) -> None:
    """Queries without end whose answers are not fetched: the broker stops reading, then gives the peer up."""
    with Mllp(site.hl7) as ris:
        for number in range(7000, 7100):
            assert ris.exchange(order(number))["MSA"][0][1] == "AA"
    keys = b"".join(
        struct.pack("<HHI", group, element, 0)
        for group, element in ((8, 0x50), (8, 0x90), (0x10, 0x10), (0x10, 0x20), (0x20, 0xD), (0x40, 0x100))
    )
    before = State.of(site)
    block = b"".join(wire.find_rq(number, keys) for number in range(1, 100))
    with associated(site, (WORKLIST, IMPLICIT)) as attacker:
        sent = 0
        while sent < 200 * MIB:
            try:
                attacker.socket.sendall(block)
            except TimeoutError:
                pytest.fail("neither read nor ended")
            except (BrokenPipeError, ConnectionResetError):
                break
            sent += len(block)
        assert sent < 200 * MIB
    assert before.growth() < 16 * MIB


# --- DM-04 -----------------------------------------------------------------------------------------------


def test_dm04_cancels_without_number_are_nothing(site: Site) -> None:
    before = State.of(site)
    flood = b"".join(wire.cancel_rq(number % 7) for number in range(scaled(10_000, 100_000)))
    with associated(site, (WORKLIST, IMPLICIT)) as modality:
        modality.send(flood, wire.find_rq(7, RETURN), wire.cancel_rq(7), flood)
        final = None
        while final is None or final == 0xFF00:
            kind, body = modality.pdu()
            assert kind == 4
            if body[5] & 1:
                final = wire.status_of(body)
        assert final in (0, 0xFE00)
        modality.send(wire.find_rq(8, RETURN[:4] + b"\2\0\0\0?x"))
        assert modality.answer() == (8, 0)
    assert before.growth() < 16 * MIB


def test_dm04_a_flood_of_event_reports_starts_nothing(site: Site) -> None:
    """Each is answered as what it is here, an operation that nobody serves, one after the other."""
    before, count = State.of(site), scaled(3000, 100_000)
    report = wire.message(0x0100, 5, VERIFICATION) + wire.element(0x1002, wire.us(1))
    with associated(site) as attacker:
        sending = threading.Thread(
            target=lambda: [attacker.send(wire.p_data(1, report, is_command=True)) for _ in range(count)]
        )
        sending.start()
        threads = 0
        for number in range(count):
            assert attacker.answer() == (5, UNRECOGNIZED)
            if number % 500 == 0:
                threads = max(threads, before.process.num_threads())
                assert echo_time(site.dicom) < SOON
        sending.join()
    assert threads <= before.threads + 2


# --- DM-05 -----------------------------------------------------------------------------------------------


def test_dm05_a_storage_commitment_report_that_nobody_asked_for_changes_nothing(site: Site) -> None:
    """We have opened no transaction, so the SOP class is not accepted, and a report over another context is refused.

    Where we ask for storage commitment the row's own status (0110, 0112) comes with it; nothing positive does here.
    """
    before = [site.rows(f"select count(*) from {table}") for table in ("instance", "job", "scheduled_step", "audit")]
    data = b"\x08\0\x95\x11\x0a\0\0\x002.999.5.1\0"  # a Transaction UID
    report = wire.command(
        wire.element(0x0002, COMMITMENT.encode()), wire.element(0x0100, wire.us(0x0100)),
        wire.element(0x0110, wire.us(5)), wire.element(0x0800, wire.us(1)),
        wire.element(0x1000, b"1.2.840.10008.1.20.1.1"), wire.element(0x1002, wire.us(1)),
    )  # fmt: skip
    with associated(site, (COMMITMENT, IMPLICIT), (VERIFICATION, IMPLICIT)) as attacker:
        attacker.send(wire.p_data(3, report, is_command=True), wire.p_data(3, data, is_command=False))
        answer = attacker.answer()
        assert answer is not None
        assert answer[0] == 5
        assert answer[1] in (UNRECOGNIZED, NOT_SUPPORTED, 0x0110, 0x0112, 0x0118)
        attacker.send(wire.p_data(1, report, is_command=True))  # over the context that was not accepted
        assert attacker.ended()[0] == ABORT
    after = [site.rows(f"select count(*) from {table}") for table in ("instance", "job", "scheduled_step", "audit")]
    assert after == before


# --- DM-06 -----------------------------------------------------------------------------------------------


def test_dm06_a_context_that_was_not_accepted_cannot_be_used(site: Site) -> None:
    for pairs, context in (([("1.2.3.4", IMPLICIT), (CT, EXPLICIT)], 1), ([(CT, EXPLICIT)], 3), ([(CT, EXPLICIT)], 2)):
        with associated(site, *pairs) as attacker:
            attacker.send(wire.p_data(context, wire.c_store_rq(CT, "1.2.3"), is_command=True))
            assert attacker.ended() == (ABORT, bytes((0, 0, 2, 6)))


def test_dm06_another_sop_class_than_that_of_the_context_is_refused(site: Site) -> None:
    thing = ct_slice(1000)
    with associated(site, (MR, EXPLICIT), (CT, EXPLICIT)) as modality:
        assert modality.store(thing, context_id=1) == NOT_SUPPORTED
        assert modality.store(thing, context_id=3) == 0
    assert stored(site, thing.sop_instance) == 1
