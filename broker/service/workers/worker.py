"""Runs a further process on the same DICOM ports: it receives and answers; the first process does all the rest.

`python -m broker.service.workers.worker FD`, where FD is its end of a socket to the first process.
When FD closes, the first process is gone and this one ends at once. What it acknowledged is on stable storage, and a
broker that is gone must not answer.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

from broker import telemetry
from broker.errors import BrokerError, ConfigurationError
from broker.queue.clock_watch import ClockWatch
from broker.service import foundation, loop
from broker.service.doctor.threads import dumping, hold_back
from broker.service.housekeeping import Housekeeping
from broker.service.imaging import Imaging
from broker.service.stalls import StallWatch
from broker.service.workers.channel import EVERY, Report, Task, snapshot
from broker.traces.exporting import exporting
from broker.versions.watch import Watch


def _end_with_parent(descriptor: int) -> None:
    """End this process when the first one is gone. Runs in a thread, so that a busy event loop cannot delay it."""
    watch = select.poll()
    watch.register(descriptor, 0)  # no events but the hang-up, which is always told
    watch.poll()
    os._exit(1)


class _Worker:
    def __init__(self, task: Task, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._task = task
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._woken = False

    async def run(self) -> int:
        """Serve until told to stop. Raises BrokerError when it cannot start."""
        loop.on_signals(self._stopping.set)
        with ExitStack() as stack:
            settings = self._task.settings
            base = await asyncio.to_thread(foundation.lay, settings, self._task.log_key, stack)
            watch = Watch(base.database, base.site)
            stack.callback(watch.stop)
            imaging = Imaging(base, self._wake, self._task.ports)
            stack.callback(imaging.close)
            clock = ClockWatch()
            stack.callback(clock.stop)
            housekeeping = Housekeeping(base, clock, imaging.write_behind)
            stack.callback(housekeeping.stop)
            await imaging.start()
            housekeeping.start()
            clock.start()
            watch.start()
            helpers = [
                asyncio.create_task(self._listen()),
                asyncio.create_task(
                    self._report(
                        lambda: Report(imaging.accepting, base.database.writable, snapshot(), base.contacts.untold())
                    )
                ),
            ]
            telemetry.logger().info("worker.ready")
            await self._stopping.wait()
            await asyncio.to_thread(base.database.hasten)
            await imaging.stop(loop.GRACE)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        return 0

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            if line == b"stop\n":
                self._stopping.set()

    async def _report(self, report: Callable[[], Report]) -> None:
        while True:
            if self._heard:
                self._say(f"report {report().encode()}\n")
            await asyncio.sleep(EVERY)

    def _wake(self) -> None:
        """Tell the first process of work, from any thread. Many commits in one turn of the loop are one line."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        self._woken = False
        self._say("wake\n")

    @property
    def _heard(self) -> bool:
        """No earlier line waits."""
        return self._writer.transport.get_write_buffer_size() == 0

    def _say(self, line: str) -> None:
        """Write a line unless earlier ones wait: the first process looks for work by itself, and reports grow old."""
        if self._heard:
            self._writer.write(line.encode())


async def _serve(task: Task, channel: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    try:
        with StallWatch(asyncio.get_running_loop()):
            return await _Worker(task, reader, writer).run()
    except BrokerError as error:
        text = str(error) if isinstance(error, ConfigurationError) else telemetry.describe(error)
        telemetry.logger().error("worker.failed", error=text)
        return 1
    finally:
        writer.close()


def main(descriptor: int) -> int:
    """Be the worker at the other end of an inherited socket; the exit code."""
    hold_back()  # libuv let it inherit nothing that was held back
    channel = socket.socket(fileno=descriptor)
    task = Task.receive(channel)
    if task is None:
        return 1
    threading.Thread(target=_end_with_parent, args=(descriptor,), name="parent", daemon=True).start()
    log = task.settings.log
    telemetry.configure(log.level, log.format, log.identifiers, key=task.log_key, worker=task.number)
    with dumping(task.settings.service.data_dir, task.number), exporting(task.settings.traces, task.number):
        return loop.run(_serve(task, channel))


if __name__ == "__main__":
    loop.leave(main(int(sys.argv[1])))
