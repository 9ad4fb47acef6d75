"""Writes what is generated in the documents: `python tests/support/guides/write.py`, from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.guides import codemap, reference  # noqa: E402


def main() -> None:
    """Write the reference of keys and the rooms of the codemap."""
    (ROOT / "config" / "reference.md").write_text(reference.reference(), encoding="utf-8")
    map_file = ROOT / "broker" / "README.md"
    map_file.write_text(codemap.with_rooms(map_file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
