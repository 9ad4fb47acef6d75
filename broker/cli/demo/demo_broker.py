"""The real broker as a child process of the demonstration, with a configuration of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from broker.accounts.roles import UserRole
from broker.cli.asking import control
from broker.errors import BrokerError
from broker.settings import load
from broker.simulate.hospital import Doors
from broker.simulate.stations import Station

AE_TITLE = "BROKER"
START_WITHIN, STOP_WITHIN = 60.0, 15.0  # seconds
TAIL = 15  # lines of the log shown when something is wrong

_SETTINGS = """\
[service]
data_dir = "broker-data"
site = "site.toml"

[dicom]
ae_title = "{ae_title}"
port = 0

[hl7]
port = 0

[web]
port = 0

[worklist]
# ORM^O01 has no field for the station: its orders go to this one
default_station = "{default_station}"

[delivery]
retry_first = 0.5

[log]
level = "warning"
"""

_MODALITY = """\
[[node]]
name = "{name}"
kind = "dicom"
ae_title = "{ae_title}"
roles = ["modality"]

"""

_DESTINATION = """\
[[node]]
name = "{name}"
kind = "dicom"
ae_title = "{ae_title}"
host = "127.0.0.1"
port = {port}
roles = ["destination"]
associations = 2

"""

_RULES = """\
[[rule]]
name = "everything from our modalities to the archive"
when = { field = "assoc.calling_ae", op = "glob", value = "SIM_*" }
send = ["archive"]
  [[rule.example]]
  facts = { "assoc.calling_ae" = "SIM_CT", "tag.Modality" = "CT" }
  sends = ["archive"]

[[rule]]
name = "mammography to CAD as well"
when = { all = [
  { field = "tag.Modality", op = "is", value = "MG" },
  { field = "assoc.calling_ae", op = "glob", value = "SIM_MG*" },
] }
send = ["cad"]
  [[rule.example]]
  facts = { "assoc.calling_ae" = "SIM_MG", "tag.Modality" = "MG" }
  sends = ["archive", "cad"]

[default]
action = "hold"
"""


class ChildFailed(BrokerError):
    """The broker did not start."""

    code = "demo"


def write_configuration(directory: Path, stations: tuple[Station, ...], pacs: Mapping[str, tuple[str, int]]) -> Path:
    """Write broker.toml and site.toml; the path of the first. `pacs`: AE title and port by name of the node."""
    default = next((station.ae_title for station in stations if station.interface == "ORM"), "UNASSIGNED")
    nodes = [_MODALITY.format(name=s.ae_title.lower(), ae_title=s.ae_title) for s in stations]
    nodes += [_DESTINATION.format(name=name, ae_title=title, port=port) for name, (title, port) in pacs.items()]
    (directory / "site.toml").write_text("".join(nodes) + _RULES, encoding="utf-8")
    config = directory / "broker.toml"
    config.write_text(_SETTINGS.format(ae_title=AE_TITLE, default_station=default), encoding="utf-8")
    return config


class BrokerProcess:
    """Started by the constructor; `doors` waits until it serves, `stop` ends it."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.data_dir = config.parent / "broker-data"
        self.log = config.parent / "broker.log"
        self.web = ""
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("BROKER_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter and package
                [sys.executable, "-m", "broker", "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; we stop it in order
            )

    def doors(self) -> Doors:
        """Where it listens, once it does. Raises ChildFailed with the end of the log."""
        announcement = self.data_dir / "listeners.json"
        deadline = time.monotonic() + START_WITHIN
        while not announcement.exists():
            if self._process.poll() is not None:
                raise ChildFailed(
                    f"the broker ended at its start (exit code {self._process.returncode})\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise ChildFailed(f"the broker was not ready within {START_WITHIN:.0f} s\n{self.tail()}")
            time.sleep(0.02)
        listeners = json.loads(announcement.read_text(encoding="utf-8"))
        host, port = listeners["web"][0]
        self.web = f"http://{host}:{port}/"
        hl7, dicom = listeners["hl7"][0], listeners["dicom"][0]
        return Doors((hl7[0], hl7[1]), (dicom[0], dicom[1]), AE_TITLE)

    def sign_in_link(self) -> str:
        """A link by which the user `demo`, an admin, sets a password and is signed in. Raises ChildFailed."""
        user = {"name": "demo", "role": UserRole.ADMIN}
        answer = control.call(load(self._config), "POST", "/api/v1/users", user)
        if answer is None or not answer.good:
            raise ChildFailed(f"the broker makes no user\n{self.tail()}")
        return str(answer.body["link"]["url"])

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL:])

    def stop(self) -> int:
        """End it in order, by force after a while; its exit code."""
        if self.running:
            self._process.terminate()
        try:
            return self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
