"""Serves the pages to a browser from a thread of the tests, without a broker around them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from support.peers.tools import wait_until


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        wait_until(lambda: server.started, 20, "the pages are served")
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
