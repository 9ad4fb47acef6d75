"""The image: our lint of its Dockerfile, what it copies, and the health check against a running broker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.deploy.dockerfile import findings, parse
from support.deploy.files import DEPLOY
from support.service.site import Site
from support.tree import ROOT

from broker import __version__
from broker.settings import load

FOLDER = DEPLOY / "docker"
TEXT = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
CHECK = FOLDER / "healthcheck.py"


def test_the_lint_finds_nothing() -> None:
    assert findings(TEXT) == []


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("DL3006", "python:3.12.11-slim-trixie\n\nFROM", "python:latest\n\nFROM"),
        ("DL3006", "python:3.12.11-slim-trixie\n\nFROM", "python\n\nFROM"),
        ("stage of its own", "FROM ${BASE}\nLABEL", "LABEL"),
        ("DL3020", "COPY broker broker", "ADD broker broker"),
        ("DL3002", "USER 10001:10001", "USER root"),
        ("DL3002", "USER 10001:10001\n", ""),
        ("owner", "COPY --chown=0:0 deploy", "COPY deploy"),
        ("belongs to root", "--chown=0:0 deploy", "--chown=10001:10001 deploy"),
        ("DL3025", 'CMD ["serve"]', "CMD serve"),
        ("DL3025", "HEALTHCHECK --interval", "#"),
        ("DL3000", "WORKDIR /src", "WORKDIR src"),
        ("DL3003", "RUN python -m venv", "RUN cd /tmp && python -m venv"),
        ("DL3042", " --no-cache-dir", ""),
        ("build tools", "postgresql-client-17", "postgresql-client-17 gcc"),
        ("build tools", "&& python -m pip uninstall", "&& python -m pip install x && python -m pip uninstall"),
        ("DL3015", " --no-install-recommends", ""),
        ("DL3009", " && rm -rf /var/lib/apt/lists/*", " && true"),
        ("secret", "ENV PATH=", "ENV ADMIN_TOKEN=1 PATH="),
        ("SIGTERM", "STOPSIGNAL SIGTERM\n", ""),
        ("volume", 'VOLUME ["/data", "/backup"]\n', ""),
    ],
)
def test_the_lint_finds_each_mistake(rule: str, old: str, new: str) -> None:
    assert old in TEXT
    assert any(rule in found for found in findings(TEXT.replace(old, new, 1)))


def test_what_it_copies_is_there_and_is_let_in() -> None:
    let_in = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"]
    copied = [
        source
        for stage in parse(TEXT)
        for copy in stage.all("COPY")
        if "--from=" not in copy
        for source in [word for word in copy.split() if not word.startswith("--")][:-1]
    ]
    assert {"broker", "config", "pyproject.toml"} <= set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert sorted(copied) == sorted(let_in)


def test_its_environment_is_settings_that_the_broker_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    [variables] = parse(TEXT)[-1].all("ENV")
    for name, value in re.findall(r"(BROKER_\w+)=(\S+)", variables):
        monkeypatch.setenv(name, value)
    settings = load(None)
    assert str(settings.service.data_dir) == "/data"
    ports = {settings.dicom.port, settings.hl7.port, settings.web.port}
    assert ports == set(map(int, parse(TEXT)[-1].all("EXPOSE")[0].split()))
    assert {settings.dicom.host, settings.hl7.host, settings.web.host} == {"0.0.0.0"}


def test_it_needs_no_later_python_than_it_has() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [least] = re.findall(r'requires-python = ">=3\.(\d+)"', project)
    assert all(int(minor) >= int(least) for minor in re.findall(r"python:3\.(\d+)", TEXT))
    assert f"worklist-broker:{__version__}" in TEXT


def check(data: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BROKER_SERVICE__DATA_DIR": str(data)}
    return subprocess.run([sys.executable, CHECK], env=environment, capture_output=True, text=True, check=False)


def test_the_health_check_knows_a_broker_that_lives(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        assert check(site.data).returncode == 0
    stopped = check(site.data)
    assert (stopped.returncode, "does not answer" in stopped.stderr) == (1, True)
