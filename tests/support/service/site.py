"""The real broker binary with a configuration written by the test."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from broker.store.db.database import Database
from support.peers.tools import ENVIRONMENT, wait_until
from support.service import program
from support.service.program import Program, run, start

# of the orders and objects that the tests send: none of it may ever stand in a log, at any level
CANARIES = (
    "canary",
    "compressedsamples",
    "19010203",
    "müller",
    "käthe",
    "m\\xfcller",
    "k\\xe4the",
    "19760229",
    "qzpat",
)
VT, FS, CR = b"\x0b", b"\x1c", b"\r"


@cache
def _ready_database() -> Path:
    """A SQLite database with the schema: to copy it takes a tenth of the time of the migrations."""
    folder = Path(tempfile.mkdtemp(prefix="schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Database(f"sqlite:///{folder / 'broker.db'}").close()
    return folder / "broker.db"


class Site:
    """`broker serve` in a subprocess. Ports are bound at 0 and read from listeners.json."""

    def __init__(
        self, folder: Path, *, site: str = "", config: dict[str, dict[str, Any]] | None = None, database_url: str = ""
    ) -> None:
        self.folder, self._database_url = folder, database_url
        self.data = folder / (config or {}).get("service", {}).get("data_dir", "data")
        self.log = folder / "broker.log"
        self.faults = folder / "faults"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "site.toml").write_text(site, encoding="utf-8")
        sections: dict[str, dict[str, Any]] = {
            "service": {"data_dir": "data", "site": "site.toml", "timezone": "Europe/Zurich"},
            "database": {"url": database_url},
            "dicom": {"port": 0, "accept": "any"},
            "hl7": {"port": 0},
            "web": {"port": 0},
            "delivery": {"retry_first": 0.2, "retry_last": 1},
            "log": {"level": "debug"},
        }
        for name, values in (config or {}).items():
            sections.setdefault(name, {}).update(values)
        text = ""
        for name, values in sections.items():
            text += f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
        (folder / "broker.toml").write_text(text, encoding="utf-8")
        self.environment = {"BROKER_FAULTS": str(self.faults)}
        self.interpreter = sys.executable
        self.process: Program | None = None
        self.listeners: dict[str, Any] = {}

    def start(self) -> Self:
        """Start and wait until every door is open."""
        self.launch()
        assert self.process is not None
        wait_until(lambda: self._announced() or self.process.poll() is not None, 60, "the broker is ready")
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        return self

    def launch(self) -> None:
        """Start, and wait for nothing."""
        if (self.data / "listeners.json").exists():
            (self.data / "listeners.json").unlink()
        if program.FORKED and not self.data.exists() and not self._database_url:
            self.data.mkdir(mode=0o700)
            shutil.copyfile(_ready_database(), self.data / "broker.db")
            (self.data / "broker.db").chmod(0o600)
        environment = {**ENVIRONMENT, "PYTHONWARNINGS": "default"} | self.environment
        with self.log.open("ab") as log:
            self.process = start(
                "serve", "--config", self.folder / "broker.toml", folder=self.folder, environment=environment,
                stdout=log, stderr=log, interpreter=self.interpreter,
            )  # fmt: skip

    def _announced(self) -> bool:
        file = self.data / "listeners.json"
        if not file.exists():
            return False
        self.listeners = json.loads(file.read_text(encoding="utf-8"))
        return bool(self.listeners["pid"] == self.process.pid)

    @property
    def dicom(self) -> int:
        """Port of the DICOM door."""
        return int(self.listeners["dicom"][0][1])

    @property
    def hl7(self) -> int:
        """Port of the first HL7 door."""
        return int(self.listeners["hl7"][0][1])

    @property
    def web(self) -> str:
        """Base URL of the web."""
        return f"http://127.0.0.1:{self.listeners['web'][0][1]}"

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def alive(self) -> bool:
        """The process runs."""
        return self.process is not None and self.process.poll() is None

    def command(self, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a `broker` command on this configuration; see `support.service.program.run`."""
        return run(*arguments, "--config", self.folder / "broker.toml", **{"folder": self.folder, **more})

    def rows(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """Read the SQLite database beside the broker."""
        connection = sqlite3.connect(f"file:{self.data / 'broker.db'}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(query, args).fetchall()
        finally:
            connection.close()

    def asked(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """What the web answers to a user of this machine, over the control socket; a `body` is posted."""
        transport = httpx.HTTPTransport(uds=str(self.data / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://broker", timeout=20) as http:
            return http.get(path) if body is None else http.post(path, json=body)

    def logged(self) -> str:
        """Everything the broker has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive():
            code = self.stop()
            assert error is not None or code == 0, self.logged()[-3000:]
        if error is None:
            self.assert_private()

    def assert_private(self) -> None:
        """No patient data in the log."""
        lines = self.logged().casefold().splitlines()
        assert [(canary, line) for canary in CANARIES for line in lines if canary in line][:5] == []


class Mllp:
    """A raw MLLP client, written from the framing rule alone."""

    def __init__(self, port: int, timeout: float = 20, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))

    @classmethod
    def over(cls, connection: socket.socket) -> Self:
        """Speak over a connection that stands."""
        made = cls.__new__(cls)
        made.socket = connection
        return made

    def send(self, message: bytes | str) -> None:
        """Send one framed message."""
        data = message.encode() if isinstance(message, str) else message
        self.socket.sendall(VT + data + FS + CR)

    def receive(self) -> bytes:
        """The next framed answer, empty when the peer closed the connection."""
        data = b""
        while not data.endswith(FS + CR):
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return b""
            if not piece:
                return b""
            data += piece
        return data.removeprefix(VT).removesuffix(FS + CR)

    def exchange(self, message: bytes | str) -> dict[str, list[list[str]]]:
        """Send and receive; the answer as segments by name, empty if the peer closed instead."""
        self.send(message)
        answer = self.receive().decode("utf-8", "replace")
        segments: dict[str, list[list[str]]] = {}
        for line in filter(None, answer.split("\r")):
            segments.setdefault(line[:3], []).append(line.split("|"))
        return segments

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def destination(name: str, port: int) -> str:
    """A `[[node]]` of site.toml that takes objects on a loopback port; its AE title is its name in capitals."""
    return (
        f'[[node]]\nname = "{name}"\nkind = "dicom"\nae_title = "{name.upper()}"\n'
        f'host = "127.0.0.1"\nport = {port}\nroles = ["destination"]\n'
    )


def order(
    number: int, *, control: str = "NW", modality: str = "CT", station: str = "CT01", start: str = "20300312103000",
    patient: str = "QZPAT", name: str = "Müller^Käthe", control_id: str = "", status: str = "SC",
) -> str:  # fmt: skip
    """An OMI^O23 v2.5.1 as a RIS sends it. `number` makes every identifier unique."""
    identity = control_id or f"M{number:06d}{control}{os.getpid()}"
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|{identity}|P|2.5.1||||||UNICODE UTF-8",
            f"PID|1||{patient}{number}^^^HOSPITAL||{name}||19760229|F",
            "PV1|1|O|AMB^^^HOSPITAL",
            f"ORC|{control}|PL{number}^RIS|FI{number}^RIS||{status}||||20300312075900",
            f"TQ1|1||||||{start}||R^Routine^HL70078",
            f"OBR|1|PL{number}^RIS|FI{number}^RIS|THX^Thorax^99LOC",
            f"IPC|A{number}|RP{number}|2.999.7.{number}|SPS{number}|{modality}|P1^Protocol^99LOC|||{station}",
            "",
        )
    )
