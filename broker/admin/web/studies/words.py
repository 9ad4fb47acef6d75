"""Says in words how far a study is: its objects, what each destination has of them, and what a person did with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from broker.admin.web.words import Sentence, counted
from broker.delivery.resending import ResendEnding
from broker.status.causes import reason
from broker.store.images.instances import InstanceState
from broker.store.studies.counting import DeliveryState as Delivery
from broker.store.studies.counting import DestinationCount, StudyCounts
from broker.store.studies.objects import ObjectDelivery

Pill = tuple[str, Sentence]  # tone and words
DELIVERIES: Mapping[Delivery, Pill] = {
    Delivery.SENT: ("ok", Sentence("%(n)s sent", many="%(n)s sent")),
    Delivery.WARNED: ("warn", Sentence("%(n)s sent with a warning", many="%(n)s sent with a warning")),
    Delivery.SENDING: ("", Sentence("%(n)s being sent", many="%(n)s being sent")),
    Delivery.WAITING: ("", Sentence("%(n)s waiting", many="%(n)s waiting")),
    Delivery.HELD: ("bad", Sentence("%(n)s held", many="%(n)s held")),
    Delivery.GIVEN_UP: ("bad", Sentence("%(n)s given up", many="%(n)s given up")),
    Delivery.ELSEWHERE: ("", Sentence("%(n)s sent elsewhere", many="%(n)s sent elsewhere")),
}
DELIVERED: Mapping[Delivery, Pill] = {
    Delivery.SENT: ("ok", Sentence("%(node)s has it")),
    Delivery.WARNED: ("warn", Sentence("%(node)s has it")),
    Delivery.SENDING: ("", Sentence("it is being sent to %(node)s")),
    Delivery.WAITING: ("", Sentence("it waits for %(node)s")),
    Delivery.HELD: ("bad", Sentence("held for %(node)s")),
    Delivery.GIVEN_UP: ("bad", Sentence("given up for %(node)s")),
    Delivery.ELSEWHERE: ("", Sentence("not for %(node)s any more")),
}
STAYS: Mapping[InstanceState, Pill] = {
    InstanceState.HELD: ("warn", Sentence("%(n)s held for a person", many="%(n)s held for a person")),
    InstanceState.WAITING: ("", Sentence("%(n)s waits for its study", many="%(n)s wait for their study")),
    InstanceState.DISCARDED: ("", Sentence("%(n)s discarded", many="%(n)s discarded")),
    InstanceState.PURGED: ("", Sentence("%(n)s not kept any more", many="%(n)s not kept any more")),
}
OBJECTS: Mapping[InstanceState, Pill] = {
    InstanceState.HELD: ("warn", Sentence("held")),
    InstanceState.WAITING: ("", Sentence("waits for its study")),
    InstanceState.DISCARDED: ("", Sentence("discarded")),
    InstanceState.PURGED: ("", Sentence("not kept any more")),
}
ADVICE: Mapping[Delivery, Sentence] = {
    Delivery.WARNED: Sentence("Look there at what it has changed."),
    Delivery.HELD: Sentence("Decide on what is held: try it again, or give it up."),
    Delivery.GIVEN_UP: Sentence("Send them again, if it should have them after all."),
}


_COMMITTED = Sentence("%(n)s committed", many="%(n)s committed")


def delivered(one: DestinationCount) -> list[Pill]:
    """How many deliveries to a destination ended how, or wait; and of how many it has proven that it has the object."""
    found = [number_in(state, one.states[state]) for state in DELIVERIES if one.states.get(state)]
    return [*found, ("ok", replace(_COMMITTED, values={"n": one.committed}))] if one.committed else found


def number_in(state: Delivery, number: int) -> Pill:
    """So many deliveries are in a state."""
    tone, words = DELIVERIES[state]
    return tone, replace(words, values={"n": number})


def stays(counts: StudyCounts) -> list[Pill]:
    """What of the study did not go the way of its rules, or not yet."""
    return [
        (tone, replace(words, values={"n": counts.by_state[state]}))
        for state, (tone, words) in STAYS.items()
        if counts.by_state.get(state)
    ]


def of_object(one: ObjectDelivery) -> tuple[str, Sentence, Sentence | None]:
    """What became of sending an object to a node: tone, words, and why; None for nothing that needs words."""
    tone, words = DELIVERED[one.state]
    why = reason(one.error) if one.error and one.state is not Delivery.ELSEWHERE else None
    return tone, replace(words, values={"node": one.node}), why


def resent(endings: Counter[ResendEnding], node: str) -> Sentence:
    """What became of objects that were to be sent to a node again."""
    again = endings[ResendEnding.AGAIN]
    if again == endings.total():
        return counted("%(n)s object is sent to %(node)s.", "%(n)s objects are sent to %(node)s.", again, node=node)
    return Sentence(
        "Sent to %(node)s: %(again)s. They wait for it already: %(waits)s. Older versions, which stay: %(older)s. Not"
        " kept any more: %(gone)s. Made by mistake, as the modality says: %(mistaken)s. A person must decide about them"
        " first: %(undecided)s.",
        {
            "node": node,
            "again": again,
            "waits": endings[ResendEnding.WAITS],
            "older": endings[ResendEnding.OLDER],
            "gone": endings[ResendEnding.GONE],
            "mistaken": endings[ResendEnding.KEPT_BACK],
            "undecided": endings[ResendEnding.UNDECIDED],
        },
    )
