"""Runs a broker until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 trouble, 2 configuration error."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from broker import memory, telemetry
from broker.errors import BrokerError, ConfigurationError
from broker.service import loop
from broker.service.broker import Broker
from broker.service.datadir import DataDirectory
from broker.service.doctor.threads import dumping
from broker.service.doors import descriptors
from broker.service.doors.open_files import warn_of_open_files
from broker.service.stalls import StallWatch
from broker.settings import Settings
from broker.supervisor import Supervisor
from broker.traces.exporting import exporting

COLLECT = (700, 10, 10)  # new objects between two looks for garbage, and how often older ones are looked at too


FIRST_ADMIN = """\

Nobody can sign in yet. Make the first admin at this address, which works once and for 24 hours:

    {url}

Then add others on the page Users. Without a browser: broker users add NAME --role admin
"""


def serve(settings: Settings, config: Path | None = None, tell: Callable[[str], None] = lambda text: None) -> int:
    """Run until told to stop; the exit code. `config` is the file of the settings, `tell` tells people something.

    `tell` is called on the event loop, and may not wait.

    Raises ConfigurationError.
    """
    open_standard_streams()
    memory.few_arenas()
    descriptors.raise_limit()  # workers inherit it
    os.umask(0o077)  # orders and images are nobody else's business
    data = DataDirectory(settings.service.data_dir)
    try:
        log = settings.log
        number = 1 if settings.service.workers > 1 else None
        telemetry.configure(log.level, log.format, log.identifiers, key=data.log_key(), worker=number)
        warn_of_open_files(settings, config)
        if data.key_replaced:
            telemetry.logger().warning("log_key.replaced", path=str(data.path / "log.key"))
        with dumping(data.path), exporting(settings.traces):
            return loop.run(_run(settings, config, data, tell))
    finally:
        data.close()


def open_standard_streams() -> None:
    """Open those of the three that were closed by who started us: a connection would get its number, and log lines."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # has the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end


async def _run(settings: Settings, config: Path | None, data: DataDirectory, tell: Callable[[str], None]) -> int:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    loop.on_signals(partial(end, 0))
    stack = ExitStack()
    try:
        broker = Broker(settings, data, partial(end, 1), config)
        try:
            await broker.start()
            if url := await broker.first_admin_link():
                tell(FIRST_ADMIN.format(url=url))
            stack.enter_context(StallWatch(asyncio.get_running_loop()))
            gc.freeze()  # what is there now stays until the end: it need not be looked at again
            gc.set_threshold(*COLLECT)
            stack.enter_context(Supervisor())
        except BaseException:
            await broker.stop(0)
            raise
    except ConfigurationError:
        raise
    except BrokerError as error:
        telemetry.logger().error("service.failed", error=telemetry.describe(error))
        return 1
    except RuntimeError as error:
        if "thread" not in str(error):
            raise
        telemetry.logger().error("service.no_threads", error=telemetry.describe(error))  # ulimit -u, or the cgroup's
        return 1
    with stack:
        code = await ended
    await broker.stop(loop.GRACE)
    return code
