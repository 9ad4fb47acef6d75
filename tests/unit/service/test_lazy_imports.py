"""What only some sites use costs the others neither time nor memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from broker.service import broker


@pytest.mark.parametrize("library", ["botocore"])
def test_a_broker_starts_without(library: str) -> None:
    code = f"import sys, {broker.__name__}; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
