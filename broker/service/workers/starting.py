"""Starts a worker: `python -m broker.service.workers.starting FD`. No signal of `broker support` ends it meanwhile."""

from __future__ import annotations

import sys

from broker.service.doctor.threads import not_ended_by_it


def main(descriptor: int) -> None:
    """Be the worker at the other end of an inherited socket until it ends."""
    not_ended_by_it()
    from broker.service import loop  # what a worker needs takes a second to import
    from broker.service.workers import worker

    loop.leave(worker.main(descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]))
