"""What commands print goes one way, which makes texts from outside harmless."""

from __future__ import annotations

import ast

from support.tree import BROKER, modules, name, parsed

ONE_PLACE = "output.py"
# `echo`: typer and click; `Console`, `Text`: rich; `write`: streams
FORBIDDEN = {"print", "echo", "secho", "Console", "Text", "from_markup", "writelines"}
STREAMS = {"stdout", "stderr"}


def test_commands_print_only_by_the_one_place() -> None:
    others = [
        f"{name(path)}:{node.lineno}"
        for path in modules()
        if path.is_relative_to(BROKER / "cli") and path.name != ONE_PLACE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and _prints(node.func)
    ]
    assert others == []


def _prints(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in FORBIDDEN
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    if function.attr == "print":  # of a console, which only the one place makes
        return False
    if function.attr == "write" and isinstance(owner, ast.Attribute):
        return owner.attr in STREAMS
    return function.attr in FORBIDDEN and isinstance(owner, ast.Name) and owner.id in {"typer", "click", "rich", "Text"}
