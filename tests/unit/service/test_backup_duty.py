"""When the daily backup is due: once a day on the clock of the site, also over the changes of daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from broker.backup.last import LastBackup
from broker.service.backups.daily import AGAIN, is_due, scheduled
from broker.settings.backup import BackupSection

ZURICH = ZoneInfo("Europe/Zurich")
NOW = 1_900_000_000.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("2026-06-10T12:00", "2026-06-10T00:30"),
        ("2026-06-10T00:29", "2026-06-09T00:30"),
        ("2026-06-10T00:30", "2026-06-10T00:30"),
        ("2026-03-29T12:00", "2026-03-29T01:30"),  # 02:30 is left out: 03:30 of summer
        ("2026-10-25T00:45", "2026-10-25T00:30"),  # 02:30 comes for the first time
        ("2026-10-25T01:45", "2026-10-25T00:30"),  # and for the second time
        ("2026-10-25T12:00", "2026-10-25T00:30"),
    ],
)
def test_it_is_due_once_a_day(now: str, wanted: str) -> None:
    assert scheduled(at(now), "02:30", ZURICH) == at(wanted)


def test_each_day_of_a_year_has_one_time() -> None:
    start = at("2026-01-01T12:00")
    times = [scheduled(start + 600 * n, "02:30", ZURICH) for n in range(365 * 144)]
    assert times == sorted(times)
    assert len(set(times)) == 366  # the day of the first look, and one for each day that follows


@pytest.mark.parametrize(
    ("known", "due"),
    [
        (None, True),
        (LastBackup(), True),
        (LastBackup(good_at=NOW - 10), False),
        (LastBackup(good_at=NOW - 5000), True),
        (LastBackup(good_at=NOW + 5000), True),  # the clock was set back
        (LastBackup(good_at=NOW - 90_000, failed_at=NOW - 60, failed="backup-disk"), False),
        (LastBackup(good_at=NOW - 90_000, failed_at=NOW - AGAIN, failed="backup-disk"), True),
        (LastBackup(failed_at=NOW + 60, failed="backup-disk"), True),
    ],
)
def test_a_good_one_is_enough_and_a_failed_one_is_tried_again(known: LastBackup | None, due: bool) -> None:
    assert is_due(NOW, NOW - 3000, known) is due


@pytest.mark.parametrize("wrong", ["2:30", "24:00", "12:60", "noon", "02:3a", "", "٠٢:٣٠"])
def test_what_is_no_time_of_the_day_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="time of the day"):
        BackupSection(at=wrong)
