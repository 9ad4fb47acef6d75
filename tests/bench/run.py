"""All benchmarks, one after the other.

python tests/bench/run.py            full size, about half an hour
python tests/bench/run.py --short    a sign of life for CI, about two minutes
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SHORT = {  # the longest first
    "worklist.py": ["--rounds", "1", "--peers", "5", "--items", "200", "--count", "1", "--seconds", "0.5"],
    "orders.py": ["--rounds", "1", "--count", "10", "--stored", "100"],
    "receive.py": ["--rounds", "1", "--size", "524288", "--count", "20"],
    "send.py": ["--rounds", "1", "--count", "20"],
    "through.py": ["--rounds", "1", "--count", "20", "--size", "1024"],
    "backlog.py": ["--count", "5000", "--seconds", "2"],
    "lanes.py": ["--count", "30"],
    "large.py": ["--mib", "64"],
    "idle.py": ["--count", "20", "--seconds", "1"],
    "capacity.py": ["--rounds", "1", "--seconds", "1"],
    "now.py": ["--pages", "5", "--seconds", "2", "--exams", "1000", "--nodes", "50"],
    "pages.py": ["--rounds", "1", "--exams", "100"],
    "upkeep.py": ["--count", "5000", "--seconds", "5"],
    "associate.py": ["--rounds", "1", "--count", "50"],
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / name), *arguments]
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def signs_of_life() -> None:
    """Run the short variants side by side, as their times mean nothing; raises SystemExit if one fails."""
    with ThreadPoolExecutor(3) as pool:
        for name, done in zip(SHORT, pool.map(lambda name: run(name, *SHORT[name]), SHORT), strict=True):
            print(f"--- {name}\n{done.stdout}", flush=True)
            if done.returncode:
                raise SystemExit(done.returncode)


def main() -> None:
    """Run each after the other; the first that fails ends it."""
    if sys.argv[1:] == ["--short"]:
        signs_of_life()
        return
    for name in SHORT:
        subprocess.run([sys.executable, str(Path(__file__).parent / name)], check=True)


if __name__ == "__main__":
    main()
