"""Says in words what became of jobs that wait, and of nodes, as a person decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from broker.admin.web.words import counted
from broker.delivery.rerouting import RerouteEnding
from broker.model.wording import Sentence

NONE_WAITS = Sentence("None of them waits any more. Nothing was changed.")
STEERED: Mapping[str, Sentence] = {  # by the word in the address
    "retry": Sentence("What waits for %(node)s is tried now."),
    "pause": Sentence("%(node)s is paused: nothing is sent to it."),
    "drain": Sentence("%(node)s drains: it is paused once what is there now is sent."),
    "resume": Sentence("%(node)s is resumed: what waits is sent."),
}
SO_ALREADY: Mapping[str, Sentence] = {
    "pause": Sentence("%(node)s is paused already. Nothing was changed."),
    "drain": Sentence("%(node)s is paused or drains already. Nothing was changed."),
    "resume": Sentence("%(node)s is not paused. Nothing was changed."),
}


def retried(tried: int, paused: int) -> Sentence:
    """So many jobs are tried now, and so many are due but wait for their paused node."""
    if tried and paused:
        values = {"tried": tried, "paused": paused}
        return Sentence("Tried now: %(tried)s. They wait on, as their node is paused: %(paused)s.", values)
    if paused:
        return counted(
            "%(n)s job waits on, as its node is paused.", "%(n)s jobs wait on, as their node is paused.", paused
        )
    return counted("%(n)s job is tried now.", "%(n)s jobs are tried now.", tried) if tried else NONE_WAITS


def released(number: int) -> Sentence:
    """So many held jobs are tried again."""
    return counted("%(n)s job is tried again.", "%(n)s jobs are tried again.", number)


def given_up(number: int, asked: int) -> Sentence:
    """So many of those that were asked for are never tried again."""
    if not number:
        return NONE_WAITS
    if number < asked:
        values = {"done": number, "left": asked - number}
        return Sentence("Given up: %(done)s. They did not wait any more: %(left)s.", values)
    return counted("%(n)s job was given up.", "%(n)s jobs were given up.", number)


def rerouted(done: Counter[RerouteEnding], node: str) -> Sentence:
    """What became of deliveries that were to go to another node."""
    moved = done[RerouteEnding.REROUTED]
    if moved and moved == done.total():
        return counted("%(n)s delivery goes to %(node)s now.", "%(n)s deliveries go to %(node)s now.", moved, node=node)
    return Sentence(
        "They go to %(node)s now: %(rerouted)s. Ended, as it has them or gets them anyway: %(there)s. For it already: "
        "%(same)s. Not there any more: %(gone)s. Not waiting, or no images: %(waiting)s.",
        {
            "node": node,
            "rerouted": moved,
            "there": done[RerouteEnding.THERE],
            "same": done[RerouteEnding.SAME],
            "gone": done[RerouteEnding.GONE],
            "waiting": done[RerouteEnding.NOT_WAITING],
        },
    )
