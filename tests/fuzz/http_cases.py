"""Conversations of HTTP clients with the web door: requests in a row, and requests that break the rules of RFC 9112."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from fuzz import rest_cases
from fuzz.tree import havoc, pieces

Headers = list[tuple[bytes, bytes]]
METHODS = (b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"get", b"BREW", b"", b"G\xffT", b"X" * 300)
STATIC = (
    "/",
    "/static/",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/\\..\\x",
    "//",
    "/api/docs",
    "/nothing",
    "/%ff",
    "*",
)


@dataclass(frozen=True, slots=True)
class Requests:
    """What a client says, in pieces as TCP brings them. `sound`: `count` whole requests,
    each of which has an answer."""

    says: tuple[bytes, ...]
    end: str
    count: int
    sound: bool
    reads: int = 0


def talk(rng: Random, number: int) -> Requests:
    """A conversation of some requests."""
    broken = rng.randrange(4) == 0
    count = rng.choice((1, 1, 1, 2, 4))
    said = b""
    for place in range(count):
        line, headers, data = _request(rng, number * 10 + place)
        if broken and rng.randrange(2):
            said += _faulty(rng, line, headers, data or b"")
        else:
            said += _framed(rng, line, headers, data)
    if broken and rng.randrange(4) == 0:
        said = havoc(rng, said)
    reads = rng.choice((0,) * 25 + (1, 300))
    end = rng.choice(("close", "close", "silence", "reset"))
    return Requests(tuple(pieces(rng, said)), end, count, not broken, reads)


def _request(rng: Random, number: int) -> tuple[bytes, Headers, bytes | None]:
    if rng.randrange(15) == 0:
        return b"GET " + rng.choice(STATIC).encode() + b" HTTP/1.1", rest_cases.headers(rng, None), None
    method, path, given = rng.choice(rest_cases.operations())
    data = rest_cases.body(rng, path, given, number)
    target = rest_cases.target(rng, path, given)
    return f"{method} {target} HTTP/1.1".encode(), rest_cases.headers(rng, data), data


def _framed(rng: Random, line: bytes, headers: Headers, data: bytes | None) -> bytes:
    """A request as it should be."""
    if data is None:
        return _head(line, headers)
    if rng.randrange(5):
        return _head(line, [*headers, (b"Content-Length", b"%d" % len(data))]) + data
    return _head(line, [*headers, (b"Transfer-Encoding", b"chunked")]) + _chunks(rng, data)


def _head(line: bytes, headers: Headers) -> bytes:
    return line + b"\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"


def _chunks(rng: Random, data: bytes) -> bytes:
    size = rng.choice((1 + len(data) // 3, 1 + len(data), 70_000))
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _faulty(rng: Random, line: bytes, headers: Headers, data: bytes) -> bytes:
    """A request with one thing wrong, or unusual."""
    length, chunked = (b"Content-Length", b"%d" % len(data)), (b"Transfer-Encoding", b"chunked")
    method, _, rest = line.partition(b" ")
    way = rng.randrange(12)
    if way == 0:
        return _head(rng.choice(METHODS) + b" " + rest, [*headers, length]) + data
    if way == 1:
        version = rng.choice(
            (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 x", b"", b"http/1.1", b"HTTP/9.9", b"HTTPS/1.1")
        )
        return _head(line.replace(b"HTTP/1.1", version), [*headers, length]) + data
    if way == 2:
        target = rng.choice(
            (
                b"http://other/health/live",
                b"//x/y",
                b"/" + b"a" * 70_000,
                b"/a b",
                b"/\xff\xfe",
                b"/#x",
                b"?",
                b"/%",
                b"/\0",
            )
        )
        return _head(method + b" " + target + b" HTTP/1.1", [*headers, length]) + data
    if way == 3:
        wrong = rng.choice(
            (b"-1", b"+5", b"4294967296", b"9" * 40, b"0x10", b"", b"1, 1", b"5 ", b"abc", b"1_0", b"\xb2")
        )
        return _head(line, [*headers, (b"Content-Length", wrong)]) + data
    if way == 4:
        return _head(line, [*headers, length, (b"Content-Length", b"%d" % (len(data) + rng.choice((0, 1, -1))))]) + data
    if way == 5:
        return _head(line, [*headers, length, chunked]) + _chunks(rng, data)
    if way == 6:
        coding = rng.choice(
            (
                b"gzip",
                b"gzip, chunked",
                b"chunked, chunked",
                b"identity",
                b"xchunked",
                b"chunked;a=b",
                b"\x0bchunked",
                b"",
            )
        )
        return _head(line, [*headers, (b"Transfer-Encoding", coding)]) + _chunks(rng, data)
    if way == 7:
        bad = rng.choice(
            (
                b"fffffffff\r\n",
                b"-1\r\n",
                b"5\r\nabc\r\n",
                b"g\r\n",
                b"1;" + b"x" * 70_000 + b"\r\n",
                b"0\r\nX: y\r\n\r\n",
                b"\r\n",
                b"1\nx\n0\n\n",
            )
        )
        return _head(line, [*headers, chunked]) + bad + _chunks(rng, data)
    if way == 8:
        more = rng.choice((
            [(b"X", b"y")] * 500, [(b"X" * 70_000, b"")], [(b"X", b"\0")], [(b"X y", b"z")], [(b"", b"x")], [(b"X",
            b"a\r\n b")],
            [(b"X", b"a\nInjected: b")], [(b"Expect", b"100-continue")], [(b"Expect", b"x")], [(b"Host", b"other")],
            [(b"Host", b"")],
            [(b"Connection", b"close")], [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")], [(b"Upgrade",
            b"h2c")],
            [(b"Content-Encoding", b"gzip")], [(b"X-Forwarded-For", b"1.2.3.4")], [(b"Range", b"bytes=0-99999999")],
            [(b"Cookie", b"x" * 60_000)],
        ))  # fmt: skip
        return _head(line, [*headers, length, *more]) + data
    if way == 9:
        return (
            _head(line, [given for given in headers if given[0] != rng.choice((b"Host", b"Authorization"))] + [length])
            + data
        )
    if way == 10:
        whole = _head(line, [*headers, length]) + data
        return whole[: rng.randrange(len(whole) + 1)]
    return rng.choice(
        (
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x0bMSH|^~\\&|\r\x1c\r",
            b"\r\n\r\n",
            b"\n",
            bytes(99),
        )
    )
