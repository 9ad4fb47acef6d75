"""The runbook: each alert has its page, and its commands do what it says, by a running broker."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deploy.files import RUNBOOK, alerts
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.loops import SOON
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order
from support.tree import ROOT

from broker.settings import load

TEXT = RUNBOOK.read_text(encoding="utf-8")
NODES = """
[[node]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = 1
roles = ["destination"]
[default]
action = "send"
send = ["pacs"]
"""
IMAGE = ct_slice(65536)
# exit code 1 says that something is not well: the PACS of this test is away
FINDINGS = ("broker status", "broker doctor", "broker nodes test pacs")


def blocks(kind: str) -> list[str]:
    """The blocks of a kind."""
    found = re.findall(r"^```(\S*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == kind]


# what needs a system or an engine that no test has: each line, so that none is skipped silently
NOT_RUN = {
    "python3 -m venv /opt/worklist-broker": "tests/system/test_wheel.py installs into a new environment",
    "/opt/worklist-broker/bin/pip install .": "tests/system/test_wheel.py installs into a new environment",
    "systemd-sysusers": "makes a user of this machine; the file is read by test_systemd.py",
    "systemctl daemon-reload": "needs systemd; test_systemd.py verifies the units",
    "systemctl enable --now worklist-broker": "needs systemd; test_systemd.py starts the broker as the unit does",
    "systemctl enable --now worklist-broker-backup.timer": "needs systemd; test_systemd.py verifies the timer",
    "journalctl -u worklist-broker": "needs systemd",
    "cd deploy/compose": "the folder is there: test_compose.py",
    "docker compose up --detach --build": "needs an engine; test_compose.py and test_docker.py check the files",
    "docker compose logs broker": "needs an engine",
    "kubectl create namespace worklist-broker": "needs a cluster",
    "kubectl -n worklist-broker create secret generic broker-database --from-file=url=database-url.txt": "a cluster",
    "kubectl apply --kustomize deploy/kubernetes": "needs a cluster; test_kubernetes.py builds and checks the objects",
}
RUN_KINDS = {"sh", "sh-backup", "sh-check", "sh-restore", "sh-adopt"}


def plain_commands() -> list[str]:
    """The commands of the blocks for a machine that is set up, one a line, without their remarks."""
    lines = [line.partition("  #")[0].strip() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = sorted({line for block in blocks("sh") for line in block.splitlines()})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("runbook") / "site", site=NODES) as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_work(site: Site, command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "broker"
    if words == ["inventory"]:  # has no configuration
        ran = subprocess.run([sys.executable, "-m", "broker", *words], capture_output=True, text=True, check=False)
    else:
        ran = site.command(*words)
    assert ran.returncode in ((0, 1) if command in FINDINGS else (0,)), ran.stdout + ran.stderr


def test_no_command_is_left_out() -> None:
    """Each block is run here, is read as settings, or has lines that are run below or named with why they are not."""
    kinds = set(re.findall(r"^```(.+)$", TEXT, re.MULTILINE))
    assert kinds == RUN_KINDS | {"toml"}
    assert len(COMMANDS) > 10
    copies = [line for line in plain_commands() if line not in NOT_RUN]
    assert all(line.startswith(("cp ", "install ")) for line in copies), copies
    assert NOT_RUN.keys() <= set(plain_commands())


def test_its_files_are_put_where_the_units_look_for_them(tmp_path: Path) -> None:
    """The commands that copy, below another root and as the user of the test."""
    for folder in ("etc/sysusers.d", "etc/systemd/system", "opt/worklist-broker"):
        (tmp_path / folder).mkdir(parents=True)
    for line in (line for line in plain_commands() if line not in NOT_RUN):
        if line.startswith("cp env.example"):
            continue  # of compose: test_compose.py reads it
        words = re.sub(r" -[og] (root|broker)", "", line).split()
        moved = [str(tmp_path) + word if word.startswith("/") else word for word in words]
        ran = subprocess.run(moved, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    for file in ("worklist-broker.service", "worklist-broker-backup.service", "worklist-broker-backup.timer"):
        assert f"etc/systemd/system/{file}" in there
    assert {"etc/broker/broker.toml", "etc/broker/site.toml", "opt/worklist-broker/RUNBOOK.md"} <= there
    assert (tmp_path / "srv/backup/broker").is_dir()


def test_its_settings_are_settings(tmp_path: Path) -> None:
    for block in blocks("toml"):
        (tmp_path / "broker.toml").write_text(block, encoding="utf-8")
        assert load(tmp_path / "broker.toml").backup.folder == Path("/srv/backup/broker")


def test_each_alert_has_its_page_and_leads_there() -> None:
    _, _, told = TEXT.partition("\n## Alerts\n")
    pages = re.findall(r"^### (\w+)\n\n(.+)\n\n(.+)\n", told, re.MULTILINE)
    assert [name for name, _, _ in pages] == list(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"deploy/RUNBOOK.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket", "none")


def test_its_links_lead_somewhere() -> None:
    titles = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in titles, target
        else:
            assert (RUNBOOK.parent / target).is_file(), target


def test_the_files_of_the_source_that_it_names_exist() -> None:
    named = set(re.findall(r"\b((?:deploy|config|tests)/[\w./-]+\w)", TEXT))
    assert len(named) > 8
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def in_place(kind: str, site: Site, backups: Path) -> list[str]:
    """The words of a command of the runbook, with another folder of backups."""
    [command] = blocks(kind)
    program, *words = shlex.split(command)
    assert program == "broker"
    assert "/srv/backup/broker" in words
    return [str(backups) if word == "/srv/backup/broker" else word for word in words]


def done(site: Site, *words: str) -> str:
    """What a command prints that must end well."""
    ran = site.command(*words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_backup_of_a_running_broker_is_restored_elsewhere(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with Site(tmp_path / "one", site=NODES) as one, Mllp(one.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        with RawScu(one.dicom) as modality:
            modality.associate([(IMAGE.sop_class, IMAGE.transfer_syntax)])
            assert modality.store(IMAGE) == 0
        done(one, *in_place("sh-backup", one, backups))
        assert ris.exchange(order(2))["MSA"][0][1] == "AA"
    two = Site(tmp_path / "two", site=NODES)
    done(two, *in_place("sh-check", two, backups))
    assert not (two.data / "broker.db").exists()
    assert "paused" in done(two, *in_place("sh-restore", two, backups))
    with two:
        assert two.rows("select count(*) from message") == [(1,)]
        [(path,)] = two.rows("select path from instance")
        assert (two.data / "spool" / path).stat().st_size > 65536
        assert two.rows("select state from job where lane = 'deliver:pacs'") == [("ready",)]  # what was acknowledged
        with Mllp(two.hl7) as ris:  # the RIS sends since the backup again: what is known is a repeat
            assert [ris.exchange(order(n))["MSA"][0][1] for n in (1, 2)] == ["AA", "AA"]
        assert two.rows("select count(*) from requested_procedure") == [(2,)]
        done(two, "queue", "resume", "pacs", "--reason", "looked at")
        failures = "select failures > 0 from lane where name = 'deliver:pacs'"
        wait_until(lambda: two.rows(failures) == [(1,)], SOON, "the image is tried")


def test_images_of_the_old_spool_are_taken_in_after_a_restore(tmp_path: Path) -> None:
    backups, more = tmp_path / "backups", ct_slice(65536)
    with Site(tmp_path / "one", site=NODES) as one:
        done(one, *in_place("sh-backup", one, backups))
        with RawScu(one.dicom) as modality:
            modality.associate([(more.sop_class, more.transfer_syntax)])
            assert modality.store(more) == 0
    told = done(one, *in_place("sh-restore", one, backups), "--replace")
    [aside] = one.data.glob("before-restore-*/spool")
    assert f"broker fsck --adopt --from {aside}" in told.replace("\n", "")
    [command] = blocks("sh-adopt")
    program, *words = shlex.split(command)
    assert program == "broker"
    named = "/var/lib/broker/before-restore-20260312T023000/spool"
    assert named in words
    with one:
        assert one.rows("select count(*) from instance") == [(0,)]
        assert f"1 file of 0.1 MiB in {aside.relative_to(one.data)}" in done(one, "fsck")
        assert "1 file adopted" in done(one, *(str(aside) if word == named else word for word in words))
        assert one.rows("select sop_instance_uid from instance") == [(more.sop_instance,)]
        assert one.rows("select count(*) from job where lane = 'deliver:pacs'") == [(1,)]
