"""HL-23: what the broker sends to a RIS, whatever that answers.

HL-20, outbound half: `tests/golden/feedback/hostile.case` and `tests/unit/delivery/test_feedback_outbound.py`.

The row's words: retry / dead / ignored late ACK; never match by order only. The design's contract says which: AE is
retried and held after three tries, AR is held at once, no answer means that the RIS is away.
"""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hl7.receiver import Ris, Script, Told, accept, acknowledgement, framed, ris_node
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order

PATIENCE = 15  # seconds for an answer that comes
TIMEOUT = 1  # and for one that does not


@contextmanager
def telling(folder: Path, script: Script, **feedback: Any) -> Iterator[tuple[Site, Ris]]:
    """A broker with two orders, and the RIS that answers by a script what it is told of them."""
    with Ris(script) as ris:
        node = ris_node(ris.port, **({"timeout": PATIENCE} | feedback))
        with Site(folder, site=node) as site:
            with Mllp(site.hl7) as sender:
                for number in (1, 2):
                    assert sender.exchange(order(number))["MSA"][0][1] == "AA"
            yield site, ris


def happens(site: Site, number: int, *statuses: str) -> None:
    """Another system says what became of an order."""
    with Mllp(site.hl7) as sender:
        for status in statuses:
            message = order(number, control="SC", status=status, control_id=f"{number}{status}")
            assert sender.exchange(message.replace("|RIS|HOSPITAL|", "|MPPS||", 1))["MSA"][0][1] == "AA"


def jobs(site: Site) -> list[tuple[Any, ...]]:
    return site.rows("SELECT json_extract(detail, '$.order'), json_extract(detail, '$.status'), state, last_error"
                     " FROM job ORDER BY id")  # fmt: skip


def settled(site: Site, *expected: tuple[Any, ...]) -> None:
    wait_until(lambda: jobs(site) == list(expected), 20, f"the jobs are {expected}")


def refusing(code: str, times: int = 1000) -> tuple[Script, list[str]]:
    """Answers the first messages on order 1 with a code, all others with AA."""
    refused: list[str] = []

    def script(peer: socket.socket, told: Told) -> None:
        if told.get("ORC", 2) == "PL1^RIS" and len(refused) < times:
            refused.append(told.control_id)
            peer.sendall(framed(acknowledgement(told, code)))
        else:
            accept(peer, told)

    return script, refused


@pytest.mark.parametrize("code", ["AE", "CE"])
def test_hl23_an_error_is_tried_three_times_with_one_control_id_then_held(tmp_path: Path, code: str) -> None:
    script, refused = refusing(code)
    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP", "CM")
        happens(site, 2, "IP")
        settled(site, (1, "IP", "held", code), (1, "CM", "ready", ""), (2, "IP", "done", ""))
        assert len(refused) == 3
        assert len(set(refused)) == 1
        assert ris.statuses() == ["IP"] * 4  # of order 1 nothing later, of order 2 all
        assert ris.connections == 1


def test_hl23_an_error_that_passes_loses_nothing(tmp_path: Path) -> None:
    script, refused = refusing("AE", times=2)
    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP", "CM")
        settled(site, (1, "IP", "done", ""), (1, "CM", "done", ""))
        assert len(refused) == 2
        assert ris.statuses() == ["IP", "IP", "IP", "CM"]


@pytest.mark.parametrize("code", ["AR", "CR"])
def test_hl23_a_reject_is_held_at_once(tmp_path: Path, code: str) -> None:
    script, refused = refusing(code)
    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP")
        happens(site, 2, "IP", "CM")
        settled(site, (1, "IP", "held", code), (2, "IP", "done", ""), (2, "CM", "done", ""))
        assert len(refused) == 1
        assert len(ris.told) == 3


def test_hl23_a_node_may_say_otherwise(tmp_path: Path) -> None:
    script, refused = refusing("AR", times=1)
    with telling(tmp_path, script, on_reject="retry", on_error="hold", attempts=2) as (site, _):
        happens(site, 1, "IP")
        settled(site, (1, "IP", "done", ""))
        assert len(refused) == 1


