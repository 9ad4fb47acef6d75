"""Tells what is deleted next, rule by rule, with the last run of each; in words, for pages, REST and commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.model.wording import Sentence
from broker.settings import Settings
from broker.status.facts import DutyFact
from broker.store.ageing import preview, spooled
from broker.store.ageing.preview import RuleForecast
from broker.store.db.database import Database

FRESH = 30.0  # seconds for which all who ask are told the same
LATEST = 900.0  # seconds for which they are told the last count while another is made: on large tables it takes seconds
WHAT: Mapping[str, Sentence] = {
    spooled.DELIVERED: Sentence("files of objects that every destination has"),
    spooled.HELD: Sentence("objects that wait for a person: they are discarded"),
    spooled.HELD_DELIVERIES: Sentence("held deliveries: they are given up"),
    spooled.DISCARDED: Sentence("files of discarded objects"),
    "jobs": Sentence("jobs that are done or were discarded"),
    "notices": Sentence("notices of rules"),
    "commitments": Sentence("judged requests for storage commitment"),
    "objects": Sentence("what is known of objects without files"),
    "gatherings": Sentence("what is known of complete series and studies"),
    "mpps": Sentence("performed steps (MPPS)"),
    "orders": Sentence("orders with their steps"),
    "visits": Sentence("visits"),
    "patients": Sentence("patients"),
    "step-events": Sentence("events of steps that have ended"),
    "audit": Sentence("rows of the audit trail"),
    "former-patients": Sentence("identifiers of deleted patients"),
    "import-notes": Sentence("notes of imports"),
    "knocks": Sentence("unknown devices"),
    "messages": Sentence("received HL7 messages"),
    "sent-messages": Sentence("sent HL7 messages"),
    "studies": Sentence("studies without objects"),
    "refused-messages": Sentence("refused HL7 messages"),
    "idempotency": Sentence("answers to requests with an idempotency key"),
    "cancels": Sentence("cancels whose order never came"),
    "appointments": Sentence("appointments that are over"),
}
_RUN_BY = {spooled.HELD: "purge", spooled.HELD_DELIVERIES: "purge"}  # duties of other names


@dataclass(frozen=True, slots=True)
class RetentionLine:
    """What a rule deletes next, in words, and its last run since the start; None for none."""

    what: Sentence
    forecast: RuleForecast
    run: DutyFact | None


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """All rules in the order in which they run, as they were at a time (s since the epoch)."""

    at: float
    lines: tuple[RetentionLine, ...]


class Retention:
    """Looks what is deleted next: once in FRESH seconds for all who ask. For several threads.

    Who asks later than that is told what was counted last, with its time, and the next one hears of the new count.
    """

    def __init__(self, database: Database, settings: Settings, duties: Callable[[], Sequence[DutyFact]]) -> None:
        """`duties`: the last runs of the duties of this broker."""
        self._database, self._settings, self._duties = database, settings, duties
        self._lock = threading.Lock()  # held while it counts
        self._found: tuple[float, tuple[RuleForecast, ...]] | None = None

    def look(self) -> RetentionFacts:
        """What goes next (blocking: the first time some seconds with large tables). Raises StoreUnavailable."""
        found = self._found
        if found is None or not 0 <= time.time() - found[0] < LATEST:
            found = self._counted()
        elif time.time() - found[0] >= FRESH and not self._lock.locked():
            threading.Thread(target=self._count_beside, name="retention", daemon=True).start()
        at, forecasts = found
        runs = {duty.name: duty for duty in self._duties()}
        return RetentionFacts(
            at,
            tuple(RetentionLine(WHAT[one.name], one, runs.get(_RUN_BY.get(one.name, one.name))) for one in forecasts),
        )

    def _counted(self) -> tuple[float, tuple[RuleForecast, ...]]:
        """What another one has just counted, or a new count."""
        with self._lock:
            now = time.time()
            if self._found is None or not 0 <= now - self._found[0] < FRESH:
                found = spooled.of_spool, preview.of_tables
                rules = (rule for part in found for rule in part(self._database, self._settings, now))
                self._found = now, tuple(rules)
            return self._found

    def _count_beside(self) -> None:
        try:
            self._counted()
        except StoreUnavailable:
            telemetry.logger().info("retention.not_counted")  # health tells of the database
