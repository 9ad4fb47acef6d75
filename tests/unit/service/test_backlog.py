"""A system that lets too few connections wait at a door is told of at the start."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from broker.seats import BACKLOG
from broker.service.doors import backlog


def test_a_start_warns_where_too_few_connections_may_wait(tmp_path: Path) -> None:
    file = tmp_path / "somaxconn"
    with capture_logs() as logs:
        backlog.warn_if_short(file)  # not there
        for number in (BACKLOG, 128):
            file.write_text(f"{number}\n")
            backlog.warn_if_short(file)
    assert [(line["event"], line["count"], line["limit"]) for line in logs] == [("backlog.short", BACKLOG, 128)]
