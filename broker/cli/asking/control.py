"""Reaches the broker of a data directory: over its control socket, or its database while no broker runs."""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import BadContent, PeerFault
from broker.model.audit import LOCAL
from broker.service.control_socket import address
from broker.settings import Settings

if TYPE_CHECKING:
    import httpx

    from broker.store.db.database import Database

TIMEOUT = 120.0  # seconds for an answer
_HOST = "http://broker"


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What the broker answers: HTTP status, and the body (decoded JSON, or text)."""

    status: int
    body: Any

    @property
    def good(self) -> bool:
        """A status of 2xx."""
        return 200 <= self.status < 300

    @property
    def problem(self) -> str:
        """Why it was refused, for people: one line for each field."""
        if not isinstance(self.body, dict):
            return f"HTTP {self.status}"
        lines = [str(self.body.get("detail") or self.body.get("title") or f"HTTP {self.status}")]
        lines += [f"{error['path']}: {error['text']}" for error in self.body.get("errors", ())]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer that comes in pieces of text, or what was answered instead of it."""

    parts: Iterator[str]
    refused: ServerAnswer | None


def call(
    settings: Settings,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT,
) -> ServerAnswer | None:
    """Ask the running broker, with the admin role; None if none runs. `body` is sent as JSON.

    `timeout`: seconds for each wait.

    Raises PeerFault when it does not answer, BadContent for an answer that is no JSON.
    """
    with _connected(settings.service.data_dir, timeout) as http:
        return None if http is None else _read(http.request(method, f"{_HOST}{path}", json=body, headers=headers))


@contextmanager
def stream(settings: Settings, path: str, body: Any) -> Iterator[StreamedAnswer | None]:
    """POST to the running broker and read the answer as it comes; None if none runs. Raises PeerFault."""
    with _connected(settings.service.data_dir) as http:
        if http is None:
            yield None
            return
        with http.stream("POST", f"{_HOST}{path}", json=body) as response:
            if response.is_success:
                yield StreamedAnswer(response.iter_text(), None)
            else:
                response.read()
                yield StreamedAnswer(iter(()), _read(response))


@contextmanager
def _connected(folder: Path, timeout: float = TIMEOUT) -> Iterator[httpx.Client | None]:
    """A client of the control socket, None if nobody listens there. Raises PeerFault."""
    import httpx  # takes a while to load

    with ExitStack() as stack:
        try:
            short = stack.enter_context(address(folder))
            served = _served(short, timeout)
        except FileNotFoundError:
            served = False
        except OSError as error:
            raise PeerFault(f"the control socket cannot be used: {error.strerror or type(error).__name__}") from None
        if not served:
            yield None
            return
        try:
            # a socket of this machine has no TLS, and to load authorities takes 40 ms of the processor
            transport = httpx.HTTPTransport(uds=short, verify=False)
            yield stack.enter_context(httpx.Client(transport=transport, timeout=timeout))
        except httpx.HTTPError as error:
            raise PeerFault(f"the broker does not answer: {type(error).__name__}") from None


def _read(response: httpx.Response) -> ServerAnswer:
    """Raises BadContent for an answer that is no JSON."""
    kind = response.headers.get("content-type", "")
    try:
        text = response.text
        return ServerAnswer(response.status_code, json.loads(text) if "json" in kind and text else text)
    except ValueError:
        raise BadContent("the broker's answer is no JSON") from None


def _served(path: str, timeout: float) -> bool:
    """Somebody listens; a socket that a killed broker left behind refuses. Raises other OSErrors (not our user)."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


@contextmanager
def alone(settings: Settings) -> Iterator[Database]:
    """The database under the lock of the data directory, for a command while no broker runs.

    Raises ConfigurationError when a broker runs or the database cannot be used, StoreUnavailable.
    """
    from broker.service.datadir import DataDirectory  # load what a command beside a running broker does not need
    from broker.store.db.database import Database

    data = DataDirectory(settings.service.data_dir)
    try:
        database = Database(settings.database_url())
        try:
            yield database
        finally:
            database.close()
    finally:
        data.close()


def note_view(database: Database, action: str, count: int, **detail: Any) -> None:
    """Note in the audit trail what the user of this machine has seen by a command while no broker runs.

    `action` begins with the kind of what was seen. Raises StoreUnavailable.
    """
    from broker.store.audit.adding import add_audit

    who, kind = f"cli:{getpass.getuser()}", action.partition(".")[0]
    database.execute(add_audit, time.time(), who, action, kind, 0, {**detail, "count": count}, address=LOCAL)
