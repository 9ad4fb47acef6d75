"""Says in words what became of objects that a person decided about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from broker.admin.web.words import counted
from broker.model.wording import Sentence
from broker.routing.holding import Ending

_ENDINGS: dict[Ending, Callable[[int], Sentence]] = {
    Ending.ROUTED: lambda n: counted("%(n)s object is on its way.", "%(n)s objects are on their way.", n),
    Ending.HELD: lambda n: counted("%(n)s object waits.", "%(n)s objects wait.", n),
    Ending.WAITING: lambda n: counted("%(n)s object goes with its study.", "%(n)s objects go with their studies.", n),
    Ending.DISCARDED: lambda n: counted("%(n)s object was discarded.", "%(n)s objects were discarded.", n),
    Ending.PURGED: lambda n: counted("%(n)s object was deleted.", "%(n)s objects were deleted.", n),
    Ending.GONE: lambda n: counted("%(n)s object is not kept any more.", "%(n)s objects are not kept any more.", n),
    Ending.CHANGED: lambda n: counted(
        "%(n)s object was changed by somebody else.", "%(n)s objects were changed by somebody else.", n
    ),
}


def told(done: Counter[Ending]) -> Sentence:
    """What became of the objects, in words."""
    if len(done) == 1:
        ((ending, count),) = done.items()
        return _ENDINGS[ending](count)
    return Sentence(
        "On their way: %(routed)s. With their studies: %(waiting)s. Waiting: %(held)s. Discarded: %(discarded)s. "
        "Deleted: %(purged)s. Not kept any more: %(gone)s. Changed by others: %(changed)s.",
        {ending.value: done[ending] for ending in Ending},
    )


def told_with_jobs(done: Counter[Ending], jobs: int) -> Sentence:
    """What became of objects and of so many jobs beside them."""
    return Sentence(
        "Jobs: %(jobs)s. Objects on their way: %(routed)s. With their studies: %(waiting)s. Waiting: %(held)s. "
        "Discarded: %(discarded)s. Not kept any more: %(gone)s. Changed by others: %(changed)s.",
        {ending.value: done[ending] for ending in Ending} | {"jobs": jobs},
    )
