"""A backup is proven: its database is restored into a temporary place, which is gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from support.delivery.receiving import ReceptionPlace
from support.store import postgresql as pg

from broker.backup import last, manifest, proving, spool_copy
from broker.backup.last import LastBackup
from broker.errors import StoreUnavailable
from broker.settings import Settings
from broker.settings.sections import DatabaseSection, ServiceSection
from broker.store.copies import database_copy, trial
from broker.store.db.database import Database


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pg_dump` and `pg_restore` of the server's version."""
    monkeypatch.setenv("PATH", f"{pg.PROGRAMS}:{os.environ['PATH']}")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Iterator[Settings]:
    """A data folder with three objects."""
    url = database_url if database_url.startswith("postgresql") else ""
    (tmp_path / "data").mkdir()
    made = at(tmp_path, url)
    database = Database(made.database_url())
    place = ReceptionPlace(database, tmp_path / "data" / "spool")
    place.in_force({"default": {"action": "send", "send": ["pacs"]}}, 1)
    for number in range(3):
        place.take(number)
    yield made
    place.spool.close()
    database.close()


def at(folder: Path, url: str) -> Settings:
    service = ServiceSection(data_dir=folder / "data", site=folder / "site.toml")
    return Settings(service=service, database=DatabaseSection(url=url))


def noted(settings: Settings) -> LastBackup:
    return last.last(settings.service.data_dir) or LastBackup()


def trials(settings: Settings, into: Path) -> list[Any]:
    """What trials left behind."""
    url = settings.database_url()
    found: list[Any] = list(into.glob("trial-*"))
    if url.startswith("postgresql"):
        found += pg.rows(url, f"SELECT datname FROM pg_database WHERE datname LIKE '{trial.PREFIX}%'")
    return found


def test_its_database_is_restored_for_a_trial_that_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    done = proving.make(settings, None, tmp_path / "backups", keep=0, verify=True)
    assert (done.good, done.restored, done.manifest.files) == (True, True, 3)
    known = noted(settings)
    assert (known.good_at, known.folder, known.restored) == (done.manifest.made_at, str(done.folder), True)
    assert known.proven_at >= known.good_at
    assert trials(settings, tmp_path / "backups") == []


def test_an_object_whose_file_the_backup_lacks_is_found(settings: Settings, tmp_path: Path) -> None:
    """The list of files is short of one that the database in the backup names."""
    made = proving.make(settings, None, tmp_path / "backups", keep=0, verify=False)
    listed = made.folder / spool_copy.LIST
    _, *others = listed.read_text(encoding="utf-8").splitlines(keepends=True)
    listed.write_text("".join(others), encoding="utf-8")
    found = proving.prove(settings, made)
    assert found.check is not None
    assert found.check.spoiled == ((1, "file-missing"),)
    assert not found.good


def test_one_that_is_not_good_counts_as_failed_and_removes_none(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = proving.make(settings, None, tmp_path / "backups", keep=1, verify=True)

    def broken(url: str, source: Path) -> None:
        raise StoreUnavailable("pg_restore: it cannot be")

    monkeypatch.setattr(database_copy, "put_in", broken)
    with pytest.raises(StoreUnavailable):
        proving.make(settings, None, tmp_path / "backups", keep=1, verify=True)
    known = noted(settings)
    assert (known.failed, known.good_at, known.folder) == ("backup-damaged", good.manifest.made_at, str(good.folder))
    assert good.folder in manifest.backups(tmp_path / "backups")
    assert trials(settings, tmp_path / "backups") == []


def test_a_role_that_may_make_no_database_reads_the_dump_instead(postgresql: Any, tmp_path: Path) -> None:
    """A trial that was killed left a database: it is removed, and no other one."""
    url = pg.create(postgresql, "unprivileged")
    try:
        with psycopg.connect(postgresql.get_uri(), autocommit=True) as server:
            server.execute("CREATE ROLE plain LOGIN")
            server.execute("ALTER DATABASE unprivileged OWNER TO plain")
        plain = make_url(url).set(username="plain").render_as_string(hide_password=False)
        (tmp_path / "data" / "spool").mkdir(parents=True)
        settings = at(tmp_path, plain)
        Database(plain).close()
        done = proving.make(settings, None, tmp_path / "backups", keep=0, verify=True)
        assert (done.good, done.restored, noted(settings).restored) == (True, False, False)
        assert noted(settings).proven_at > 0
        with psycopg.connect(postgresql.get_uri(), autocommit=True) as server:
            server.execute("ALTER ROLE plain CREATEDB")
            name = trial.PREFIX + sha256(b"unprivileged").hexdigest()[:16]
            server.execute(f"CREATE DATABASE {name} OWNER plain")
        assert trials(settings, tmp_path / "backups") == [(name,)]
        assert proving.make(settings, None, tmp_path / "backups", keep=0, verify=True).restored
        assert trials(settings, tmp_path / "backups") == []
    finally:
        pg.drop(postgresql, "unprivileged")
        with psycopg.connect(postgresql.get_uri(), autocommit=True) as server:
            server.execute("DROP ROLE plain")
