"""uvicorn inside the broker's event loop, on a socket of ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from broker import telemetry


class _Quiet(uvicorn.Server):
    """Signals belong to the broker; `up` is set once it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """Serves the application on `host:port`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_keep_alive=30,
            limit_concurrency=200, timeout_graceful_shutdown=2, h11_max_incomplete_event_size=65536, ws="none",
        )  # fmt: skip
        self._server = _Quiet(config)

    @property
    def listening(self) -> tuple[str, int] | None:
        """The bound address, None before start and after stop."""
        if self._socket is None or self._task is None or self._task.done():
            return None
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    async def start(self) -> None:
        """Bind and serve. Raises OSError."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._socket]))
        await self._server.up.wait()

    async def stop(self) -> None:
        """Stop serving within about two seconds."""
        if self._task is None:
            return
        self._server.should_exit = True
        try:
            await asyncio.wait_for(self._task, 5)
        except (TimeoutError, asyncio.CancelledError):
            telemetry.logger().warning("web.stop_late")
        if self._socket is not None:
            self._socket.close()
