"""Puts performed steps into words: their state, and how they belong to scheduled steps."""

from __future__ import annotations

from collections.abc import Mapping

from broker.admin.web.words import Sentence
from broker.model.performed import Linking, PerformedStatus

STATES: Mapping[str, tuple[str, Sentence]] = {
    PerformedStatus.IN_PROGRESS: ("warn", Sentence("in progress")),
    PerformedStatus.COMPLETED: ("ok", Sentence("completed")),
    PerformedStatus.DISCONTINUED: ("bad", Sentence("broken off")),
}
LINKS: Mapping[str, tuple[str, Sentence]] = {
    Linking.LINKED: ("ok", Sentence("belongs to an order")),
    Linking.PARTLY: ("warn", Sentence("belongs in part")),
    Linking.UNSCHEDULED: ("bad", Sentence("no order is known")),
    Linking.AMBIGUOUS: ("bad", Sentence("several orders fit")),
    Linking.MISMATCH: ("bad", Sentence("the order is another patient's")),
    Linking.SET_ASIDE: ("", Sentence("set aside")),
}
