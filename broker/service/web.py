"""Runs uvicorn inside the broker's event loop, on listening sockets that the broker opens."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from broker import telemetry
from broker.seats import BACKLOG
from broker.service.doors.http_protocol import WebProtocol
from broker.service.doors.web_gate import WebGate, WebLimits
from broker.service.doors.web_tls import WebTls


class _Quiet(uvicorn.Server):
    """A uvicorn server that leaves signals to the broker. `up` is set once it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _secured(tls: WebTls, http: Any, **given: Any) -> asyncio.Protocol:
    """The protocol of a new connection that begins with a handshake. uvicorn calls it as it calls its own."""
    return tls.before(partial(http, **given))()


class Server:
    """Serves an application on one listening socket."""

    def __init__(
        self,
        app: ASGIApp,
        limits: WebLimits,
        protocol: type[WebProtocol] = WebProtocol,
        tls: WebTls | None = None,
    ) -> None:
        """`protocol` serves each connection that the limits let in, after a handshake with `tls`."""
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        http: Any = partial(protocol, WebGate(limits))
        if tls is not None:
            http = partial(_secured, tls, http)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=math.ceil(limits.idle),
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=65536,
            ws="none",
            proxy_headers=False,
            backlog=BACKLOG,
            http=http,
        )
        self._server = _Quiet(config)

    def _bind(self) -> socket.socket:
        """A listening socket. Raises OSError."""
        raise NotImplementedError

    @property
    def bound(self) -> socket.socket | None:
        """The listening socket, None before start and after stop."""
        return None if self._task is None or self._task.done() else self._socket

    async def start(self) -> None:
        """Bind and serve. Raises OSError."""
        self._socket = self._bind()
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


class WebServer(Server):
    """Serves the application on `host:port`."""

    def __init__(self, app: FastAPI, host: str, port: int, limits: WebLimits, tls: WebTls | None = None) -> None:
        super().__init__(app, limits, tls=tls)
        self._address = (host, port)

    @property
    def listening(self) -> tuple[str, int] | None:
        """The bound address, None before start and after stop."""
        if self.bound is None:
            return None
        host, port = self.bound.getsockname()[:2]
        return str(host), int(port)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        return socket.create_server(self._address, family=family, backlog=BACKLOG)
