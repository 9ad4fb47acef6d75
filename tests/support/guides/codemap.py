"""Writes the rooms of the codemap (`broker/README.md`): one line for each package, from its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

BROKER = Path(__file__).parents[3] / "broker"
BEGIN = "<!-- rooms: python tests/support/guides/write.py -->"
END = "<!-- end of rooms -->"


def packages() -> Iterator[tuple[str, str]]:
    """Path below `broker/` and docstring of each package, migrations aside."""
    for file in sorted(BROKER.rglob("__init__.py")):
        path = file.parent.relative_to(BROKER).as_posix()
        if path != "." and "migrations" not in file.parts:
            yield path, ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def rooms() -> str:
    """The table of packages: path, and the first paragraph of the docstring."""
    lines = ["| room | for |", "|---|---|"]
    for path, text in packages():
        summary = " ".join(text.split("\n\n")[0].split())
        lines.append(f"| `{path}/` | {summary.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def with_rooms(text: str) -> str:
    """The codemap with its table of packages renewed."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{rooms()}\n\n{END}{tail}"
