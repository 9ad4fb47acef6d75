"""Says what became of objects and jobs that a person decided about: a number and a verb for each word of REST."""

from __future__ import annotations

from collections.abc import Mapping

Verbs = Mapping[str, tuple[str, str]]  # by the word of REST: what follows the number 1, and what follows others

_ALIKE = {
    "rerouted": ("goes there now", "go there now"),
    "there": ("ended, as it has the object or gets it anyway",) * 2,
    "same": ("is for that node already", "are for that node already"),
    "gone": ("stays, as the bytes are no longer there", "stay, as the bytes are no longer there"),
}
JOBS: Verbs = _ALIKE | {
    "retried": ("is tried now", "are tried now"),
    "paused": ("waits on, as its node is paused", "wait on, as their node is paused"),
    "closed": ("waits on for the send window", "wait on for the send window"),
    "out-of-service": ("waits on, as its node is out of service", "wait on, as their node is out of service"),
    "newer-version": ("waits on for a newer version of the broker", "wait on for a newer version of the broker"),
    "not-waiting": ("does not wait any more, or sends no object", "do not wait any more, or send no object"),
}
REROUTED: Verbs = _ALIKE | {"not-waiting": ("does not wait any more", "do not wait any more")}
RESENT: Verbs = {
    "again": ("is sent now", "are sent now"),
    "waits": ("waits for it already", "wait for it already"),
    "gone": _ALIKE["gone"],
    "older": ("is an older version, which stays", "are older versions, which stay"),
    "kept-back": (
        "stays, as an MPPS says that it was made by mistake",
        "stay, as an MPPS says that they were made by mistake",
    ),
    "undecided": (
        "stays, as a person must decide about it: `broker holds`, or --undecided",
        "stay, as a person must decide about them: `broker holds`, or --undecided",
    ),
}
HELD: Verbs = {
    "routed": ("routed",) * 2,
    "held": ("waits still", "wait still"),
    "waiting": ("goes with its study", "go with their studies"),
    "discarded": ("discarded",) * 2,
    "purged": ("deleted",) * 2,
    "gone": ("is not kept any more", "are not kept any more"),
    "changed": ("was changed by others", "were changed by others"),
}


def endings_text(endings: Mapping[str, int], verbs: Verbs) -> str:
    """`1 is tried now, 3 wait on for the send window`; empty if there are none. A word of a newer broker stays."""
    return ", ".join(f"{n} {verbs.get(name, (name, name))[n != 1]}" for name, n in endings.items() if n)
