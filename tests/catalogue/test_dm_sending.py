"""DM-19 to DM-21: destinations that do not take what we have, do not read, or are slow.

DM-20 and DM-21 need the timers of the product and run with `BROKER_FULL=1`; scaled down they are in
`tests/wire/lanes/test_lanes_refusals.py` (DM-20) and `tests/wire/test_user.py` (DM-20, DM-21).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support.dicom import raw as wire
from support.dicom.elements import explicit, thing
from support.dicom.objects import SAMPLES, Encoded, ct_slice, from_sample
from support.dicom.raw import CT, EXPLICIT, IMPLICIT, RawScu
from support.dicom.raw_scp import ASSOCIATE_RQ, RawScp, proposed, receive, store_rsp
from support.loops import SOON
from support.peers.tools import wait_until
from support.scale import FULL
from support.service.abuse import MIB, State, echo_time
from support.service.site import Site, destination

from broker.dicom import uids

MR = "1.2.840.10008.5.1.4.1.1.4"
RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "exists" }
send = [%s]
"""
full_only = pytest.mark.skipif(not FULL, reason="waits for timers of the product; see the module's text")


def to(*ports: int) -> str:
    """site.toml that sends everything everywhere."""
    names = [f"pacs{n}" for n in range(len(ports))]
    nodes = "\n".join(destination(name, port) for name, port in zip(names, ports, strict=True))
    return nodes + RULE % ", ".join(f'"{name}"' for name in names)


def store(site: Site, *things: Encoded) -> list[int | None]:
    """Send over one association; the statuses."""
    pairs = list(dict.fromkeys((one.sop_class, one.transfer_syntax) for one in things))
    with RawScu(site.dicom) as modality:
        assert modality.associate(pairs)[0] == 2
        return [
            modality.store(one, context_id=2 * pairs.index((one.sop_class, one.transfer_syntax)) + 1) for one in things
        ]


def jobs(site: Site) -> list[tuple[str, str, str]]:
    """Lane, state and last error of each delivery."""
    rows = site.rows("select lane, state, last_error from job order by id")
    return [(str(lane), str(state), str(error or "")) for lane, state, error in rows]


def keep(peer: RawScu, taken: list[int], take: Callable[[bytes], None] = lambda part: None) -> None:
    """Take objects until the end."""
    while (found := receive(peer, take)) is not None:
        context, message_id, size = found
        taken.append(size)
        peer.send(wire.p_data(context, store_rsp(message_id), is_command=True))


def test_dm19_a_context_that_is_refused_holds_its_objects_and_no_others(own_site: Callable[..., Site]) -> None:
    """Refused is the SOP class, or the only transfer syntax of a compressed object: no pixels are transcoded.

    What is not compressed is proposed in the default transfer syntax too (PS3.5 10.1), each in a context of its own.
    """
    taken: list[int] = []
    offers: list[list[tuple[str, str]]] = []

    def pacs(peer: RawScu) -> None:
        kind, body = peer.pdu()
        assert kind == ASSOCIATE_RQ
        offers.append(proposed(body))
        results = {
            (CT, EXPLICIT): 0,
            (MR, EXPLICIT): 3,
        }  # accepted, SOP class refused, the rest: transfer syntax refused
        peer.send(wire.associate_ac(body, answers=[(results.get(pair, 4), pair[1]) for pair in offers[-1]]))
        keep(peer, taken)

    jpeg = from_sample(SAMPLES / "JPEG-lossy.dcm")
    assert jpeg is not None
    with RawScp(pacs) as scp:
        site = own_site(to(scp.port))
        assert store(site, ct_slice(1000), ct_slice(1000, SOPClassUID=MR), jpeg, ct_slice(1000)) == [0] * 4
        # the first stands for the object that warmed the broker up
        states = ["done", "done", "held", "held", "done"]
        wait_until(lambda: [job[1] for job in jobs(site)] == states, 15, "all is decided")
        assert {error for _, state, error in jobs(site) if state == "held"} == {"no-presentation-context"}
    assert len(taken) == 3
    offered = {pair for offer in offers for pair in offer}
    plain = {(sop_class, syntax) for sop_class in (CT, MR) for syntax in (EXPLICIT, IMPLICIT, uids.EXPLICIT_BE)}
    assert offered == plain | {(jpeg.sop_class, jpeg.transfer_syntax)}


def test_dm19_a_transfer_syntax_that_was_not_proposed_gets_nothing(own_site: Callable[..., Site]) -> None:
    """It breaks the protocol. The association ends before a byte of the object, and the object waits."""
    said: list[tuple[int, bytes]] = []

    def pacs(peer: RawScu) -> None:
        kind, body = peer.pdu()
        assert kind == ASSOCIATE_RQ
        peer.send(wire.associate_ac(body, answers=[(0, IMPLICIT) for _ in proposed(body)]))
        said.append(peer.pdu())

    with RawScp(pacs) as scp:
        site = own_site(to(scp.port))
        assert store(site, ct_slice(1000)) == [0]
        wait_until(lambda: len(said) >= 3, 15, "it is tried again")
        assert {kind for kind, _ in said} == {7}
        assert {state for _, state, _ in jobs(site)} <= {"ready", "leased"}


@full_only
def test_dm20_a_destination_that_never_reads_delays_no_other(own_site: Callable[..., Site]) -> None:
    over, taken = threading.Event(), [0]

    def deaf(peer: RawScu) -> None:
        _, body = peer.pdu()
        peer.send(wire.associate_ac(body))
        over.wait(900)

    def pacs(peer: RawScu) -> None:
        _, body = peer.pdu()
        peer.send(wire.associate_ac(body))
        keep(peer, taken)

    with RawScp(deaf) as lazy, RawScp(pacs) as scp:
        site = own_site(to(lazy.port, scp.port))
        before = State.of(site)
        started = time.monotonic()
        assert store(site, *(ct_slice(20 * MIB) for _ in range(3))) == [0] * 3
        wait_until(lambda: len(taken) == 5, 30, "the other destination has it all")
        wait_until(lambda: len(lazy.connections) >= 2, 120, "the deadline passes, and it is tried again")
        assert time.monotonic() - started > 55
        assert [job[1] for job in jobs(site) if job[0].endswith("pacs0")].count("done") == 0
        assert before.growth() < 48 * MIB
        over.set()


@full_only
def test_dm21_500_mb_over_a_slow_line(own_site: Callable[..., Site]) -> None:
    """At 2 MB/s the transfer takes over four times as long as a response may take."""
    taken: list[int] = []
    started = time.monotonic()
    due = [0.0]

    def slow(part: bytes) -> None:
        due[0] += len(part) / 2e6
        pause = started_sending[0] + due[0] - time.monotonic()
        if pause > 0:
            threading.Event().wait(pause)

    started_sending = [0.0]

    def pacs(peer: RawScu) -> None:
        _, body = peer.pdu()
        peer.send(wire.associate_ac(body, max_length=65536))
        started_sending[0], due[0] = time.monotonic(), 0.0
        keep(peer, taken, slow)

    with RawScp(pacs) as scp:
        site = own_site(to(scp.port))
        big = thing(explicit(0x7FE00010, b"OW", bytes(500_000_000)))
        assert store(site, big) == [0]
        wait_until(lambda: all(state == "done" for _, state, _ in jobs(site)), 600, "it is delivered")
        assert len(big.data) in taken
        assert len(scp.connections) <= 2  # at the first try
        assert time.monotonic() - started > 240
        assert echo_time(site.dicom) < SOON
