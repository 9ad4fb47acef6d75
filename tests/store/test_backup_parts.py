"""What a backup tells, and when a restore refuses: nothing is changed then."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from support.delivery.receiving import ReceptionPlace

from broker.backup import last, making, manifest, proving, restoring, spool_copy
from broker.errors import BadContent, BrokerError, ConfigurationError, SpoolUnavailable, Unavailable
from broker.routing import sweep
from broker.settings import Settings
from broker.settings.sections import DatabaseSection, ServiceSection
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import purge_lock
from broker.store.images.purge_lock import kept, purging


class House:
    """A data folder with objects, and a folder of backups."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.into = folder, folder / "data", folder / "backups"
        self.data.mkdir()
        self.settings = settings(self.data)
        self.database = Database(self.settings.database_url())
        self.place = ReceptionPlace(self.database, self.data / "spool")
        self.place.in_force({"default": {"action": "send", "send": ["pacs"]}}, 1)

    def back_up(self, keep: int = 0) -> tuple[Path, manifest.Manifest]:
        done = proving.make(self.settings, None, self.into, keep=keep, verify=False)
        return done.folder, done.manifest

    def files(self) -> list[Path]:
        return sorted((self.data / "spool").glob("*/*/*.dcm"))


def settings(data: Path, url: str = "") -> Settings:
    service = ServiceSection(data_dir=data, site=data.parent / "site.toml")
    return Settings(service=service, database=DatabaseSection(url=url))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    for number in range(3):
        made.place.take(number)
    yield made
    made.place.spool.close()
    made.database.close()


def test_it_holds_the_database_the_objects_and_the_keys(house: House) -> None:
    (house.data / "log.key").write_bytes(b"k" * 32)
    (house.folder / "site.toml").write_text("# nodes")
    folder, told = house.back_up()
    assert (told.files, told.linked, told.lacking) == (3, 0, 0)
    assert told.configuration == ("site.toml",)
    assert (folder / "log.key").read_bytes() == b"k" * 32
    assert [path.name for path in folder.rglob("*") if path.stat().st_mode & 0o77] == []
    with closing(sqlite3.connect(folder / "broker.db")) as copy:
        assert copy.execute("SELECT count(*) FROM instance").fetchone() == (3,)
    assert list(spool_copy.spoiled(folder)) == []
    assert (last.last(house.data) or last.LastBackup()).good_at == told.made_at


def test_what_an_earlier_one_has_is_linked_and_the_oldest_go(house: House) -> None:
    first, _ = house.back_up()
    house.place.take(7)
    second, told = house.back_up(keep=1)
    assert (told.files, told.linked) == (4, 3)
    assert manifest.backups(house.into) == [second]
    assert not first.exists()
    assert list(spool_copy.spoiled(second)) == []


def test_an_object_without_a_file_is_told(house: House) -> None:
    [second] = [row["path"] for row in house.place.rows() if row["id"] == 2]
    (house.data / "spool" / second).unlink()
    _, told = house.back_up()
    assert (told.files, told.missing) == (2, (2,))


def test_damage_of_a_backup_is_found_by_the_check(house: House) -> None:
    folder, _ = house.back_up()
    one, two, three = sorted((folder / "spool").glob("*/*/*.dcm"))
    one.unlink()
    two.write_bytes(two.read_bytes()[:-2])
    data = bytearray(three.read_bytes())
    data[-1] ^= 1
    three.write_bytes(data)
    assert sorted(fault for _, fault in restoring.check(folder).spoiled) == [
        "file-altered",
        "file-damaged",
        "file-missing",
    ]


@pytest.mark.parametrize("hurt", ["database", "manifest", "list", "newer", "nothing"])
def test_what_is_no_whole_backup_is_refused(house: House, hurt: str) -> None:
    folder, told = house.back_up()
    if hurt == "database":
        with (folder / "broker.db").open("r+b") as file:
            file.seek(5000)
            file.write(b"!!!")
    elif hurt == "newer":
        (folder / manifest.FILE).write_text(told.model_copy(update={"format": 2}).model_dump_json())
    elif hurt == "list":
        (folder / spool_copy.LIST).write_text('[1, "../../etc/passwd", 0, 5, "00"]\n')
    elif hurt == "manifest":
        (folder / manifest.FILE).write_text("{")
    with pytest.raises(BadContent):
        restoring.check(house.folder if hurt == "nothing" else folder)


