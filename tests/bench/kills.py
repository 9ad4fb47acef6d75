"""Kills a broker under mixed load and accounts for everything that it had acknowledged.

    python tests/bench/kills.py                                            200 kills on SQLite
    python tests/bench/kills.py --database postgresql --disk --clock       its disk fills, its clock is set meanwhile
    python tests/bench/kills.py --kills 20 --seed 7                        a sign of life; the rounds of another run

The load: orders, changes and cancels by HL7, objects, worklist queries, MPPS, feedback to the RIS, MPPS passed on. One
kill in five is at a named point of the code, one in ten while the broker starts, the others at random. `--disk` needs
the right to mount a tmpfs, `--clock` needs libfaketime. The exit code is 1 if anything is not as acknowledged.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.bench import options
from support.kills.kills import Hospital, plan, run
from support.kills.trouble import mounted
from support.service import program
from support.store import postgresql

PER_KILL = 4  # MiB of disk


def main() -> None:
    """Run and print."""
    parser = options(__doc__, kills=200, database="sqlite", seed=random.randrange(1_000_000), size=0)
    for name in ("disk", "clock"):
        parser.add_argument(f"--{name}", action="store_true")
    chosen = parser.parse_args()
    program.FORKED = True
    print(f"{chosen.kills} kills on {chosen.database}, seed {chosen.seed}", flush=True)
    began, data, url, rows, disk = time.monotonic(), None, "", None, None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-")))
        if chosen.database == "postgresql":
            url = postgresql.create(stack.enter_context(postgresql.server()), "kills")
            rows = partial(postgresql.rows, url)
        if chosen.disk:
            disk = folder / "disk"
            size = chosen.size or 64 + PER_KILL * chosen.kills
            if not stack.enter_context(mounted(disk, f"{size}m")):
                raise SystemExit("--disk needs the right to mount a tmpfs")
        data = (disk or folder) / "data"
        hospital = stack.enter_context(Hospital(folder / "site", rows, url, data, fake=chosen.clock))
        try:
            deaths = run(hospital, list(plan(chosen.seed, chosen.kills)), disk=disk, seed=chosen.seed, tell=True)
        except BaseException:
            print(hospital.site.logged()[-5000:])
            print("\n".join(hospital.ledger.wrong))
            raise
        wrong = hospital.ledger.wrong + hospital.account.differences
        print(f"killed {dict(deaths)} in {time.monotonic() - began:.0f} s")
        print(f"{hospital.ledger.counts()}; {hospital.account.again()} objects delivered again")
        print("\n".join(wrong) or "all that was acknowledged is there", flush=True)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
