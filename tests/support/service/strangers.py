"""What one address without any right can try at the doors of a broker, as a program of its own.

    python -m support.service.strangers DOOR KIND TARGET SECONDS

Doors are those of `DOORS`; "dicom-any" is that of a site that lets every device in. A target is a port of this machine
or the path of a socket. The kind "all" is all of them at once.

A stranger keeps so many connections, sends what an attack begins with on each, then more of it, and reads what comes.
Whenever a connection ends it opens the next. At the end it prints how many connections it had, how many bytes it sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.dicom.raw import IMPLICIT, RELEASE, VERIFICATION, associate_rq, echo_rq, p_data
from support.peers.tools import ENVIRONMENT

TESTS = Path(__file__).parents[2]
SOURCE = "127.0.0.66"
MB = 1_000_000
Content = bytes | Callable[[int], bytes]  # what is sent, or what is sent on the nth connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How a stranger behaves at a door."""

    connections: int  # at once
    first: Content = b""
    more: bytes = b""  # after that, again and again
    pause: float = 0.0  # seconds before each `more`
    reads: bool = True
    life: float = 3600.0  # seconds of a connection at most; an answer ends it too if `leaves`
    leaves: bool = False
    rest: float = 0.05  # seconds from the end of a connection to the next
    tls: bool = False


def _frame(*segments: bytes) -> bytes:
    return b"\x0b" + b"\r".join(segments) + b"\r\x1c\r"


def _http(head: bytes, body: bytes = b"") -> bytes:
    return b"%b HTTP/1.1\r\nHost: broker\r\nContent-Type: application/json\r\n\r\n%b" % (head, body)


def _title(number: int) -> bytes:
    return associate_rq([(VERIFICATION, IMPLICIT)], calling=b"X%d" % number)


def _called(calling: bytes = b"CT01", **more: bytes) -> bytes:
    return associate_rq([(VERIFICATION, IMPLICIT)], calling=calling, **more)