@pytest.mark.parametrize("named", ["", "SOMETHING ELSE", "brk"])
def test_hl23_an_answer_to_another_message_is_none(tmp_path: Path, named: str) -> None:
    wrong: list[Told] = []

    def script(peer: socket.socket, told: Told) -> None:
        if len(wrong) < 2:
            wrong.append(told)
            peer.sendall(framed(acknowledgement(told, control_id=named)))
        else:
            accept(peer, told)

    with telling(tmp_path, script, timeout=TIMEOUT) as (site, ris):
        happens(site, 1, "IP")
        settled(site, (1, "IP", "done", ""))
        assert len(ris.told) == 3
        assert len({told.control_id for told in ris.told}) == 1
        assert ris.connections == 3  # the one without an answer is not used again


def test_hl23_a_late_answer_meets_no_later_message(tmp_path: Path) -> None:
    """The answer to the first message comes while the second one waits for its own, and says AR."""
    first: list[Told] = []

    def script(peer: socket.socket, told: Told) -> None:
        if not first:
            first.append(told)
            accept(peer, told)
            return
        peer.sendall(framed(acknowledgement(first[0], "AR")))
        peer.sendall(framed(acknowledgement(told, "AA", "BRK00000000000000000")))
        accept(peer, told)

    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP", "CM")
        settled(site, (1, "IP", "done", ""), (1, "CM", "done", ""))
        assert len(ris.told) == 2


def test_hl23_no_answer_is_a_ris_that_is_away(tmp_path: Path) -> None:
    """What was not answered comes again with its control id; the other order goes first, nothing is held."""
    silent = [True]

    def script(peer: socket.socket, told: Told) -> None:
        if told.get("ORC", 2) != "PL1^RIS" or not silent:
            accept(peer, told)

    with telling(tmp_path, script, timeout=TIMEOUT) as (site, ris):
        happens(site, 1, "IP", "CM")
        happens(site, 2, "IP")
        wait_until(lambda: (2, "IP", "done", "") in jobs(site), 20, "order 2 is told")
        assert [job[2] for job in jobs(site)[1:]] == ["ready", "done"]
        assert jobs(site)[0][2] in {"ready", "leased"}
        silent.clear()
        settled(site, (1, "IP", "done", ""), (1, "CM", "done", ""), (2, "IP", "done", ""))
        mine = [told for told in ris.told if told.get("ORC", 2) == "PL1^RIS"]
        assert [told.status for told in mine] == ["IP"] * (len(mine) - 1) + ["CM"]
        assert len({told.control_id for told in mine}) == 2
        assert "lane.broken" in site.logged()


def test_hl23_an_answer_in_three_pieces_is_one(tmp_path: Path) -> None:
    pieces: list[int] = []

    def script(peer: socket.socket, told: Told) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = framed(acknowledgement(told))
        for start, end in ((0, 1), (1, 30), (30, len(whole) - 1), (len(whole) - 1, len(whole))):
            pieces.append(peer.send(whole[start:end]))
            wait_until(lambda: unread(peer) == 0, 5, "the broker has read the piece")

    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP", "CM")
        settled(site, (1, "IP", "done", ""), (1, "CM", "done", ""))
        assert (len(ris.told), ris.connections) == (2, 1)
        assert len(pieces) == 8


def test_hl23_half_an_answer_and_an_end_is_none(tmp_path: Path) -> None:
    ends = [3, 40]

    def script(peer: socket.socket, told: Told) -> bool:
        if ends:
            peer.sendall(framed(acknowledgement(told))[: ends.pop()])
            return False
        accept(peer, told)
        return True

    with telling(tmp_path, script) as (site, ris):
        happens(site, 1, "IP")
        settled(site, (1, "IP", "done", ""))
        assert len({told.control_id for told in ris.told}) == 1
        assert (len(ris.told), ris.connections) == (3, 3)


@pytest.mark.parametrize("noise", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x0bMSA|AA\x1c\r", b"\x0b" * 100_000])
def test_hl23_noise_is_no_answer_and_no_harm(tmp_path: Path, noise: bytes) -> None:
    """Also a program that is no MLLP receiver at all."""
    made: list[int] = []

    def script(peer: socket.socket, told: Told) -> None:
        made.append(1)
        peer.sendall(noise)
        if len(made) > 1:
            accept(peer, told)

    with telling(tmp_path, script, timeout=2 * TIMEOUT) as (site, ris):
        happens(site, 1, "IP")
        settled(site, (1, "IP", "done", ""))
        assert len(ris.told) == 2


def unread(peer: socket.socket) -> int:
    """Bytes that the other side's kernel has not acknowledged yet (SIOCOUTQ)."""
    left = array.array("i", [0])
    fcntl.ioctl(peer, termios.TIOCOUTQ, left)
    return left[0]
