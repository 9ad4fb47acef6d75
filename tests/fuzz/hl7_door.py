"""The HL7 door on a database, over connections without a socket; what it says back is checked frame by frame."""

from __future__ import annotations

import asyncio
import re
from zoneinfo import ZoneInfo

from broker.hl7 import work
from broker.hl7.mllp.server import CHUNK, Limits, MllpServer
from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import built_in
from fuzz import hl7_messages as messages
from fuzz.door import Door
from fuzz.hl7_cases import END, LIMIT, VT, Talk, answered, codes
from fuzz.inline import InlineDatabase, Stream, is_gone

LIMITS = Limits(LIMIT, 50, 20, 40, 30, 50, 4 << 20)
ANSWERED = 5.0  # virtual seconds in which the door has answered all it will
PROBE = "PROBE"


class Hl7Door(Door):
    """`check` says a case to it."""

    NAME = "hl7"
    FRESH = 2000

    def serve(self, database: InlineDatabase) -> None:
        """Build the listener of orders."""
        door = OrderDoor(
            database,  # type: ignore[arg-type]
            Interface(name="fuzz"), lambda header: built_in(), zone=ZoneInfo("Europe/Zurich"),
            default_station="UNASSIGNED", refused_bytes=1 << 40,
        )  # fmt: skip
        self._server = MllpServer(
            "127.0.0.1", 0, door.handle, on_oversize=door.on_oversize, on_truncated=door.on_truncated, limits=LIMITS
        )

    def warm(self) -> None:
        """Take an order."""
        self.check(Talk((probe(0),), "close", (), (), True))

    def check(self, case: Talk) -> None:
        """Run a case. Raises AssertionError, or what a defect raises."""
        number = self.count_case()
        self.loop.held = 0.0
        said, gone = self.loop.run_until_complete(self._converse(case, number))
        answers = answered(said) if not case.reads else []
        heard = sum(map(len, case.says))
        assert len(said) <= (heard // 3 + 1) * 300 + work.room(heard), "answers much longer than what was said"
        named = [found for answer in answers for found in codes(answer)]
        if not case.reads and case.end != "reset" and not gone:
            _in_order(case, [control for _, control in named])
        for code, control in named:
            assert control not in case.taken or code == b"AA", f"{code!r} for an order that is right"
        for answer in answers:
            told = [line for line in answer.split(b"\r") if re.match(rb"ERR\|[^|]*\|(?:PID|MRG|PV1)", line)]
            assert not any(messages.CANARY.encode() in line for line in told), "a value of a patient in an answer"

    async def _converse(self, case: Talk, number: int) -> tuple[bytes, bool]:
        """What the door said, and whether it ended the connection before it heard all."""
        connection = self._connect(case.reads)
        for piece in case.says:
            connection.arrive(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(ANSWERED)
        gone = connection.gone or connection.is_closing() or connection.finished
        said = bytes(connection.said)
        if case.sound and not gone:
            connection.arrive(probe(number))
            await asyncio.sleep(ANSWERED)
            assert codes(bytes(connection.said[len(said) :])) == [(b"AA", PROBE.encode())], (
                "an order behind others is not taken"
            )
        if case.end != "silence":
            connection.end(reset=case.end == "reset")
        assert await is_gone(connection), "a connection stays open"
        if number % 5 == 0 and not case.sound:
            other = self._connect(0)
            other.arrive(probe(number))
            await asyncio.sleep(ANSWERED)
            assert codes(bytes(other.said)) == [(b"AA", PROBE.encode())], "an order on another connection is not taken"
            other.end()
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        assert not self._server._open, "a connection is counted that is gone"
        assert self._server.seats.bytes == 0, "bytes are counted that are gone"
        return said, gone

    def _connect(self, reads: int) -> Stream:
        reader = asyncio.StreamReader(CHUNK, self.loop)
        return Stream(asyncio.StreamReaderProtocol(reader, self._server._accept, self.loop), reads=reads)  # type: ignore[arg-type]


def probe(number: int) -> bytes:
    """The frame of an order that is right."""
    return VT + ("\r".join("|".join(line) for line in messages.good(number + 10**9, PROBE)) + "\r").encode() + END


def _in_order(case: Talk, controls: list[bytes]) -> None:
    """Each message that must be answered was, in the order in which they came."""
    position = 0
    for control in case.ids:
        assert control in controls[position:], f"no answer to {control!r}"
        position = controls.index(control, position) + 1
