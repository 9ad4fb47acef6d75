"""What a large cache holds is a metric: memory that grows can be told from memory that leaks."""

from __future__ import annotations

import ast
import re

from support.tree import BROKER, modules, parsed

LARGE = 500  # entries
NEVER_RUN = "simulate"  # no part of the running broker


def test_every_large_cache_of_a_function_is_counted() -> None:
    uncounted, found = [], 0
    for path in modules():
        if path.relative_to(BROKER).parts[0] == NEVER_RUN:
            continue
        text = path.read_text(encoding="utf-8")
        counted = set(re.findall(r"\w+", " ".join(re.findall(r"count_entries\(([^)]*)\)", text))))
        for node in parsed(path).body:
            if isinstance(node, ast.FunctionDef) and _room(node, text) > LARGE:
                found += 1
                if node.name not in counted:
                    uncounted.append(f"{path.relative_to(BROKER)}: {node.name}")
    assert found >= 10
    assert uncounted == []


def _room(function: ast.FunctionDef, text: str) -> int:
    """How many results a decorated function keeps."""
    for decorator in function.decorator_list:
        said = re.fullmatch(r"lru_cache\((?:maxsize=)?(\w+)\)", ast.unparse(decorator))
        if said:
            constant = re.search(rf"^{said[1]} = (\d+)", text, re.MULTILINE)
            return int(constant[1] if constant else said[1])
    return 0
