"""Rules about the tree that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from support.tree import BROKER, ROOT, modules, name

ASYNC_PACKAGES = {"dicom", "hl7", "service", "admin", "simulate", "tools"}
# what waits: a door, the queue, what sends to a peer; the decisions beside them stay plain functions
ASYNC_FILES = (
    "scp.py",
    "listener.py",
    "dispatcher.py",
    "feed.py",
    "breakers.py",
    "lost_claims.py",
    "hand_over.py",
    "lane_work.py",
    "sender.py",
    "credentials.py",
    "_probe.py",
    "source_import.py",
    "source_schedule.py",
)
MAX_MODULE, MAX_FUNCTION = 350, 60  # lines


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_codemap_names_only_files_that_exist() -> None:
    text = (BROKER / "README.md").read_text(encoding="utf-8")
    mentioned = re.findall(r"`([\w/]+\.(?:py|toml))`", text)
    missing = [file for file in mentioned if "/" in file and not ((ROOT / file).exists() or (BROKER / file).exists())]
    assert mentioned
    assert missing == []


def test_modules_and_functions_stay_small() -> None:
    long_modules = [name(p) for p in modules() if len(p.read_text(encoding="utf-8").splitlines()) > MAX_MODULE]
    assert long_modules == []
    long_functions = [
        f"{name(path)}:{f.lineno} {f.name}"
        for path in modules()
        for f in functions(path)
        if (f.end_lineno or f.lineno) - f.lineno + 1 > MAX_FUNCTION
    ]
    assert long_functions == []


def test_async_stays_at_the_edges() -> None:
    inside = [
        f"{name(path)}:{f.lineno}"
        for path in modules()
        for f in functions(path)
        if isinstance(f, ast.AsyncFunctionDef)
        and path.relative_to(BROKER).parts[0] not in ASYNC_PACKAGES
        and not path.name.endswith(ASYNC_FILES)
    ]
    assert inside == []


def test_sql_stays_in_the_store() -> None:
    outside = []
    for path in modules():
        if path.relative_to(BROKER).parts[0] == "store":
            continue
        text = path.read_text(encoding="utf-8")
        if re.search(r"\b(select|insert|update|delete|text)\(", text) and "from sqlalchemy import" in text:
            outside.append(name(path))
        if re.search(r"from broker\.store\.schema(\.\w+)? import ", text):
            outside.append(name(path))
    assert outside == []


def test_public_functions_have_docstrings() -> None:
    bare = [
        f"{name(path)}:{f.lineno} {f.name}"
        for path in modules()
        for f in _public(ast.parse(path.read_text(encoding="utf-8")))
        if ast.get_docstring(f) is None
    ]
    assert bare == []


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public functions of the module and public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                    yield member


def test_no_two_files_of_tests_have_one_name() -> None:
    """Without packages the name is that of the module: the second one would end the run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [file for file, count in names.items() if count > 1] == []


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    """A peer of a wire test may pace its bytes (asyncio.sleep): slowness is then what is tested."""
    sleeping = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path != Path(__file__) and re.search(r"\btime\.sleep\(", path.read_text(encoding="utf-8"))
    ]
    assert sleeping == []


def test_no_path_of_a_machine_and_nothing_unfinished_in_the_tree() -> None:
    found = []
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT).parts
        if path.suffix not in {".py", ".md", ".toml", ".html", ".css"} or path == Path(__file__):
            continue
        if inside[0] in {".venv", "build", ".git"} or any(part.endswith(".egg-info") for part in inside):
            continue
        text = path.read_text(encoding="utf-8")
        found += [f"{'/'.join(inside)}: {m}" for m in re.findall(r"(?<![\w.])/(?:root|work|home)/\w+", text)]
        found += [f"{'/'.join(inside)}: {m}" for m in re.findall(r"\b(?:TODO|FIXME|XXX+)\b(?=[: ])", text)]
    assert found == []


def test_a_command_starts_without_what_only_others_need() -> None:
    """Or each `broker nodes list` takes a second longer: the database, DICOM and the web are imported when used."""
    asked = "import sys; import broker.cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert "typer" in told.stdout.split()
    heavy = {"alembic", "fastapi", "httpx", "jinja2", "numpy", "pydicom", "sqlalchemy", "uvicorn"}
    assert heavy & set(told.stdout.split()) == set()
