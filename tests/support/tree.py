"""Reads the source tree for the law tests: modules, definitions, imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BROKER = ROOT / "broker"
TESTS = ROOT / "tests"


def modules() -> Iterator[Path]:
    """All modules of the product but migrations, which only grow by new files."""
    for path in sorted(BROKER.rglob("*.py")):
        if path.parts[-3:-1] != ("migrations", "versions"):
            yield path


def name(path: Path) -> str:
    """A path below the root, as tests print it."""
    return path.relative_to(ROOT).as_posix()


@cache
def text(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(text(path))


def dotted(path: Path) -> str:
    """The name of a module, `broker.x.y`; that of a package is its folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: set[str], *, inside_functions: bool) -> set[str]:
    """The modules of `known` that a file imports, for the type checker alone included."""
    found: set[str] = set()
    nodes = ast.walk(parsed(path)) if inside_functions else _at_module_level(parsed(path))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & known


def _at_module_level(tree: ast.Module) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
