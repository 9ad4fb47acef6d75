"""Work in threads, called from the event loop."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from broker.threads import Threads, long_work


def test_who_is_cancelled_goes_on_only_when_the_thread_is_done() -> None:
    threads = Threads(1, "test")
    started, go = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go.wait(10)

    async def caller() -> None:
        await threads.call(work)

    async def main() -> None:
        task = asyncio.create_task(caller())
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        asyncio.run(main())
    finally:
        go.set()
        threads.close()


def test_long_work_leaves_the_interpreter_to_the_loop_sooner_and_only_meanwhile() -> None:
    usual = sys.getswitchinterval()
    with long_work:
        with long_work:
            assert sys.getswitchinterval() < usual / 5
        assert sys.getswitchinterval() < usual / 5
    assert sys.getswitchinterval() == usual
