"""Remembers which studies an association has brought, where its end completes them.

It is not told after a crash: a study is complete by its quiet time then.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from broker import telemetry
from broker.dicom.dimse.message import PeerAE
from broker.routing.rules.ruleset import Level, RuleSet

MOST = 10_000  # associations, and studies of each


class Associations:
    """Those of one process; its methods may run in many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # by the value that an association has of its peer, which is kept so that no other gets its number
        self._studies: dict[int, tuple[PeerAE, set[str]]] = {}

    def brought(self, peer: PeerAE, rules: RuleSet, study: str) -> None:
        """An association has brought an object of a study."""
        table = rules.completion
        policies = {Level.SERIES: table.series, Level.STUDY: table.study}
        if not study or not any(policies[level].association_end for level in rules.levels):
            return
        with self._lock:
            if id(peer) not in self._studies and len(self._studies) >= MOST:
                return
            _, studies = self._studies.setdefault(id(peer), (peer, set()))
            if len(studies) < MOST:
                studies.add(study)

    def over(self, peer: PeerAE) -> set[str]:
        """The association is over; the studies that it has brought."""
        with self._lock:
            _, studies = self._studies.pop(id(peer), (peer, set[str]()))
        return studies


def note_failure(done: Future[None]) -> None:
    """Say that the end of an association was not noted: what it has brought is complete by its quiet time."""
    if (error := done.exception()) is not None:
        telemetry.logger().warning("association.not_noted", error=telemetry.describe(error))
