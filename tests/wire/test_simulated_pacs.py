"""A simulated PACS fails as it is told, one switch after the other; as a command it says what came."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.loops import run

from broker.simulate.pacs import SinkAnswer, VirtualPacs
from broker.simulate.sink_faults import SinkFaults, status_for_of, status_of, uid_of

ONE, TWO, THREE = (ct_slice(2000, SOPInstanceUID=f"2.999.{number}") for number in (1, 2, 3))
CLASS = ONE.sop_class


@pytest.mark.parametrize(("faults", "sent", "answers", "kept"), [
    ({}, [ONE, TWO, ONE], [0, 0, 0], 2),
    ({"soft": 0xA700}, [ONE, TWO, ONE, TWO], [0xA700, 0xA700, 0, 0], 2),
    ({"hard": 0x0110}, [ONE, ONE], [0x0110, 0x0110], 0),
    ({"soft": 0xA700, "hard": 0xC000}, [ONE, ONE], [0xA700, 0xC000], 0),
    ({"hard": 0xB000}, [ONE], [0xB000], 1),
    ({"status_for": {"2.999.2": 0xC000}}, [ONE, TWO, TWO], [0, 0xC000, 0xC000], 1),
    ({"status_for": {CLASS: 0xA900, "2.999.2": 0}}, [ONE, TWO], [0xA900, 0], 1),
    ({"disconnect_after": 2}, [ONE, TWO, THREE], [0, 0, None], 2),
    ({"abort_on": frozenset({"2.999.2"})}, [ONE, TWO], [0, None], 1),
    ({"abort_on": frozenset({CLASS})}, [ONE], [None], 0),
])  # fmt: skip
def test_each_switch(faults: dict[str, Any], sent: list[Any], answers: list[int | None], kept: int) -> None:
    told: list[SinkAnswer] = []

    def ask(port: int) -> list[int | None]:
        with RawScu(port) as scu:
            scu.associate([(CLASS, ONE.transfer_syntax)], called=b"PACS")
            return [scu.store(item) for item in sent]

    async def work() -> None:
        pacs = VirtualPacs("PACS", faults=SinkFaults(**faults), on_answer=told.append)
        await pacs.start()
        assert await asyncio.to_thread(ask, pacs.port) == answers
        await pacs.stop()
        assert len(pacs.kept) == kept

    run(work())
    given = [answer.status for answer in told]
    assert given == (answers if faults.get("abort_on") else [status for status in answers if status is not None])


def test_one_that_is_slow_and_one_that_never_reads() -> None:
    async def work() -> None:
        slow = VirtualPacs("PACS", faults=SinkFaults(delay=0.2))
        silent = VirtualPacs("PACS", faults=SinkFaults(never_read=True))
        await slow.start()
        await silent.start()

        def ask(port: int) -> int | None:
            with RawScu(port) as scu:
                scu.associate([(CLASS, ONE.transfer_syntax)], called=b"PACS")
                return scu.store(ONE)

        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.to_thread(ask, slow.port) == 0
        assert loop.time() - began >= 0.2
        asked = asyncio.ensure_future(asyncio.to_thread(ask, silent.port))
        await asyncio.wait({asked}, timeout=0.3)
        assert not asked.done()
        await silent.stop()
        assert await asked is None
        await slow.stop()
        assert (len(slow.kept), silent.kept) == (1, {})

    run(work())


def test_what_is_no_status_and_no_uid() -> None:
    assert [status_of(text) for text in ("A700", "0xa700", "0110")] == [0xA700, 0xA700, 0x0110]
    assert status_for_of("1.2.3=C000") == ("1.2.3", 0xC000)
    for wrong in ("", "A7", "FF00", "FE00", "-700", "0xG000"):
        with pytest.raises(ValueError):
            status_of(wrong)
    for wrong in ("", "1..2", "1.2=3", "1" * 65, "1.2\n"):
        with pytest.raises(ValueError):
            uid_of(wrong)


def test_the_command_says_what_came() -> None:
    command = [sys.executable, "-m", "broker", "simulate", "pacs", "--port", "0", "--json", "--hard", "C000"]
    with subprocess.Popen([*command, "--status-for", "2.999.1=0000"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        with RawScu(place["port"]) as scu:
            scu.associate([(CLASS, ONE.transfer_syntax)], called=b"PACS")
            assert [scu.store(ONE), scu.store(TWO)] == [0, 0xC000]
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        ended = json.loads(process.stdout.readline())
        assert process.wait(20) == 0
    assert [(line["sop_instance"], line["status"]) for line in lines] == [("2.999.1", "0000"), ("2.999.2", "C000")]
    assert lines[0]["length"] == len(ONE.data)
    assert ended == {"taken": 1, "answers": {"0000": 1, "C000": 1}}
    wrong = subprocess.run([*command, "--soft", "A7"], capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, "not a status of C-STORE" in " ".join(wrong.stderr.split())) == (2, True)
