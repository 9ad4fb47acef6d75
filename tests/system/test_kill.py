"""SIGKILL under mixed load: all that was acknowledged is there, once (CR-01 … CR-09, CR-16).

`tests/bench/kills.py` does the same 200 times, also with a disk that fills and a clock that is set.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from support.kills.kills import AT_RANDOM, POINTS, STARTING, Hospital, plan, run
from support.scale import scaled
from support.store import postgresql

SEED = 13
EACH_POINT = [(point, 2, 60.0) for point in POINTS]


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost(tmp_path: Path, database_url: str) -> None:
    url = database_url if database_url.startswith("postgresql") else ""
    rows = partial(postgresql.rows, url) if url else None
    rounds = [*EACH_POINT, (STARTING, 1, 0.2), (AT_RANDOM, 1, 0.4), *plan(SEED, scaled(0, 100))]
    with Hospital(tmp_path / "site", rows, url, tmp_path / "data", fake=False) as hospital:
        deaths = run(hospital, rounds)
        assert hospital.ledger.wrong + hospital.account.differences == []
        assert [point for point in POINTS if not deaths[point]] == []
        assert len(hospital.ledger.ended) > 0
