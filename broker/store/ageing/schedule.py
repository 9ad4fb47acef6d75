"""Lists what is deleted by its age, in the order in which the duty goes: rows before what they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from broker.settings import Settings
from broker.store import idempotency, thinning
from broker.store.ageing import exams
from broker.store.ageing.persons import FORMER_PATIENTS, PATIENTS, VISITS
from broker.store.thinning import ThinningRule

DAY = 86_400.0  # seconds
KEEP_APPOINTMENTS = 30  # days


@dataclass(frozen=True, slots=True)
class ScheduledRule:
    """A rule, and after how many days its rows are old; 0: never."""

    rule: ThinningRule
    days: float


def scheduled(settings: Settings, now: float) -> Iterator[ScheduledRule]:
    """What the settings say, at a time (seconds since the epoch)."""
    kept, zone = settings.retention, settings.zone()
    wall = datetime.fromtimestamp(now, zone).strftime("%Y%m%d%H%M%S")
    for rule, days in (
        *((rule, kept.jobs_days) for rule in (thinning.JOBS, thinning.NOTICES, thinning.COMMITMENTS)),
        *((rule, kept.objects_days) for rule in (thinning.OBJECTS, thinning.GATHERINGS)),
        *((rule, kept.exams_days) for rule in (exams.performed(zone), exams.orders(zone), VISITS, PATIENTS)),
        (thinning.STEP_EVENTS, kept.step_events_days),
        *((rule, kept.audit_days) for rule in (thinning.AUDIT, FORMER_PATIENTS)),
        (thinning.IMPORT_NOTES, kept.import_notes_days),
        (thinning.KNOCKS, kept.knocks_days),
        *((rule, kept.messages_days) for rule in (thinning.MESSAGES, thinning.SENT)),
        (thinning.STUDIES, kept.jobs_days and max(kept.jobs_days, 1)),  # see arrivals.registering
        (thinning.REFUSED, kept.refused_messages_days),
        (thinning.ANSWERS, idempotency.KEPT / DAY),
        (thinning.CANCELS, settings.orders.keep_cancels_days),
        (thinning.appointments(wall), KEEP_APPOINTMENTS),
    ):
        yield ScheduledRule(rule, days)