def test_a_backup_of_a_newer_version_is_refused(house: House) -> None:
    folder, told = house.back_up()
    (folder / manifest.FILE).write_text(told.model_copy(update={"revision": "9999"}).model_dump_json())
    with pytest.raises(ConfigurationError, match="newer"):
        restoring.check(folder)


def test_nothing_is_purged_while_a_backup_copies(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    root = house.data / "spool"
    house.database.execute(lambda connection: connection.execute(text("UPDATE job SET state = 'done', done_at = 1")))
    house.database.execute(lambda connection: connection.execute(text("UPDATE instance SET received_at = 1")))
    with kept(root):
        assert sweep.purge_delivered(Pace(house.database), house.place.spool, 1) == 0
        monkeypatch.setattr(purge_lock, "WAIT", 0.1)
        with pytest.raises(SpoolUnavailable):
            house.back_up()
    assert (last.last(house.data) or last.LastBackup()).failed == "spool-locked"
    assert list(house.into.glob("*.part")) == []
    with purging(root) as free:
        assert free
    assert sweep.purge_delivered(Pace(house.database), house.place.spool, 1) == 3
    _, told = house.back_up()
    assert (told.files, told.lacking) == (0, 0)


def test_what_a_killed_one_left_goes_and_two_at_once_are_refused(house: House) -> None:
    (house.into / "20300101T000000Z.part" / "spool").mkdir(parents=True)
    folder, _ = house.back_up()
    assert manifest.newest(house.into) == folder
    assert list(house.into.glob("*.part")) == []
    descriptor = os.open(house.into / ".lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="under way"):
            house.back_up()
    finally:
        os.close(descriptor)


def test_a_database_of_another_version_is_left_alone(house: House) -> None:
    house.database.execute(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0'")))
    with pytest.raises(ConfigurationError, match="version"):
        house.back_up()
    assert list(house.into.glob("2*")) == []


def test_a_full_data_folder_is_refused_and_then_moved_aside(house: House) -> None:
    folder, _ = house.back_up()
    found = restoring.check(folder)
    house.place.take(8)
    house.database.close()
    with pytest.raises(ConfigurationError, match="--replace"):
        restoring.restore(house.settings, found, "test", replace=False, resume=False)
    assert len(house.files()) == 4
    done = restoring.restore(house.settings, found, "test", replace=True, resume=False)
    assert done.aside is not None
    assert len(list((done.aside / "spool").glob("*/*/*.dcm"))) == 4
    assert len(house.files()) == 3
    with closing(sqlite3.connect(house.data / "broker.db")) as there:
        assert there.execute("SELECT count(*) FROM instance").fetchone() == (3,)
        assert there.execute("SELECT action FROM audit ORDER BY id DESC").fetchone() == ("service.restored",)


def test_a_backup_of_another_kind_of_database_is_refused(house: House, tmp_path: Path) -> None:
    found = restoring.check(house.back_up()[0])
    other = settings(tmp_path / "other", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="sqlite"):
        restoring.restore(other, found, "test", replace=False, resume=False)
    assert not (tmp_path / "other").exists()


def test_a_folder_that_cannot_be_written_is_an_error_with_words(house: House) -> None:
    (house.folder / "file").write_text("")
    with pytest.raises(BrokerError, match="file"):
        making.make(house.settings, None, house.folder / "file")


def test_backups_of_one_second_stand_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    names = ["20261203T144133Z", *(f"20261203T144133Z-{number}" for number in range(2, 12)), "20261203T144134Z"]
    for name in (*reversed(names), "20261203T144133Z.part", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / manifest.FILE).touch()
    assert [path.name for path in manifest.backups(tmp_path)] == names
    assert manifest.newest(tmp_path).name == names[-1]
