"""What must be there by the retention, day by day: all of what is young, nothing of what is old.

Written from the table of `config/operate.md` and the numbers of `day.py`, not from the rules that delete. Rows are
counted by the day of the moment from which their table counts. Numbers end in two digits that say what is special.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from broker.settings import Settings
from broker.store.schema import tables
from support.lapse.day import CHRONIC

DAY = 86_400.0
LATE = "51"  # an order for the next day
DECIDED = ("55", "58")  # objects that a person decided on the next day


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Some rows of a table. `of`: SQL behind FROM, `at`: SQL of the moment from which `days` count.

    `night`: they are written by what deletes, at its hour, so that those of one day may go in either of two nights.
    """

    name: str
    of: str
    at: str
    days: Callable[[Settings], float]
    night: bool = False


def _orders(name: str, of: str) -> Iterator[KeptRows]:
    of += " WHERE r.accession"
    yield KeptRows(name, f"{of} NOT LIKE '%{LATE}'", "r.created_at", lambda s: s.retention.exams_days)
    yield KeptRows(f"{name}, tomorrow's", f"{of} LIKE '%{LATE}'", "r.created_at", lambda s: s.retention.exams_days + 1)


def _performed(name: str, of: str) -> Iterator[KeptRows]:
    of += " WHERE m.sop_instance_uid"
    yield KeptRows(name, f"{of} NOT LIKE '%59'", "m.created_at", lambda s: s.retention.exams_days)
    yield KeptRows(f"{name}, decided", f"{of} LIKE '%59'", "m.created_at", lambda s: s.retention.exams_days + 1)


def _patients(name: str, of: str) -> Iterator[KeptRows]:
    of += f" WHERE p.patient_id <> 'QZPAT{CHRONIC}' AND p.patient_id"
    yield KeptRows(name, f"{of} NOT LIKE '%{LATE}'", "p.updated_at", lambda s: s.retention.exams_days)
    yield KeptRows(f"{name}, tomorrow's", f"{of} LIKE '%{LATE}'", "p.updated_at", lambda s: s.retention.exams_days + 1)


def _studies(name: str, of: str) -> Iterator[KeptRows]:
    late = " OR ".join(f"y.study_instance_uid LIKE '%{end}'" for end in DECIDED)
    yield KeptRows(name, f"{of} WHERE NOT ({late})", "y.first_at", _longer)
    yield KeptRows(
        f"{name}, decided",
        f"{of} WHERE ({late})",
        "y.first_at",
        lambda s: max(s.retention.jobs_days, s.delivery.keep_discarded_days + 1),
    )


def _longer(settings: Settings) -> float:
    """Done or discarded, and of objects whose bytes are gone."""
    return max(settings.retention.jobs_days, settings.delivery.keep_discarded_days)


