"""A request ends in bounded time, wherever the peer is slow: within TLS, in the head or in the body of its answer."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import httpx
import pytest
from support.peers.dripping import dripping

from broker.whole_time import WholeTime

SECONDS = 0.5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
HELLO = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"\x03\x03"  # the begin of a ServerHello of 16 KiB


@pytest.mark.parametrize(
    ("scheme", "first"), [("http", b""), ("http", HEAD[:10]), ("http", HEAD), ("https", HELLO)], ids=str
)
def test_a_peer_that_answers_byte_by_byte_is_left(scheme: str, first: bytes) -> None:
    limit = WholeTime(SECONDS)
    with dripping(first) as port, httpx.Client(timeout=30, trust_env=False) as client, closing(limit):
        began = time.monotonic()
        with (
            pytest.raises(httpx.TransportError),
            limit,
            client.stream("GET", f"{scheme}://127.0.0.1:{port}/", extensions=dict(limit.extensions)) as answer,
        ):
            answer.read()
        assert limit.is_over
        assert time.monotonic() - began < 20


def test_what_comes_in_time_is_taken_and_the_connection_stays() -> None:
    """The limit of one request does not end the next one, which uses the same connection."""
    counted = []

    def serve() -> None:
        line, _ = server.accept()
        counted.append(1)
        with line:
            while line.recv(65536):
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        url, limit = f"http://127.0.0.1:{server.getsockname()[1]}/", WholeTime(30.0)
        with httpx.Client(timeout=30, trust_env=False) as client, closing(limit):
            for _ in range(3):
                with limit, client.stream("GET", url, extensions=dict(limit.extensions)) as answer:
                    assert answer.read() == b"ok"
                assert not limit.is_over
        thread.join()
    assert counted == [1]
