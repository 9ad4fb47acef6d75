"""The limits of the HL7 doors of a running broker are those of its configuration, at the plain and at the TLS door."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.certificates import Authority, client
from support.loops import SOON
from support.peers.tools import wait_until
from support.service.secure import HERE, door
from support.service.site import Site, order

from broker.hl7.mllp.framing import wrap

SIZE, CONNECTIONS, IDLE, FRAME, HALF_OPEN = 2000, 3, 6.0, 2.0, 2
DOORS = pytest.mark.parametrize("kind", ["hl7", "hl7-tls"])


class Doors:
    """A broker with small limits, and connections to its doors."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        own, self.ris = self.authority.issue("broker"), self.authority.issue("ris1")
        limits = {
            "hl7_message": SIZE,
            "hl7_connections": CONNECTIONS,
            "hl7_idle_timeout": IDLE,
            "hl7_frame_timeout": FRAME,
            "half_open_per_address": HALF_OPEN,
            "tls_handshake_timeout": 2,
        }
        config = {"hl7.tls": door(self.authority, own), "limits": limits}
        self.site = Site(folder / "site", config=config)

    def port(self, kind: str) -> int:
        return int(self.site.listeners[kind][0][1])

    def plain(self, kind: str, address: str = HERE) -> socket.socket:
        return socket.create_connection((HERE, self.port(kind)), 10, (address, 0))

    def connect(self, kind: str, address: str = HERE) -> socket.socket:
        plain = self.plain(kind, address)
        if kind == "hl7":
            return plain
        context = client(self.ris, self.authority.ca)
        return context.wrap_socket(plain, server_hostname=HERE)

    def metric(self, line: str) -> float:
        with urllib.request.urlopen(self.site.web + "/metrics", timeout=10) as answer:
            shown = re.search(rf"^{re.escape(line)} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(shown[1]) if shown else 0.0

    def open(self) -> float:
        return self.metric("broker_hl7_connections")


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    made = Doors(tmp_path_factory.mktemp("doors"))
    with made.site:
        yield made


@pytest.fixture(autouse=True)
def nobody_left(doors: Doors) -> Iterator[None]:
    yield
    wait_until(lambda: doors.open() == 0, 10, "all connections have ended")


def exchange(connection: socket.socket, message: bytes) -> bytes:
    """The answer, or what came until the broker closed the connection."""
    connection.settimeout(10)
    connection.sendall(wrap(message))
    return received(connection)


def received(connection: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while not data.endswith(b"\x1c\r") and (piece := connection.recv(65536)):
            data += piece
    return data


def ends(connection: socket.socket, within: float) -> float:
    """Seconds until the broker has closed the connection."""
    connection.settimeout(within)
    began = time.monotonic()
    with suppress(ConnectionError):
        assert connection.recv(1) == b""
    return time.monotonic() - began


def sized(number: int, size: int) -> bytes:
    """An order of so many bytes."""
    message = order(number).encode()
    return message + b"NTE|1||" + b"x" * (size - len(message) - 8) + b"\r"


@DOORS
def test_a_message_may_have_just_the_size_of_the_limit(doors: Doors, kind: str) -> None:
    number = 100 if kind == "hl7" else 101
    assert len(sized(number, SIZE)) == SIZE
    with doors.connect(kind) as ris:
        assert b"\rMSA|AA|" in exchange(ris, sized(number, SIZE))
        assert b"\rMSA|AE|" in exchange(ris, sized(number + 10, SIZE + 1))
        assert ends(ris, 10) < 5
    taken = doors.site.rows("select control_id from message where control_id like ?", f"M000{number}%")
    refused = doors.site.rows("select control_id from message where control_id like ?", f"M000{number + 10}%")
    assert (len(taken), len(refused)) == (1, 0)
    assert doors.metric('broker_hl7_connections_closed_total{reason="oversize"}') >= 1


@DOORS
def test_one_connection_too_many_is_closed_and_its_place_can_be_taken_again(doors: Doors, kind: str) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(doors.connect(kind, f"127.0.0.{n + 1}")) for n in range(CONNECTIONS)]
        wait_until(lambda: doors.open() == CONNECTIONS, 10, "all are served")
        with doors.connect(kind, "127.0.0.9") as late:
            assert exchange(late, b"MSH|^~\\&|") == b""
        assert doors.open() == CONNECTIONS
        assert "hl7.connections_full" in doors.site.logged()
        crowd[0].close()
        wait_until(lambda: doors.open() == CONNECTIONS - 1, 10, "a place is free")
        with doors.connect(kind, "127.0.0.9") as late:
            assert b"\rMSA|A" in exchange(late, b"MSH|^~\\&|RIS||||||ORM^O01||P|2.5\r")


@DOORS
def test_whoever_sends_64_kib_without_a_frame_is_closed(doors: Doors, kind: str) -> None:
    line, noise = 'broker_hl7_connections_closed_total{reason="no-frame"}', b"\r\n\0 " * 16 * 1024
    before = doors.metric(line)
    with doors.connect(kind) as ris:
        ris.sendall(noise + wrap(sized(200 if kind == "hl7" else 201, 1000)))
        assert b"\rMSA|AA|" in received(ris)  # the begin of a frame begins the count again
        ris.sendall(noise + b"\r")
        ends(ris, 10)
    wait_until(lambda: doors.metric(line) == before + 1, 10, "the end is counted")
    assert re.search(r"hl7\.connection_closed.*no-frame", doors.site.logged())


@DOORS
def test_silence_between_messages_and_inside_one_have_limits_of_their_own(doors: Doors, kind: str) -> None:
    with doors.connect(kind) as silent, doors.connect(kind) as slow:
        slow.sendall(b"\x0bMSH|")
        opened = time.monotonic()
        for connection, limit in ((slow, FRAME), (silent, IDLE)):
            ends(connection, 20)
            assert limit * 0.9 < time.monotonic() - opened < limit + 2 * SOON


def test_half_open_connections_are_counted_for_each_address(doors: Doors) -> None:
    line = 'broker_hl7_tls_failures_total{reason="handshakes"}'
    before = doors.metric(line)
    with ExitStack() as stack:
        crowd = [stack.enter_context(doors.plain("hl7-tls", "127.0.0.5")) for _ in range(HALF_OPEN + 1)]
        assert ends(crowd[-1], 10) < 1.5  # at once, the others at the deadline of the handshake
        assert doors.metric(line) == before + 1
        with doors.connect("hl7-tls", "127.0.0.6") as other:
            assert b"\rMSA|A" in exchange(other, b"MSH|^~\\&|RIS||||||ORM^O01||P|2.5\r")
        with doors.connect("hl7", "127.0.0.5") as plain:  # which has no handshake
            assert b"\rMSA|A" in exchange(plain, b"MSH|^~\\&|RIS||||||ORM^O01||P|2.5\r")
        assert all(ends(half, 10) < 3 for half in crowd[:-1])
