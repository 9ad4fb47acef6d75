"""Runs a broker until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 trouble at start, 2 configuration error."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from broker import telemetry
from broker.errors import BrokerError, ConfigurationError
from broker.service.broker import Broker
from broker.service.datadir import DataDirectory
from broker.service.loop import loop_factory
from broker.settings import Settings

GRACE = 8.0  # seconds for running work after a stop signal


def serve(settings: Settings) -> int:
    """Run until told to stop; the exit code. Raises ConfigurationError."""
    os.umask(0o077)  # orders and images are nobody else's business
    data = DataDirectory(settings.service.data_dir)
    try:
        log = settings.log
        telemetry.configure(log.level, log.format, log.identifiers, key=data.log_key())
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_run(settings, data))
    finally:
        data.close()


async def _run(settings: Settings, data: DataDirectory) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        broker = Broker(settings, data)
    except ConfigurationError:
        raise
    except BrokerError as error:
        telemetry.logger().error("service.failed", error=telemetry.describe(error))
        return 1
    try:
        await broker.start()
    except BaseException:
        await broker.stop(0)
        raise
    await stop.wait()
    await broker.stop(GRACE)
    return 0


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Errors nobody awaited: type and place only, the default handler would print values."""
    error = context.get("exception")
    telemetry.logger().error("loop.error", error=telemetry.describe(error) if error else "unknown")
