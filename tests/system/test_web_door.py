"""A stranger cannot take the web away, nor the descriptors of all doors (HT-01, HT-02, HT-03, RL-03)."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import resource
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.peers.tools import wait_until
from support.service.abuse import echo_time, metric
from support.service.site import Mllp, Site, order

HEAD, IDLE = 1.0, 2.0
TOKEN = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    limits = {"web_head_timeout": HEAD, "web_idle_timeout": IDLE}
    folder = tmp_path_factory.mktemp("web")
    site = Site(folder / "site", config={"limits": limits, "web": {"admin_token": TOKEN}})
    site.interpreter = _with_limit(folder, 300)
    with site:
        yield site


def connect(site: Site, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", site.listeners["web"][0][1]), timeout=20)
    with contextlib.suppress(ConnectionError):
        connection.sendall(sent)
    return connection


def ended(connection: socket.socket) -> bool:
    """The broker has closed it."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def answer(site: Site, request: bytes) -> bytes:
    """All that the broker sends until it closes the connection."""
    received = b""
    with connect(site, request) as connection, contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


def fetch(site: Site, path: str) -> str:
    with urllib.request.urlopen(site.web + path, timeout=20) as response:
        assert response.status == 200
        return str(response.read(), "utf-8")


def test_half_requests_keep_nobody_out_and_end(site: Site) -> None:
    half = [connect(site, b"GET /health/live HTTP/1.1\r\nHo") for _ in range(205)]
    try:
        for path in ("/health/live", "/health/ready", "/metrics"):
            fetch(site, path)
        assert metric(site, 'broker_web_connections_closed_total{reason="made-room"}') >= 1
        wait_until(lambda: all(map(ended, half)), 30, "half requests end")
    finally:
        for connection in half:
            connection.close()
    lines = [line for line in site.logged().splitlines() if "web.connection_closed" in line]
    assert 1 <= len(lines) <= 4


