"""Serves REST to commands over the control socket `data_dir/control.sock`."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from broker import telemetry
from broker.admin.callers import LOCAL_USER
from broker.service.control_socket import NAME, address, user_name
from broker.service.doors.http_protocol import WebProtocol
from broker.service.doors.web_gate import WebLimits
from broker.service.web import Server

HEAD, BODY, ANSWER = 5.0, 30.0, 30.0  # seconds for each part of a request: a command that hangs gives its seat back
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class ControlServer(Server):
    """Serves the application on the socket to the owner of the data directory alone. Needs the directory's lock."""

    def __init__(self, app: FastAPI, folder: Path) -> None:
        async def local(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, LOCAL_USER: scope["client"][0]}, receive, send)

        super().__init__(local, WebLimits(head=HEAD, body=BODY, answer=ANSWER), _Local)
        self._folder = folder

    def _bind(self) -> socket.socket:
        """Listen; a socket that a killed broker left behind is replaced. Raises OSError."""
        path = self._folder / NAME
        _close_to_others(self._folder)
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address(self._folder) as short:
                server.bind(short)  # the process's umask lets nobody else in before the next line
            path.chmod(0o600)
            server.listen(32)
        except BaseException:
            server.close()
            raise
        return server

    async def stop(self) -> None:
        """Stop serving and remove the socket."""
        if self.bound is not None:
            (self._folder / NAME).unlink(missing_ok=True)
        await super().stop()


def _close_to_others(folder: Path) -> None:
    """Close the folder to other users: whoever may write it could put another socket there and read orders."""
    if folder.stat().st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError:
            telemetry.logger().warning("control.folder_open", path=str(folder))


class _Local(WebProtocol):
    """HTTP protocol that names the calling user of this machine as `client`."""

    def caller(self, transport: asyncio.Transport) -> str:
        """All users of this machine have one share."""
        self.client = (_user(transport), 0)
        return "local"


def _user(transport: asyncio.Transport) -> str:
    """Name of the user at the other end, `local` where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "local"
    end = transport.get_extra_info("socket")
    with socket.socket(fileno=os.dup(end.fileno())) as copy:
        _, uid, _ = _CREDENTIALS.unpack(copy.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return user_name(uid)
