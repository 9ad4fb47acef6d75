"""A wheel built from the tree holds all that pages need: installed into an empty environment it serves each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from support.tree import BROKER, ROOT

ADMIN = BROKER / "admin"
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel({folder!r}))"
OPEN = """
import asyncio, json, sys
sys.path.append({tests!r})
import broker, httpx
from broker.settings import load
from broker.store.db.database import Database
from support.service.rest import TOKEN, application

app = application(Database("sqlite:///broker.db"), load(None))
async def ask():
    known = {{"Authorization": f"Bearer {{TOKEN}}", "Accept": "text/html", "Accept-Language": "fr"}}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://b", headers=known) as http:
        pages = [r.path for r in app.routes if "GET" in (r.methods or ()) and not r.path.startswith("/api/v1")]
        paths = [path for path in pages if "{{" not in path] + {more!r}
        return {{path: (await http.get(path)).status_code for path in paths}}
print(json.dumps([broker.__file__, asyncio.run(ask())]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: what a build leaves behind must not lie in the tree."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("broker", "config"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-W", "ignore", "-c", BUILD.format(folder=str(folder))]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / built.stdout.splitlines()[-1]


def test_it_holds_every_file_of_the_pages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("static/*", "templates/**/*.html", "locale/**/*.po")
    needed = {path.relative_to(ROOT).as_posix() for kind in kinds for path in ADMIN.glob(kind)}
    needed |= {f"broker/admin/guides/{path.name}" for path in (ROOT / "config").glob("*.md")}
    assert len(needed) > 30
    assert sorted(needed - held) == []


def test_every_page_opens_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """The environment sees the libraries of this one, and the broker of the wheel."""
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv").glob("lib/*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    static = [f"/static/{path.name}" for path in (ADMIN / "static").iterdir()]
    more = [*static, *(f"/help/{path.stem}" for path in (ROOT / "config").glob("*.md") if path.stem != "README")]
    script = OPEN.format(tests=str(ROOT / "tests"), more=more)
    command = [tmp_path / "venv/bin/python", "-I", "-c", script]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    file, answers = json.loads(ran.stdout.splitlines()[-1])
    assert file.startswith(str(site))
    assert [answers.pop(path) for path in ("/me", "/me/second-factor")] == [404, 404]  # for people, and a token asks
    assert {path: status for path, status in answers.items() if status >= 400} == {}
    assert {"/", "/settings", "/help", "/search", "/api/docs"} <= answers.keys()
