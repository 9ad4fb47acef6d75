"""Each row of the catalogue about doors and times has a test that carries its id, or a place or a reason here."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = {"HL": 23, "HT": 8, "RL": 8, "TM": 8, "UL": 23}  # how many there are of each
IDS = [f"{kind}-{number:02d}" for kind, count in ROWS.items() for number in range(1, count + 1)]

# tests of a row whose name does not carry its id
PLACES = {
    "HT-01": "system/test_web_door.py::test_strangers_have_no_body_and_no_claim_is_believed",
    "HT-02": "system/test_web_door.py::test_every_part_of_a_request_has_a_deadline",
    "RL-03": "system/test_web_door.py::test_without_descriptors_doors_refuse_aloud_and_what_is_open_goes_on",
    # all threads of the doors are made at the start, so that it is the start which fails
    "RL-04": "unit/service/test_serve.py::test_no_threads_is_one_line_without_a_traceback",
    "RL-07": "unit/routing/test_routing_evaluate.py::test_regular_expressions_are_linear",
}

# rows without a test, and what stands for it or will bring it
REASONS = {
    "RL-01": "takes hours: `tests/bench/soak.py` runs a hospital and prints the slope of its memory; UL-19 is short",
    "RL-06": "there is no audit repository yet (ITI-20): it comes with the audit records that other systems read",
    "RL-08": "nobody signs in yet, commands and scripts have a token: it comes with users and their passwords",
}


@cache
def found_by_id() -> dict[str, list[str]]:
    """Names of test functions by the row whose id they carry."""
    found = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for name in functions(path):
            if match := re.match(r"test_(hl|ht|rl|tm|ul)_?(\d\d)(?:_|$)", name):
                found[f"{match[1].upper()}-{match[2]}"].append(name)
    return found


@cache
def functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("row", IDS)
def test_a_row_has_a_test_or_a_reason(row: str) -> None:
    file, _, name = PLACES.get(row, "").partition("::")
    if file:
        assert name in functions(TESTS / file)
    else:
        assert found_by_id()[row] or row in REASONS


def test_no_row_is_excused_that_has_a_test() -> None:
    assert {row for row in PLACES.keys() | REASONS.keys() if found_by_id()[row]} == set()
    assert PLACES.keys().isdisjoint(REASONS)
    assert PLACES.keys() | REASONS.keys() <= set(IDS)
