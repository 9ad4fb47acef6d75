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
    """A rule, and after how many days its rows are old; 0: never. `key`: the setting that says it, empty for none."""

    rule: ThinningRule
    key: str
    days: float


def scheduled(settings: Settings, now: float) -> Iterator[ScheduledRule]:
    """What the settings say, at a time (seconds since the epoch)."""
    kept, zone = settings.retention, settings.zone()
    wall = datetime.fromtimestamp(now, zone).strftime("%Y%m%d%H%M%S")
    for key, days, *rules in (
        ("retention.jobs_days", kept.jobs_days, thinning.JOBS, thinning.NOTICES, thinning.COMMITMENTS),
        ("retention.objects_days", kept.objects_days, thinning.OBJECTS, thinning.GATHERINGS),
        ("retention.exams_days", kept.exams_days, exams.performed(zone), exams.orders(zone), VISITS, PATIENTS),
        ("retention.step_events_days", kept.step_events_days, thinning.STEP_EVENTS),
        ("retention.audit_days", kept.audit_days, thinning.AUDIT, FORMER_PATIENTS),
        ("retention.import_notes_days", kept.import_notes_days, thinning.IMPORT_NOTES),
        ("retention.knocks_days", kept.knocks_days, thinning.KNOCKS),
        ("retention.messages_days", kept.messages_days, thinning.MESSAGES, thinning.SENT),
        # see arrivals.registering
        ("retention.jobs_days", kept.jobs_days and max(kept.jobs_days, 1), thinning.STUDIES),
        ("retention.refused_messages_days", kept.refused_messages_days, thinning.REFUSED),
        ("", idempotency.KEPT / DAY, thinning.ANSWERS),
        ("orders.keep_cancels_days", settings.orders.keep_cancels_days, thinning.CANCELS),
        ("", KEEP_APPOINTMENTS, thinning.appointments(wall)),
    ):
        for rule in rules:
            yield ScheduledRule(rule, key, days)
