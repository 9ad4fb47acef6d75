"""The fuzzer as a command: python tests/fuzz/run.py --cases 1000000 --seed 1 [--only KIND]

Kinds: pdu, command and dataset of DICOM, hl7, http, and socket. Without `--only` the cases are divided among the first
five by `harness.SHARES`, and each process (`--jobs`, one per core) runs a part of every kind.

Prints progress, rate and the time that is left, and at the end how fast each kind was. A case that goes wrong is named
as KIND:SEED:NUMBER, which `--case` runs again, and written to a file, which `--replay` runs again also after the
generators have changed. Exit code 1 if anything went wrong. All that was started ends with the run, however it ends.
After them, one case for every 500 goes over real sockets to a DICOM provider and a broker, and one to its doors of HL7
and HTTP. A million cases take about 55 minutes of processor time and a quarter of an hour of waiting. Ten runs of
100,000 with the seeds 1 to 10 are a million too, at any time and on any machine: each seed makes other cases.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.peers import tools

from fuzz import harness, warden

BATCH = 500
SOCKETS = 500  # cases in memory for one over a socket
WARM = 0.2  # of the cases, after which memory must not grow
MOST = 20  # failures of a process that end it


def work(part: int, options: argparse.Namespace, results: Any) -> None:
    """Run every `jobs`-th case; puts (part, done, rss, …, cases and seconds by kind) after a batch, None at the end."""
    mine = harness.Harness()
    warm, failures, numbers = 0, 0, range(part, options.cases, options.jobs)
    try:
        for place, number in enumerate(numbers):
            if failures >= MOST:
                break
            kind = options.only or harness.kind_of(options.seed, number)
            failures += not attempt(mine, f"{kind}:{options.seed}:{number}", options.dumps)
            if place % BATCH == BATCH - 1 or place == len(numbers) - 1:
                memory = mine.settle()
                warm = memory if place < WARM * len(numbers) else warm or memory
                results.put((part, place + 1, memory, warm, mine.slowest, failures, mine.ended, mine.spent))
                if memory - warm > harness.GROWTH:
                    raise harness.Failure(f"memory grew by {(memory - warm) >> 20} MiB")
    except harness.Failure as failure:
        print(f"FAILED near {number}: {failure}", flush=True)
        results.put((part, place, 0, 0, mine.slowest, failures + 1, mine.ended, mine.spent))
    finally:
        mine.close()
        results.put(None)


def attempt(mine: harness.Harness, name: str, folder: Path) -> bool:
    """Run the case of this name; a failure is printed and written down."""
    kind, seed, number = name.split(":")
    payload = harness.generate(kind, int(seed), int(number))
    try:
        mine.run(payload, name)
    except harness.Failure as failure:
        path = folder / f"fuzz-{name.replace(':', '-')}.json"
        harness.dump(path, payload, failure, name)
        print(f"FAILED {name}: {failure}\n  again: --case {name} or --replay {path}", flush=True)
        return False
    return True


def memory_cases(options: argparse.Namespace) -> int:
    """All cases that need no socket, in `jobs` processes; number of failures."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=work, args=(part, options, results)) for part in range(options.jobs)]
    for worker in workers:
        worker.start()
    started = shown = time.monotonic()
    last: dict[int, Any] = {}
    running = len(workers)
    while running:
        result = results.get()
        running -= result is None
        if result is not None:
            last[result[0]] = result
        if time.monotonic() - shown > 10 or not running:
            shown = time.monotonic()
            show(list(last.values()), shown - started, options.cases)
    for worker in workers:
        worker.join()
    show_kinds([result[7] for result in last.values()])
    if options.why:
        show_ends([result[6] for result in last.values()])
    failures = sum(result[5] for result in last.values())
    return failures + sum(worker.exitcode != 0 for worker in workers)


def show(results: list[Any], seconds: float, cases: int) -> None:
    """One line of progress."""
    done = sum(result[1] for result in results)
    memory = max((result[2] for result in results), default=0) >> 20
    grown = max((result[2] - result[3] for result in results), default=0) >> 20
    slowest = max((result[4] for result in results), default=(0.0, ""))
    failures = sum(result[5] for result in results)
    rate = done / seconds
    left = f"{(cases - done) / rate / 60:.0f} min left" if rate else ""
    print(
        f"{done:>9} of {cases}  {rate:7.0f}/s  {left}  slowest {1000 * slowest[0]:.0f} ms ({slowest[1]})"
        f"  memory {memory} MiB, {grown:+d} since warm  failures {failures}",
        flush=True,
    )


def show_kinds(counts: list[Counter[tuple[str, str]]]) -> None:
    """How many cases of each kind there were, and how many a second of a processor makes."""
    spent = sum(counts, Counter[tuple[str, str]]())
    for kind in harness.KINDS:
        if cases := spent[kind, "cases"]:
            print(
                f"{int(cases):>9} of {kind:8} {cases / max(spent[kind, 'seconds'], 1e-6):7.0f} a second of a processor"
            )


def show_ends(counts: list[Counter[str]]) -> None:
    """How often the broker's side said what."""
    for reason, count in sum(counts, Counter[str]()).most_common():
        print(f"{count:>9} {reason}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=(*harness.KINDS, "socket"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--dumps", type=Path, default=Path("."), help="folder for failed cases")
    parser.add_argument("--case", help="run one case: KIND:SEED:NUMBER")
    parser.add_argument("--replay", type=Path, help="run the case in a file")
    parser.add_argument("--why", action="store_true", help="show at the end how the broker's side ended cases")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for; the exit code."""
    options = arguments()
    tools.ENVIRONMENT.update(warden.guard())
    if options.case or options.replay:
        mine = harness.Harness()
        try:
            if options.replay:
                mine.run(harness.load(options.replay))
            elif not attempt(mine, options.case, options.dumps):
                return 1
        finally:
            mine.close()
        print("nothing wrong")
        return 0
    print(f"seed {options.seed}, {options.cases} cases, {options.jobs} processes", flush=True)
    failures = 0
    if options.only != "socket":
        failures += memory_cases(options)
    if options.only in (None, "socket"):
        from fuzz import sockets, streams

        failures += streams.run(options.seed, options.cases if options.only else options.cases // SOCKETS)
        failures += sockets.run(options.seed, options.cases if options.only else options.cases // SOCKETS)
    print("nothing wrong" if not failures else f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