POST = b"POST /api/v1/orders HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
MSH = b"MSH|^~\\&|X|X|BROKER|RAD|20300312||%b|%d|P|2.5.1"
ORDER = MSH % (b"ORM^O01", 1)
REFUSED = _frame(MSH % (b"ZZZ^Z99", 1), b"PID|1||1^^^X||NO^BODY")
HEX = b"PID|1||1||\\X" + b"41" * (49 * MB // 10) + b"\\"
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
DEEP = b"[" * 100_000
MANY = associate_rq([(f"1.2.840.10008.5.1.4.1.1.{n}", IMPLICIT) for n in range(128)], calling=b"X" * 16)
HALF_DATA = struct.pack(">BBI", 4, 0, 262_144) + bytes(262_000)
HALF_COMMAND = p_data(1, bytes(8), is_command=True, last=False)
GET = b"GET / HTTP/1.1\r\n"

HL7 = {
    "silent": Attack(connections=500),
    "half": Attack(connections=300, first=b"\x0bMSH|^~\\&|X"),
    "drip": Attack(connections=100, first=b"\x0bMSH|^~\\&|", more=b"X", pause=0.2),
    "open": Attack(connections=80, first=b"\x0b" + ORDER + b"\rNTE|" + bytes(10 * MB)),
    "batches": Attack(connections=4, more=_frame(b"BHS|^~\\&\r" * 111_000)),
    "heads": Attack(connections=4, more=_frame(b"MSH|" * (99 * MB // 40))),
    "escapes": Attack(connections=4, more=_frame(ORDER, HEX)),
    "sets": Attack(connections=4, more=_frame(ORDER + b"||||||" + b"8859/1~" * 1_200_000)),
    "refused": Attack(connections=8, more=REFUSED),
    "segments": Attack(connections=4, more=_frame(ORDER, b"NTE|1||x\r" * 50_000)),
    "noise": Attack(connections=100, first=GET, more=b"x" * 1000, pause=0.05),
    "deaf": Attack(connections=50, more=REFUSED * 100, reads=False),
    "knock": Attack(connections=4, life=0, rest=0),
}
DICOM = {
    "silent": Attack(connections=500),
    "half": Attack(connections=300, first=_called()[:80]),
    "drip": Attack(connections=100, first=_called()[:8], more=b"\0", pause=0.2),
    "huge": Attack(connections=20, first=b"\x01\0\xff\xff\xff\xff", more=bytes(65536)),
    "large": Attack(connections=100, first=b"\x01\0\0\x03\xff\xff" + bytes(262_000)),
    "data": Attack(connections=20, first=b"\x04\0\x00\x03\xff\xff", more=bytes(65536)),
    "titles": Attack(connections=8, first=_title, life=1, leaves=True, rest=0.005),
    "known": Attack(connections=2, first=_called(), life=1, leaves=True, rest=0.005),
    "contexts": Attack(connections=8, first=MANY, life=1, leaves=True, rest=0.005),
    "other": Attack(connections=8, first=GET + b"\r\n", life=1, leaves=True),
    "knock": Attack(connections=4, life=0, rest=0),
}
TLS = {
    "silent": Attack(connections=300),
    "drip": Attack(connections=300, first=HALF_HELLO, more=b"\0", pause=0.2),
    "hello": Attack(connections=8, tls=True, life=1, leaves=True, rest=0),
}
ANYBODY = {
    "idle": Attack(connections=500, first=_called(b"X")),
    "open": Attack(connections=500, first=_called(b"X") + HALF_DATA),
    "message": Attack(connections=300, first=_called(b"X") + HALF_COMMAND),
    "echo": Attack(connections=16, first=_called(b"X"), more=echo_rq()),
    "deaf": Attack(connections=100, first=_called(b"X"), more=echo_rq() * 50, reads=False),
    "again": Attack(connections=8, first=_called(b"X") + RELEASE, life=1, rest=0.005),
}
WEB = {
    "silent": Attack(connections=1100),
    "half": Attack(connections=300, first=b"GET /health/live HTTP/1.1\r\nHo"),
    "drip": Attack(connections=100, first=GET + b"X: ", more=b"x", pause=0.2),
    "body": Attack(connections=100, first=POST + b"Content-Length: 1000000\r\n\r\n" + bytes(900_000)),
    "chunked": Attack(
        connections=8,
        first=POST + b"Transfer-Encoding: chunked\r\n\r\n",
        more=b"1000\r\n" + bytes(4096) + b"\r\n",
    ),
    "deep": Attack(connections=8, more=POST + b"Content-Length: 100000\r\n\r\n" + DEEP),
    "heads": Attack(connections=8, first=GET, more=b"X-A: " + b"x" * 60_000 + b"\r\n"),
    "requests": Attack(connections=8, more=_http(b"GET /api/v1/orders")),
    "ready": Attack(connections=8, more=_http(b"GET /health/ready")),
    "metrics": Attack(connections=8, more=_http(b"GET /metrics")),
    "page": Attack(connections=8, more=_http(b"GET /")),
    "deaf": Attack(connections=50, more=_http(b"GET /metrics"), reads=False),
    "bad": Attack(connections=8, first=b"\0\xff\r\n\r\n", life=1, leaves=True),
    "knock": Attack(connections=4, life=0, rest=0),
}
WEB_TLS = TLS | {  # the web asks strangers for no certificate: their handshakes succeed
    "shaken": Attack(connections=300, tls=True),
    "half": Attack(connections=100, tls=True, first=b"GET /health/live HTTP/1.1\r\nHo"),
    "body": Attack(connections=50, tls=True, first=POST + b"Content-Length: 1000000\r\n\r\n" + bytes(900_000)),
    "plain": Attack(connections=8, first=GET + b"\r\n", life=1, leaves=True),
}
CONTROL = {"silent": WEB["silent"], "half": WEB["half"], "body": WEB["body"]}
DOORS = {
    "hl7": HL7, "dicom": DICOM, "hl7-tls": TLS, "dicom-tls": TLS, "dicom-any": ANYBODY, "web": WEB, "web-tls": WEB_TLS,
    "control": CONTROL,
}  # fmt: skip


ALL = "all"  # kinds at once


class Stranger:
    """Carries out one attack."""

    def __init__(self, attack: Attack, target: str) -> None:
        """`target`: a port of this machine, or the path of a socket."""
        self._attack, self._target = attack, target
        self._numbers: Iterator[int] = itertools.count()
        self.opened = self.failed = self.sent = 0

    async def attack(self, seconds: float) -> None:
        """Attack for so long."""
        tasks = [asyncio.create_task(self._go_on()) for _ in range(self._attack.connections)]
        await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            writer = None
            try:
                reader, writer = await self._connect()
                self.opened += 1
                async with asyncio.timeout(self._attack.life or None):
                    await self._behave(reader, writer)
            except (OSError, TimeoutError, ssl.SSLError):
                self.failed += 1
            finally:
                if writer is not None:
                    writer.transport.abort()
            await asyncio.sleep(self._attack.rest)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self._target:
            return await asyncio.open_unix_connection(self._target)
        context = None
        if self._attack.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", int(self._target), local_addr=(SOURCE, 0), ssl=context)

    async def _behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attack = self._attack
        if not attack.life:
            return
        first = attack.first if isinstance(attack.first, bytes) else attack.first(next(self._numbers))
        sending = asyncio.create_task(self._send(writer, first))
        try:
            if not attack.reads:
                return await sending
            while await reader.read(65536):
                if attack.leaves:
                    return
        finally:
            sending.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await sending

    async def _send(self, writer: asyncio.StreamWriter, first: bytes) -> None:
        attack = self._attack
        data = first
        while True:
            for start in range(0, len(data), 65536):
                writer.write(data[start : start + 65536])
                await writer.drain()
            self.sent += len(data)
            if not attack.more:
                return await asyncio.Event().wait() and None
            data = attack.more
            await asyncio.sleep(attack.pause)


@contextlib.contextmanager
def attacking(door: str, kind: str, target: str, seconds: float = 3600) -> Iterator[subprocess.Popen[bytes]]:
    """A stranger in a process of its own, for as long as the context lasts or `seconds`."""
    command = [sys.executable, "-m", "support.service.strangers", door, kind, target, str(seconds)]
    process = subprocess.Popen(command, cwd=TESTS, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Carry out the attack that the arguments name."""
    door, kind, target, seconds = sys.argv[1:]
    os.nice(10)  # its processor is not that of the broker
    with contextlib.suppress(ValueError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    strangers = [Stranger(attack, target) for name, attack in DOORS[door].items() if kind in (name, ALL)]

    async def attack() -> None:
        await asyncio.gather(*(stranger.attack(float(seconds)) for stranger in strangers))

    asyncio.run(attack())
    print(*(sum(getattr(one, word) for one in strangers) for word in ("opened", "failed", "sent")), flush=True)


if __name__ == "__main__":
    main()
