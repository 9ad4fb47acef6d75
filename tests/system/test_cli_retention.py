"""`broker retention` says what is deleted next, beside a running broker and without one; the next run deletes that."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from support.peers.tools import wait_until
from support.service.site import Site

from broker.store.db.database import Database
from broker.store.schema import tables

DAY = 86_400.0


def knocks(url: str) -> None:
    """Unknown devices: three that are over, two that are soon, one of today."""
    database, now = Database(url), time.time()

    def add(connection: Connection) -> None:
        for number, age in enumerate((95, 94, 93, 88, 87, 0)):
            at = now - age * DAY
            row = {"ae_title": f"CT{number}", "address": "192.0.2.1", "first_at": at, "last_at": at, "count": 1}
            connection.execute(insert(tables.knock).values(**row))

    database.execute(add)
    database.close()


def shown(site: Site, name: str = "knocks") -> dict[str, Any]:
    told = site.command("retention", "--json")
    assert told.returncode == 0, told.stderr
    (rule,) = (rule for rule in json.loads(told.stdout)["rules"] if rule["name"] == name)
    return dict(rule)


def test_what_is_shown_without_a_broker_is_deleted_by_the_next_start(tmp_path: Path, database_url: str) -> None:
    site = Site(tmp_path / "site", database_url=database_url)
    knocks(database_url)
    before = shown(site)
    assert (before["over"], before["soon"], before["kept"], before["more"]) == (3, 2, 0, False)
    assert before["last_run"] is None
    assert 94 * DAY < time.time() - before["oldest"] < 96 * DAY
    with site:
        wait_until(lambda: shown(site)["last_run"] is not None, 60, "retention has run")
        after = shown(site)
        assert after["last_run"]["deleted"] == 3
        lines = site.command("retention").stdout.splitlines()
    assert lines[0].split() == ["rule", "days", "now", "in", "7", "d", "kept", "oldest", "last", "run", "key"]
    (line,) = (line for line in lines if line.startswith("knocks"))
    assert line.split()[:2] == ["knocks", "90"]
    assert line.split()[7] == "3"  # deleted by the last run; in 80 columns it is folded
    assert (shown(site)["over"], shown(site)["soon"]) == (0, 2)
