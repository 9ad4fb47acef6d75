"""OWASP ASVS 5.0.0, levels 1 and 2: no requirement is left out, and each test that is named is there."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

from support.tree import BROKER, ROOT

TABLE = Path(__file__).with_name("asvs.toml")
VERDICTS = {"test", "built", "site", "none", "open"}
MOST_OPEN = 2  # may only shrink
# how many requirements of levels 1 and 2 each section has; they are numbered from 1
SECTIONS = """
1.1:2 1.2:9 1.3:11 1.4:3 1.5:2 2.1:3 2.2:3 2.3:4 2.4:1 3.2:2 3.3:4 3.4:6 3.5:5 3.7:2 4.1:3 4.2:1 4.3:2 4.4:4 5.1:1 5.2:3
5.3:2 5.4:3 6.1:3 6.2:12 6.3:4 6.4:4 6.5:5 6.6:3 6.8:4 7.1:3 7.2:4 7.3:2 7.4:5 7.5:2 7.6:2 8.1:2 8.2:3 8.3:1 8.4:1
9.1:3 9.2:4 10.1:2 10.2:2 10.3:4 10.4:11 10.5:5 10.6:2 10.7:3 11.1:2 11.2:3 11.3:3 11.4:4 11.5:1 11.6:1 12.1:3 12.2:2
12.3:4 13.1:1 13.2:5 13.3:2 13.4:5 14.1:2 14.2:4 14.3:3 15.1:3 15.2:3 15.3:7 16.1:1 16.2:5 16.3:4 16.4:3 16.5:3 17.1:1
17.2:4 17.3:2
"""


def rows() -> list[tuple[str, str, str]]:
    """Number, verdict and text of each row."""
    chapters = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    lines = [line for sections in chapters.values() for section in sections.values() for line in section]
    return [(parts[0], parts[1], parts[2]) for parts in (line.split(" ", 2) for line in lines)]


def test_every_requirement_has_a_verdict() -> None:
    sections = dict(entry.split(":") for entry in SECTIONS.split())
    expected = [f"{section}.{number}" for section, count in sections.items() for number in range(1, int(count) + 1)]
    assert len(expected) == 253
    assert [number for number, _, _ in rows()] == expected
    assert {verdict for _, verdict, _ in rows()} <= VERDICTS


def test_the_tests_that_are_named_are_there() -> None:
    missing = []
    for number, verdict, text in rows():
        if verdict == "test":
            file, _, function = text.partition("::")
            path = ROOT / file
            if not path.is_file() or f"def {function}(" not in path.read_text(encoding="utf-8"):
                missing.append(f"{number}: {text}")
    assert missing == []


def test_the_files_that_reasons_name_are_there() -> None:
    named = [
        (number, file)
        for number, verdict, text in rows()
        if verdict != "test"
        for file in re.findall(r"\b((?:broker|config|deploy|tests)/[\w/.-]*\w)", text)
    ]
    assert [(number, file) for number, file in named if not (ROOT / file).exists()] == []
    assert BROKER.is_dir()


def test_what_is_open_does_not_grow() -> None:
    counts = Counter(verdict for _, verdict, _ in rows())
    assert counts["open"] <= MOST_OPEN
    assert all(len(text) > 6 for _, _, text in rows())
