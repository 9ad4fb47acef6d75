"""What holds the event loop is measured and named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from structlog.testing import capture_logs

import broker
from broker import telemetry
from broker.service.stalls import BEAT, LIMIT, StallWatch

OURS = """
def parse(sleep, seconds):
    deeper(sleep, seconds)


def deeper(sleep, seconds):
    sleep(seconds)
"""


def ours() -> Callable[[Callable[[float], None], float], None]:
    """A function of the broker that takes its time, called by a library."""
    space: dict[str, Callable[[Callable[[float], None], float], None]] = {}
    exec(compile(OURS, str(Path(broker.__file__).parent / "hl7" / "message.py"), "exec"), space)
    return space["parse"]


def stalls(seconds: float, busy: Callable[[Callable[[float], None], float], None]) -> list[tuple[str, float]]:
    """Handlers and seconds that are logged when a function holds a loop."""

    async def main() -> None:
        with StallWatch(asyncio.get_running_loop()):
            await asyncio.sleep(2 * BEAT)
            busy(time.sleep, seconds)
            await asyncio.sleep(2 * BEAT)

    with capture_logs() as logs:
        asyncio.run(main())
    return [(log["handler"], log["seconds"]) for log in logs if log["event"] == "loop.stalled"]


def test_what_holds_the_loop_is_named_by_our_deepest_function() -> None:
    before = telemetry.LOOP_STALLS._sum.get()
    found = [stall for stall in stalls(4 * (BEAT + LIMIT), ours()) if stall[0] != "none"]
    assert [handler for handler, _ in found] == ["hl7.message.deeper"]
    assert found[0][1] >= 3 * (BEAT + LIMIT)
    assert telemetry.LOOP_STALLS._sum.get() - before >= found[0][1] - 0.01


def test_a_loop_that_only_waits_is_no_handler() -> None:
    def nobody(sleep: Callable[[float], None], seconds: float) -> None:
        sleep(seconds)

    assert {handler for handler, _ in stalls(2 * (BEAT + LIMIT), nobody)} == {"none"}
