"""What is in a spool: files with content. Empty ones were made ahead and hold nothing."""

from __future__ import annotations

from pathlib import Path


def spool_files(root: Path) -> list[Path]:
    """All objects below a spool, also those set aside."""
    found = (path for path in root.rglob("*.dcm") if path.is_file())
    return sorted(path for path in found if path.stat().st_size)
