"""A hospital in time-lapse: what is deleted is what the table of retention says, and nothing grows after that.

Some weeks pass in seconds, with days of retention to fit. `tests/bench/year.py` runs longer and larger ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.lapse.copies import Copies
from support.lapse.day import Day, Load
from support.lapse.kept import Ledger, sizes
from support.lapse.ward import ward
from support.store.spool import spool_files

BEGIN = datetime(2025, 3, 10, tzinfo=ZoneInfo("Europe/Zurich"))  # clocks go forward within it
DAYS, WEEK = 46, 7  # appointments stay 30 days, which no setting changes, and the trail tells that they went
RETENTION: dict[str, Any] = {
    "retention": {
        "jobs_days": 4, "objects_days": 5, "exams_days": 5, "messages_days": 6, "refused_messages_days": 3,
        "import_notes_days": 4, "knocks_days": 7, "audit_days": 7,
    },
    "delivery": {"keep_days": 2, "keep_discarded_days": 3},
    "orders": {"keep_cancels_days": 8},
}  # fmt: skip


@pytest.mark.timeout(240)
def test_after_some_weeks_there_is_what_the_retention_says(database_url: str, tmp_path: Path) -> None:
    with ward(tmp_path, database_url, BEGIN, **RETENTION) as here:
        days, copies = Day(here, Load(exams=1, objects=2, adt=3, queries=1, views=1)), Copies(here.database)
        ledger, rows, files = Ledger(BEGIN, here.settings), [], []
        for number in range(DAYS):
            begin = BEGIN + timedelta(days=number)
            copies.begin()
            days.finished(number, begin)
            copies.make(number, 1)
            days.unfinished(number, begin)
            days.night(number, begin)
            here.database.read(ledger.note, number).result(10)
            rows.append(here.database.read(sizes).result(10))
            files.append(len(spool_files(here.foundation.spool.root)))
        assert here.database.read(ledger.differences, DAYS - 1).result(10) == []
        assert [name for name, days in ledger.written.items() if not any(days.values())] == []
    grown = {name: (rows[-1 - WEEK][name], count) for name, count in rows[-1].items() if count != rows[-1 - WEEK][name]}
    assert grown == {}
    assert files[-1] == files[-1 - WEEK] == 2
