"""The unit of systemd: it is valid, as closed as it says, and a broker that it starts tells that it is ready."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.deploy.files import DEPLOY
from support.loops import SOON
from support.peers.tools import tool
from support.service.site import Site

from broker.service.loop import GRACE

UNIT = DEPLOY / "systemd" / "worklist-broker.service"
BACKUP, TIMER = (DEPLOY / "systemd" / f"worklist-broker-backup.{kind}" for kind in ("service", "timer"))
MOST = 1.2  # exposure by `systemd-analyze security`


def values(key: str) -> list[str]:
    """What the unit says of a key."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(params=[UNIT, BACKUP], ids=lambda unit: unit.stem)
def installed(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Each unit with a program that is there."""
    unit: Path = tmp_path / request.param.name
    program = Path(sys.executable).with_name("broker")
    text = request.param.read_text(encoding="utf-8").replace("/opt/worklist-broker/bin/broker", str(program))
    unit.write_text(text, encoding="utf-8")
    return unit


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_is_valid(installed: Path) -> None:
    checked = analyze("verify", "--man=no", "--recursive-errors=no", str(installed))
    ours = [line for line in checked.stderr.splitlines() if installed.name in line]
    assert (checked.returncode, ours) == (0, [])


def test_a_mistake_in_it_would_be_found(installed: Path) -> None:
    installed.write_text(installed.read_text(encoding="utf-8").replace("TimeoutStartSec=", "TimeoutStartSec=soon"))
    checked = analyze("verify", "--man=no", "--recursive-errors=no", str(installed))
    assert "Failed to parse TimeoutStartSec=" in checked.stderr


def test_the_timer_is_valid_and_names_a_time(tmp_path: Path) -> None:
    for file in (TIMER, BACKUP):
        text = file.read_text(encoding="utf-8").replace("/opt/worklist-broker/bin/broker", "/bin/true")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    checked = analyze("verify", "--man=no", "--recursive-errors=no", str(tmp_path / TIMER.name))
    assert [line for line in checked.stderr.splitlines() if TIMER.stem in line] == []
    [calendar] = re.findall("^OnCalendar=(.*)$", TIMER.read_text(encoding="utf-8"), re.MULTILINE)
    assert analyze("calendar", calendar).returncode == 0


def test_it_is_closed(installed: Path) -> None:
    told = analyze("security", "--offline=true", "--no-pager", str(installed))
    [exposure] = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert float(exposure) <= MOST


def test_a_stop_has_the_time_that_it_needs() -> None:
    assert int(values("TimeoutStopSec")[0]) >= 30 > GRACE
    assert values("KillMode") == ["mixed"]  # the first process ends its workers itself


def test_a_mistake_in_the_configuration_is_no_reason_to_start_again() -> None:
    assert values("Restart") == ["on-failure"]
    assert values("RestartPreventExitStatus") == ["2"]


def test_the_broker_says_that_it_is_ready_and_stops(tmp_path: Path) -> None:
    assert values("Type") == ["notify"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(4 * SOON)
        site = Site(tmp_path / "site")
        site.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        site.start()
        assert door.recv(100) == b"READY=1"
        assert site.stop() == 0
        assert door.recv(100) == b"STOPPING=1"


def test_the_user_is_the_one_that_sysusers_makes() -> None:
    made = (UNIT.with_name("worklist-broker.sysusers")).read_text(encoding="utf-8")
    [name] = re.findall(r"^u (\S+)", made, re.MULTILINE)
    assert values("User") == values("Group") == [name]
