"""Says in words what became of jobs that wait, and of nodes, as a person decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from broker.admin.web.words import counted
from broker.delivery.rerouting import RerouteEnding
from broker.model.wording import Sentence
from broker.status.lane_keeps import KeepCause, KeptJobs, LaneKeep

CAUSES = 3  # that are told in one note
NONE_WAITS = Sentence("None of them waits any more. Nothing was changed.")
STEERED: Mapping[str, Sentence] = {  # by the word in the address
    "pause": Sentence("%(node)s is paused: nothing is sent to it."),
    "drain": Sentence("%(node)s drains: it is paused once what is there now is sent."),
    "resume": Sentence("%(node)s is resumed: what waits is sent."),
}
SO_ALREADY: Mapping[str, Sentence] = {
    "pause": Sentence("%(node)s is paused already. Nothing was changed."),
    "drain": Sentence("%(node)s is paused or drains already. Nothing was changed."),
    "resume": Sentence("%(node)s is not paused. Nothing was changed."),
}
REROUTED: Mapping[RerouteEnding, Sentence] = {
    RerouteEnding.REROUTED: Sentence(
        "%(n)s delivery goes to %(node)s now.", many="%(n)s deliveries go to %(node)s now."
    ),
    RerouteEnding.THERE: Sentence(
        "%(n)s delivery ended, as %(node)s has its object or gets it anyway.",
        many="%(n)s deliveries ended, as %(node)s has their objects or gets them anyway.",
    ),
    RerouteEnding.SAME: Sentence("%(n)s is for %(node)s already.", many="%(n)s are for %(node)s already."),
    RerouteEnding.GONE: Sentence(
        "%(n)s stays, as the bytes are no longer there.", many="%(n)s stay, as the bytes are no longer there."
    ),
    RerouteEnding.NOT_WAITING: Sentence(
        "%(n)s job does not wait any more, or sends no image.",
        many="%(n)s jobs do not wait any more, or send no images.",
    ),
}


def retried(tried: int, kept: Sequence[KeptJobs]) -> Sentence:
    """So many jobs are tried now, and so many wait on for what keeps them: the first causes are told."""
    said = [_trying(tried)] if tried else []
    said += [
        counted("%(n)s job waits on: %(why)s.", "%(n)s jobs wait on: %(why)s.", one.jobs, why=one.keep.text)
        for one in kept[:CAUSES]
    ]
    if more := sum(one.jobs for one in kept[CAUSES:]):
        said.append(counted("%(n)s more job waits on.", "%(n)s more jobs wait on.", more))
    return _joined(said) if said else NONE_WAITS


def node_retried(node: str, keeps: Mapping[str, LaneKeep]) -> Sentence:
    """All that waits for a node is tried now, but what is kept. `keeps`: by lane, of those that have work."""
    kept = next(iter(keeps.values()), None)
    values: dict[str, object] = {"node": node}
    if kept is None:
        return Sentence("What waits for %(node)s is tried now.", values)
    values |= {"why": kept.text}
    if kept.cause is not KeepCause.CLOSED:
        return Sentence("Nothing is sent to %(node)s now: %(why)s.", values)
    if kept.stat_passes:
        return Sentence("Of the images for %(node)s only what is STAT is sent now: %(why)s.", values)
    return Sentence("No images are sent to %(node)s now: %(why)s.", values)


def _trying(number: int) -> Sentence:
    return counted("%(n)s job is tried now.", "%(n)s jobs are tried now.", number)


def _joined(said: Sequence[Sentence]) -> Sentence:
    """Some sentences as one."""
    first, *others = said
    return Sentence("%(first)s %(more)s", {"first": first, "more": _joined(others)}) if others else first


def released(number: int) -> Sentence:
    """So many held jobs are tried again."""
    return counted("%(n)s job is tried again.", "%(n)s jobs are tried again.", number)


def given_up(number: int, asked: int) -> Sentence:
    """So many of those that were asked for are never tried again."""
    if not number:
        return NONE_WAITS
    said = [counted("%(n)s job was given up.", "%(n)s jobs were given up.", number)]
    if number < asked:
        said.append(_not_waiting(asked - number))
    return _joined(said)


def _not_waiting(number: int) -> Sentence:
    return counted("%(n)s job did not wait any more.", "%(n)s jobs did not wait any more.", number)


def rerouted(done: Counter[RerouteEnding], node: str) -> Sentence:
    """What became of deliveries that were to go to another node."""
    said = [
        replace(words, values={"n": done[ending], "node": node}) for ending, words in REROUTED.items() if done[ending]
    ]
    return _joined(said) if said else NONE_WAITS
