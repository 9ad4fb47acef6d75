"""All benchmarks, one after the other.

python tests/bench/run.py            full size, about ten minutes
python tests/bench/run.py --short    a sign of life for CI, about a minute
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHORT = {
    "receive.py": ["--rounds", "1", "--size", "524288", "--count", "20"],
    "send.py": ["--rounds", "1", "--count", "20"],
    "large.py": ["--mib", "64"],
    "idle.py": ["--count", "100", "--seconds", "2"],
    "associate.py": ["--rounds", "1", "--count", "50"],
    "orders.py": ["--rounds", "1", "--count", "50", "--stored", "2000"],
    "worklist.py": ["--rounds", "1", "--peers", "100", "--items", "2000", "--count", "5", "--seconds", "3"],
}


def main() -> None:
    """Run each in a process of its own; the first that fails ends it."""
    short = sys.argv[1:] == ["--short"]
    for name, arguments in SHORT.items():
        subprocess.run([sys.executable, str(Path(__file__).parent / name), *(arguments if short else [])], check=True)


if __name__ == "__main__":
    main()