_UP = "requested_procedure q JOIN service_request r ON r.id = q.request"
_STEP = f"scheduled_step s JOIN ({_UP}) ON q.id = s.procedure"
_GIVEN_UP = "(SELECT j.due_at FROM job j WHERE j.subject = i.id AND j.kind = 'deliver' AND j.state = 'discarded')"
_BY_HAND = "i.study_instance_uid LIKE '%55'"
_BY_RULE = "i.study_instance_uid NOT LIKE '%55' AND i.study_instance_uid NOT LIKE '%58'"
_THINNED = "action LIKE '%.thinned' OR action = 'objects.purged'"
_CONTENT = "content c JOIN instance i ON i.id = c.instance WHERE"
ROWS = (
    *_orders("service_request", "service_request r"),
    *_orders("requested_procedure", _UP),
    *_orders("scheduled_step", _STEP),
    *_orders("step_station", f"step_station t JOIN ({_STEP}) ON s.id = t.step"),
    *_orders("step_event", f"step_event e JOIN ({_STEP}) ON s.id = e.step"),
    *_performed("mpps", "mpps m"),
    *_performed("mpps_message", "mpps_message g JOIN mpps m ON m.id = g.mpps"),
    *_performed("mpps_link", "mpps_link l JOIN mpps m ON m.id = l.mpps"),
    *_patients("patient", "patient p"),
    *_patients("patient_term", "patient_term t JOIN patient p ON p.id = t.patient"),
    KeptRows("heard (patients)", "heard h JOIN patient p ON p.id = h.subject AND h.kind = 'patient'", "p.updated_at",
             lambda s: s.retention.exams_days),
    *_studies("study", "study y"),
    *_studies("study_key", "study_key k JOIN study y ON y.id = k.study"),
    KeptRows("visit", "visit", "updated_at", lambda s: s.retention.exams_days),
    KeptRows("heard (visits)", "heard h JOIN visit v ON v.id = h.subject AND h.kind = 'visit'", "v.updated_at",
             lambda s: s.retention.exams_days),
    KeptRows("message", "message WHERE accepted", "received_at", lambda s: s.retention.messages_days),
    KeptRows("message, refused", "message WHERE NOT accepted", "received_at",
             lambda s: s.retention.refused_messages_days),
    KeptRows("sent_message", "sent_message", "at", lambda s: s.retention.messages_days),
    KeptRows("audit", f"audit WHERE NOT ({_THINNED})", "at", lambda s: s.retention.audit_days),
    KeptRows("audit, of the night", f"audit WHERE {_THINNED}", "at", lambda s: s.retention.audit_days, night=True),
    KeptRows("former_patient", "former_patient", "gone_at", lambda s: s.retention.audit_days, night=True),
    KeptRows("job, done", "job WHERE state = 'done' AND kind <> 'images'", "done_at",
             lambda s: max(s.retention.jobs_days, s.delivery.keep_days)),
    KeptRows("job, told of images", "job WHERE state = 'done' AND kind = 'images'", "done_at",
             lambda s: s.retention.exams_days),
    KeptRows("job, discarded", "job WHERE state = 'discarded'", "due_at", _longer),
    KeptRows("notice", "notice", "at", lambda s: s.retention.jobs_days),
    KeptRows("commitment", "commitment", "received_at", lambda s: s.retention.jobs_days),
    KeptRows("committed", "committed c JOIN job j ON j.id = c.job", "j.done_at",
             lambda s: max(s.retention.jobs_days, s.delivery.keep_days)),
    KeptRows("instance", "instance", "received_at", lambda s: s.retention.objects_days),
    KeptRows("gathering", "gathering", "last_at", lambda s: s.retention.objects_days),
    KeptRows("content, delivered", f"{_CONTENT} i.state = 'routed' AND {_BY_RULE}",
             "i.received_at", lambda s: s.delivery.keep_days),
    KeptRows("content, sent by hand", f"{_CONTENT} i.state = 'routed' AND {_BY_HAND}", f"i.received_at + {DAY}",
             lambda s: s.delivery.keep_days),
    KeptRows("content, given up", f"{_CONTENT} i.state = 'routed' AND {_GIVEN_UP} IS NOT NULL", _GIVEN_UP,
             lambda s: s.delivery.keep_discarded_days),
    KeptRows("content, discarded", f"{_CONTENT} i.state = 'discarded'", "i.discarded_at",
             lambda s: s.delivery.keep_discarded_days),
    KeptRows("file", "instance WHERE path <> '' AND state <> 'purged'", "received_at", lambda s: s.delivery.keep_days),
    KeptRows("import_item", "import_item", "last_at", lambda s: s.retention.import_notes_days),
    KeptRows("knock", "knock", "last_at", lambda s: s.retention.knocks_days),
    KeptRows("tombstone", "tombstone", "at", lambda s: s.orders.keep_cancels_days),
    KeptRows("idempotency", "idempotency", "at", lambda s: 1),
    KeptRows("appointment", "appointment", "at", lambda s: 30),
)  # fmt: skip


@dataclass
class Ledger:
    """Remembers what was written on each day, and says what is there now."""

    begin: datetime
    settings: Settings
    written: dict[str, dict[int, int]] = field(default_factory=dict)

    def note(self, connection: Connection, day: int) -> None:
        """Remember what the day has written, at its end. What is one day old at most is there still."""
        for rows in ROWS:
            self.written.setdefault(rows.name, {})[day] = self._count(connection, rows, day, day + 1).get(day, 0)

    def differences(self, connection: Connection, last: int) -> list[str]:
        """What is there and should not be, and what is not and should be, after the night of day `last`."""
        found = []
        for rows in ROWS:
            first = int(last - rows.days(self.settings)) + 1
            due = {day: count for day, count in self.written[rows.name].items() if count and day >= first}
            present = self._count(connection, rows, -1000, last + 1)
            odd = {day: (present.get(day, 0), due.get(day, 0)) for day in sorted({*present, *due})}
            either = first - 1 if rows.night else None
            odd = {day: pair for day, pair in odd.items() if pair[0] != pair[1] and day != either}
            if odd:
                found.append(f"{rows.name}: of day {min(odd)} to {max(odd)}, there and due: {list(odd.items())[:3]}")
        return found

    def _count(self, connection: Connection, rows: KeptRows, since: int, until: int) -> dict[int, int]:
        begin, word = self.begin.timestamp(), "AND" if " WHERE " in rows.of else "WHERE"
        here = f"{rows.at} >= {begin + since * DAY} AND {rows.at} < {begin + until * DAY}"
        day = f"floor(({rows.at} - {begin}) / {DAY})"
        query = f"SELECT {day}, count(*) FROM {rows.of} {word} {here} GROUP BY 1"
        return {int(day): count for day, count in connection.execute(text(query))}


def sizes(connection: Connection) -> dict[str, int]:
    """Rows of each table."""
    return {
        table: connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one()
        for table in sorted(tables.METADATA.tables)
    }
