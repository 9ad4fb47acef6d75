"""A process that is done ends at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, signal, sys
from broker.service import loop
async def work():
    print("done")
    return 3
atexit.register(signal.pause)
loop.leave(loop.run(work()))
"""


def test_what_waits_at_the_end_of_a_process_does_not_keep_it() -> None:
    """libuv waited for look-ups of host names that went on: a broker that had stopped stayed for half a minute."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "done\n"), done.stderr
