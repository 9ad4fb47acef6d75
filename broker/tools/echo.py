"""Asks a node whether it answers (C-ECHO)."""

from __future__ import annotations

import time
from collections.abc import Callable

from broker.dicom.association.user import ECHO, Remote, associate
from broker.dicom.dimse import words


async def echo(remote: Remote, count: int, say: Callable[[str], None]) -> bool:
    """Associate and ask `count` times; `say` gets a line for each step. True if every answer was a success.

    Raises PeerFault when there is no association or no answer.
    """
    began = time.perf_counter()
    good = True
    async with associate(remote, [ECHO]) as association:
        say(f"connected and associated in {_milliseconds(began)}")
        for number in range(1, count + 1):
            began = time.perf_counter()
            status = await association.echo()
            good = good and status == 0
            say(f"echo {number}: {words.status(status)} in {_milliseconds(began)}")
    return good


def _milliseconds(since: float) -> str:
    return f"{(time.perf_counter() - since) * 1000:.1f} ms"
