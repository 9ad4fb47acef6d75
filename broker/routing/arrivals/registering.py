"""Notes studies and what people find them by: once for all objects that say the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from broker.store.studies.registering import StudyArrival, StudyKeys, keys_of

REMEMBERED = 10_000  # studies with their keys; the database knows them all, this only saves asking it
REMEMBERED_FOR = 3600.0  # seconds. `thinning.STUDIES` deletes no study of which an object came within a day


class KnownStudies:
    """What this process knows to be noted. Its methods may run in threads."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, StudyKeys], float] = {}  # when, in monotonic seconds

    def lacking(
        self, study: str, facts: Mapping[str, Sequence[object]], calling_ae: str, at: float
    ) -> StudyArrival | None:
        """What is to be noted with an object of a study (UID), received `at` (s since the epoch); None for nothing."""
        keys = keys_of(facts, calling_ae)
        noted = self._noted.get((study, keys))
        known = not study or (noted is not None and time.monotonic() - noted < REMEMBERED_FOR)
        return None if known else StudyArrival(study, keys, at)

    def committed(self, arrival: StudyArrival | None) -> None:
        """The transaction that noted it is committed."""
        if arrival is not None:
            if len(self._noted) >= REMEMBERED:
                self._noted.clear()
            self._noted[arrival.study, arrival.keys] = time.monotonic()