def test_who_asks_too_often_without_a_token_is_refused_and_others_do_not_notice(site: Site) -> None:
    port, received = site.listeners["web"][0][1], b""
    ask, last = (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    with contextlib.ExitStack() as stack:
        flood = [socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.66", 0)) for _ in range(30)]
        for connection in flood:
            stack.callback(connection.close)
            connection.sendall(ask * 7 + last)
        with socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.67", 0)) as other:
            other.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        for connection in flood:
            while data := connection.recv(1024**2):
                received += data
    assert received.count(b"HTTP/1.1 200 ") >= 100
    assert b"HTTP/1.1 429 " in received


def test_what_follows_the_last_request_of_a_connection_is_no_error(site: Site) -> None:
    """Also while the answer waits for a peer that does not read."""
    ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
    deaf = [connect(site, (ask + b"\r\n") * 60 + ask + b"Connection: close\r\n\r\n" + ask) for _ in range(3)]
    for connection in deaf:
        with contextlib.suppress(ConnectionError):
            connection.sendall(ask * 100)
    for connection in deaf:
        with contextlib.suppress(ConnectionError):
            while connection.recv(1024**2):
                pass
        connection.close()
    assert "loop.error" not in site.logged()


def test_every_part_of_a_request_has_a_deadline(site: Site) -> None:
    with (
        connect(site) as silent,
        connect(site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as kept,
        connect(site, b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{") as refused,
        connect(site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT") as second,
    ):
        for name, connection in {"silent": silent, "kept": kept, "refused": refused, "second": second}.items():
            wait_until(lambda c=connection: ended(c), 20, name)  # type: ignore[misc]


def test_strangers_have_no_body_and_no_claim_is_believed(site: Site) -> None:
    post = b"POST /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert b" 413 " in answer(site, post + b"Content-Length: 5\r\n\r\nhello")
    assert b" 413 " in answer(site, post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    authorised = post.replace(b"/health/live", b"/api/v1/orders") + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    assert b" 413 " in answer(site, authorised + b"Content-Length: 4294967296\r\n\r\n{}")
    bomb = gzip.compress(b'{"patient": "' + b"x" * 50_000_000 + b'"}')  # nothing here is ever unpacked: it is no JSON
    packed = b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert b" 400 " in answer(site, authorised + packed + bomb)


AUTHORISED = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"


@pytest.mark.parametrize(("more", "status"), [(b"", b" 401 "), (AUTHORISED, b" 413 ")])
def test_the_body_of_a_refused_request_is_not_read_to_its_end(site: Site, more: bytes, status: bytes) -> None:
    post = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n" + more + b"\r\n"
    got = answer(site, post + b"x" * 65536)
    assert got.startswith(b"HTTP/1.1" + status)
    assert b"\r\nconnection: close\r\n" in got.lower()
    sent, piece = 0, b"x" * 65536
    with connect(site, post) as deaf, contextlib.suppress(ConnectionError):
        while sent < 1024**3:
            deaf.sendall(piece)
            sent += len(piece)
    assert sent < 64 * 1024**2  # the bound, and what the buffers of the system hold


def test_a_body_that_is_no_http_is_answered_once(site: Site) -> None:
    post = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTHORISED + b"\r\n"
    got = answer(site, post + b"no chunk\r\n" + b"x" * 100_000)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1
    assert "ASGI" not in site.logged()


def test_a_request_without_a_body_is_refused_and_the_connection_stays(site: Site) -> None:
    ask = b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n"
    got = answer(site, (ask + b"\r\n") * 2 + ask + b"Connection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 401 ") == 3


LENGTH, CHUNKS = b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\n" + LENGTH + CHUNKS,
        b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\n" + CHUNKS + LENGTH,
        b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"Content-Length: 5\r\n",
        b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a b<>/\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: user@x\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: " + b"x" * 300 + b"\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        b"GET /health/live HTTP/1.1\r\n",
        b"GET http://evil.example/health/live HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: x\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
    ],
)
@pytest.mark.parametrize("who", [b"", AUTHORISED], ids=["stranger", "known"])
def test_ht_03_a_head_that_may_mean_two_things_is_refused(site: Site, head: bytes, who: bytes) -> None:
    """And what comes behind it is no request: a proxy may have let it pass as a body."""
    got = answer(site, head + who + b"\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("host", [b"x", b"127.0.0.1:8080", b"[::1]:8080", b"broker.hospital.example", b"a_b", b""])
def test_usual_hosts_are_served(site: Site, host: bytes) -> None:
    got = answer(site, b"GET /health/live HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")


def test_no_redirect_names_the_host_that_the_caller_made_up(site: Site) -> None:
    for path in (b"/health/live/", b"/api/v1/status/", b"/static", b"//evil.example"):
        got = answer(site, b"GET " + path + b" HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b"evil.example" not in got
        place = re.search(rb"\r\nlocation: ?([^\r]*)", got.lower())
        assert place is None or place[1].startswith(b"/sign-in")


def test_requests_that_are_no_http_do_not_fill_the_log(site: Site) -> None:
    before = len(site.logged().splitlines())
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    for request in (b"\x16\x03\x01 no http\r\n\r\n", upgrade):
        for _ in range(20):
            answer(site, request)
    assert len(site.logged().splitlines()) - before <= 6


@pytest.mark.parametrize("who", [b"", AUTHORISED], ids=["stranger", "known"])
def test_ws_13_no_socket_outlives_a_request(site: Site, who: bytes) -> None:
    """No page opens one, and whoever asks for one gets none, whoever it is."""
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.example\r\n"
    for path in (b"/", b"/pulse", b"/api/v1/status"):
        got = answer(site, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + upgrade + key + who + b"\r\n")
        assert got.startswith(b"HTTP/1.1 ")
        assert b" 101 " not in got.partition(b"\r\n")[0]


def test_without_descriptors_doors_refuse_aloud_and_what_is_open_goes_on(site: Site) -> None:
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    hard = process.rlimit(resource.RLIMIT_NOFILE)[1]
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + 60, hard))
        try:
            with contextlib.ExitStack() as held:
                for _ in range(200):
                    held.enter_context(socket.create_connection(("127.0.0.1", site.hl7), timeout=20))
                wait_until(lambda: "descriptors.scarce" in site.logged(), 20, "it is said")
                assert ris.exchange(order(2))["MSA"][0][1] == "AA"  # database and spool have the reserve
                assert process.cpu_percent(0.5) < 60  # no loop spins at the accept
            wait_until(lambda: _echoes(site), 20, "the doors serve again")
        finally:
            process.rlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert metric(site, "broker_connections_refused_descriptors_total") > 0
    assert site.logged().count("descriptors.scarce") == 1


def test_known_peers_are_served_at_every_door_when_strangers_have_the_rest(tmp_path: Path) -> None:
    """Strangers at any door take what they may have; nodes, and the machine itself, are still let in at each."""
    modality, ris, strange = "127.0.0.9", "127.0.0.10", "127.0.0.2"
    nodes = (
        f'[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT1"\nhost = "{modality}"\nroles = ["modality"]\n'
        f'[[node]]\nname = "ris"\nkind = "hl7"\napplication = "RIS"\nhost = "{ris}"\nport = 9\nroles = ["ris"]\n'
    )
    with Site(tmp_path / "site", site=nodes) as site:
        assert site.process is not None
        process = psutil.Process(site.process.pid)
        hard = process.rlimit(resource.RLIMIT_NOFILE)[1]
        assert echo_time(site.dicom, source=strange) < 10  # with room for all they come in
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() * 8 // 5 + 60, hard))
        doors = (site.dicom, site.hl7, site.listeners["web"][0][1])
        with contextlib.ExitStack() as held:
            for number in range(300):
                source = (f"127.0.1.{1 + number // 3}", 0)
                held.enter_context(socket.create_connection(("127.0.0.1", doors[number % 3]), 20, source))
            wait_until(lambda: "descriptors.scarce" in site.logged(), 20, "strangers are refused")
            for door in doors:
                with socket.create_connection(("127.0.0.1", door), 20, (strange, 0)) as refused:
                    wait_until(lambda refused=refused: ended(refused), 20, "a stranger is refused")
            assert echo_time(site.dicom, source=modality, calling=b"CT1") < 10
            with Mllp(site.hl7, source=ris) as sender:
                assert sender.exchange(order(7))["MSA"][0][1] == "AA"
            assert fetch(site, "/health/live")
            assert site.command("status").returncode in (0, 1)
        process.rlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _echoes(site: Site) -> bool:
    try:
        return echo_time(site.dicom) < 10
    except (OSError, AssertionError):
        return False


def test_it_says_at_the_start_when_the_system_gives_too_few(site: Site) -> None:
    assert site.logged().count("descriptors.few") == 1


def test_the_doctor_looks_at_the_broker_beside_it(site: Site) -> None:
    assert site.process is not None
    told = json.loads(site.command("doctor", "--json").stdout)
    (descriptors,) = [finding for finding in told["findings"] if finding["check"] == "descriptors"]
    assert descriptors["verdict"] == "warn"
    assert f"process {site.process.pid}) may open 300 files, at most 300;" in descriptors["text"]
    assert "LimitNOFILE=" in descriptors["next_step"]
    lines = site.command("doctor")
    assert (lines.returncode, lines.stderr, told["bad"]) == (0, "", False)
    assert "\n      next: " in lines.stdout
    assert "the database answers" in lines.stdout


def test_the_doctor_by_rest_says_the_same(site: Site) -> None:
    said = json.loads(site.command("doctor", "--json").stdout)
    asked = urllib.request.Request(f"{site.web}/api/v1/doctor", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        told = json.loads(answer.read())
    for report in (said, told):  # free room and the time of an answer change
        for finding in report["findings"]:
            finding["text"] = re.sub(r"\d+", "N", finding["text"])
    assert told == said
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{site.web}/api/v1/doctor", timeout=30)


def _with_limit(folder: Path, number: int) -> str:
    """An interpreter whose process may have so many descriptors."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nulimit -n {number}\nexec {sys.executable} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    return str(script)
