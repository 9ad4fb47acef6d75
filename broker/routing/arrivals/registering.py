"""Notes studies and what people find them by: once for all objects that say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.store.studies.registering import StudyArrival, StudyKeys, keys_of

REMEMBERED = 10_000  # studies with their keys; the database knows them all, this only saves asking it


class KnownStudies:
    """What this process knows to be noted. Its methods may run in threads."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, StudyKeys], None] = {}

    def lacking(
        self, study: str, facts: Mapping[str, Sequence[object]], calling_ae: str, at: float
    ) -> StudyArrival | None:
        """What is to be noted with an object of a study (UID), received `at` (s since the epoch); None for nothing."""
        keys = keys_of(facts, calling_ae)
        return StudyArrival(study, keys, at) if study and (study, keys) not in self._noted else None

    def committed(self, arrival: StudyArrival | None) -> None:
        """The transaction that noted it is committed."""
        if arrival is not None:
            if len(self._noted) >= REMEMBERED:
                self._noted.clear()
            self._noted[arrival.study, arrival.keys] = None
