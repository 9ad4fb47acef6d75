"""DM-07, DM-08, DM-11 and DM-22: identifiers that cannot be, queries that cannot be read, a database that is away."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dicom import raw as wire
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import IMPLICIT, VERIFICATION, WORKLIST, RawScu
from support.loops import SOON
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import MIB, State
from support.service.site import Mllp, Site, order
from support.store.outage import refusing

UIDS_DIFFER = 0xA900


def store(site: Site, thing: Encoded) -> int | None:
    """Status of a C-STORE."""
    with RawScu(site.dicom) as modality:
        assert modality.associate([(thing.sop_class, thing.transfer_syntax)])[0] == 2
        return modality.store(thing)


# --- DM-07, DM-08 ----------------------------------------------------------------------------------------


def test_dm07_a_command_and_a_data_set_of_two_objects(site: Site) -> None:
    thing, other = ct_slice(2000), ct_slice(40_000)
    for item in (thing, other):
        assert store(site, Encoded(item.sop_class, "2.999.1.2.3", item.transfer_syntax, item.data)) == UIDS_DIFFER
    assert store(site, Encoded("1.2.840.10008.5.1.4.1.1.4", thing.sop_instance, thing.transfer_syntax, thing.data)) == (
        UIDS_DIFFER
    )
    found = "select count(*) from instance where sop_instance_uid in (?, ?, ?)"
    assert site.rows(found, "2.999.1.2.3", thing.sop_instance, other.sop_instance) == [(0,)]


@pytest.mark.parametrize(
    "uid",
    [
        "../../etc/x", "/etc/passwd", "/tmp/x", "1." + "2" * 63, "", "1.02.3", "1.2.3\0x", "1.2.3\\..\\x", "1" * 3000,
        "1..2", ".1.2", "1.2.", "1.2.840.10008\n", "%2e%2e%2f", "CON", "１.2.3",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [200, 100_000])
def test_dm08_an_instance_uid_that_cannot_be_makes_no_file(site: Site, uid: str, size: int) -> None:
    """In the command; in command and data set alike; no name of ours is made of it."""
    thing = ct_slice(size)
    outside = {path: path.exists() for path in (Path("/etc/x"), Path("/tmp/x"))}
    before = {path for path in site.folder.parent.rglob("*") if not path.is_relative_to(site.data / "spool")}
    with RawScu(site.dicom) as modality:
        assert modality.associate([(thing.sop_class, thing.transfer_syntax)])[0] == 2
        command = wire.command(
            wire.element(0x0002, thing.sop_class.encode()), wire.element(0x0100, wire.us(1)),
            wire.element(0x0110, wire.us(1)), wire.element(0x0800, wire.us(1)),
            wire.element(0x1000, uid.encode()),
        )  # fmt: skip
        for data in (thing.data, thing.data.replace(thing.sop_instance.encode(), _fitted(uid, thing))):
            modality.send(wire.p_data(1, command, is_command=True), *wire.pieces(data))
            assert modality.status() == UIDS_DIFFER
        assert modality.store(ct_slice(100)) == 0
    after = {path for path in site.folder.parent.rglob("*") if not path.is_relative_to(site.data / "spool")}
    assert after == before
    assert {path: path.exists() for path in outside} == outside


def _fitted(uid: str, thing: Encoded) -> bytes:
    """The UID at the length of the one it takes the place of."""
    size = len(thing.sop_instance)
    return uid.encode()[:size].ljust(size, b"\0")


# --- DM-11 -----------------------------------------------------------------------------------------------


def element(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An element in implicit VR."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


ITEM, UNDEFINED = 0xFFFEE000, 0xFFFFFFFF
RETURN = element(0x00080050, b"")
BAD_IDENTIFIERS = {
    "noise": lambda: os.urandom(4000),
    "cut": lambda: RETURN[:5],
    "long": lambda: element(0x00100010, b"x", 0x7FFFFFF0),
    "undefined": lambda: element(0x00400100, b"", UNDEFINED),
    "text": lambda: b"GET / HTTP/1.1\r\n\r\n",
    "5 MB": lambda: element(0x00100010, b"x" * 5_000_000),
    "100,000 items": lambda: element(0x00400100, element(ITEM, b"") * 100_000),
    "30,000 items": lambda: element(0x00400100, element(ITEM, b"") * 30_000),
    "deep": lambda: element(0x00400100, b"", UNDEFINED) * 2000,
    "30,000 elements": lambda: RETURN * 30_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_IDENTIFIERS)
def test_dm11_an_identifier_that_cannot_be_read_is_refused_and_the_association_goes_on(site: Site, kind: str) -> None:
    """A900 or C001, never an empty list."""
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(4711))["MSA"][0][1] in ("AA", "AE")  # AE: it is there from the last time
    before, data = State.of(site), BAD_IDENTIFIERS[kind]()
    with RawScu(site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        started = time.monotonic()
        modality.send(wire.p_data(1, wire.message(0x20, 1, WORKLIST, data=True), is_command=True))
        modality.send(*wire.pieces(data, 100_000))
        number, status = modality.answer() or (0, 0)
        assert number == 1
        assert status in (0xA900, 0xC001), f"{status:04X}"
        assert time.monotonic() - started < SOON
        modality.send(wire.find_rq(2, RETURN + element(0x00400100, b"")))
        assert modality.answer() == (2, 0xFF00)
    assert before.growth() < 24 * MIB


LONG_KEYS = {
    "wild cards": element(0x00100010, b"*a?" * 80_000),
    "any characters": element(0x00100010, b"?" * 64_000),
    "100,000 values": element(0x00100020, b"a\\" * 100_000),
}


@pytest.mark.parametrize("key", LONG_KEYS.values(), ids=LONG_KEYS)
def test_dm11_an_identifier_that_is_long_but_can_be_read_costs_little(site: Site, key: bytes) -> None:
    """Answered, if only that it is too much, in bounded time and memory."""
    before = State.of(site)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        started = time.monotonic()
        modality.send(wire.p_data(1, wire.message(0x20, 1, WORKLIST, data=True), is_command=True))
        modality.send(*wire.pieces(key + RETURN if key[:4] < RETURN[:4] else RETURN + key, 100_000))
        assert (modality.answer() or (0, 1))[1] in (0, 0xA900, 0xC001, 0xA700)
        assert time.monotonic() - started < SOON
        assert before.growth() < 24 * MIB


def test_dm11_many_bad_queries_leave_no_trace(site: Site) -> None:
    before = State.of(site)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        for number in range(1, scaled(300, 20_000)):
            modality.send(wire.find_rq(number % 1000 + 1, os.urandom(2000)))
            assert (modality.answer() or (0, 0))[1] in (0xA900, 0xC001)
    assert before.growth() < 8 * MIB


# --- DM-22 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_dm22_an_echo_while_the_database_is_away_is_no_success(database_url: str, tmp_path: Path) -> None:
    """The test button of a modality must not lie; queries and objects get a failure that is worth another try."""
    thing = ct_slice(2000)
    pairs = [(VERIFICATION, IMPLICIT), (WORKLIST, IMPLICIT), (thing.sop_class, thing.transfer_syntax)]
    broker = Site(tmp_path / "site", config={"worklist": {"outage_copy_age": 0}}, database_url=database_url)
    with broker as site, RawScu(site.dicom) as modality:
        assert modality.associate(pairs)[0] == 2
        assert modality.echo() == 0
        with refusing(database_url):
            assert modality.echo() not in (0, None)
            find = wire.message(0x20, 2, WORKLIST, data=True)
            modality.send(wire.p_data(3, find, is_command=True), wire.p_data(3, RETURN, is_command=False))
            assert modality.status() == 0xA700
            assert modality.store(thing, context_id=5) == 0xA700
            with RawScu(site.dicom) as another:
                assert another.associate([(VERIFICATION, IMPLICIT)])[0] == 2
                assert another.echo() not in (0, None)
        wait_until(lambda: modality.echo() == 0, 15, "it comes back by itself")
        assert modality.store(thing, context_id=5) == 0


def test_dm22_objects_while_the_disk_is_full_are_refused_for_now(own_site: Callable[..., Site]) -> None:
    """The other half of our memory: the spool."""
    site, thing = own_site(), ct_slice(100_000)
    site.faults.write_text("spool.write ENOSPC\nstore.commit ENOSPC\n", encoding="ascii")
    assert store(site, thing) == 0xA700
    site.faults.write_text("", encoding="ascii")
    assert store(site, thing) == 0
