"""A spool folder that is not the one of the database is refused at the start, until a person decides. ST-07."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.service.site import Site

from broker.errors import SpoolUnavailable, StoreUnavailable
from broker.store.db.database import Database
from broker.store.images import instances, spool_owner
from broker.store.images.spool_owner import COPY, MARK, check

RULES = '[default]\naction = "hold"\n'


class Place:
    """A data directory whose database knows the files that `known` names."""

    def __init__(self, database: Database, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.data, self.spool = database, data, data / "spool"
        self.spool.mkdir(parents=True)
        self.known: list[str] = []
        monkeypatch.setattr(instances, "newest_files", lambda connection, limit: self.known[:limit])

    def check(self) -> None:
        check(self.database, self.data, self.spool)

    def marks(self) -> tuple[str, str]:
        return (self.data / COPY).read_text(), (self.spool / MARK).read_text()

    def file(self, name: str) -> None:
        self.known.append(name)
        (self.spool / name).parent.mkdir(parents=True, exist_ok=True)
        (self.spool / name).write_bytes(b"x")

    def unmount(self) -> None:
        shutil.rmtree(self.spool)
        self.spool.mkdir()


@pytest.fixture
def place(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    database = Database(sqlite_url)
    yield Place(database, tmp_path / "data", monkeypatch)
    database.close()


def test_a_new_spool_is_marked_and_stays(place: Place) -> None:
    place.check()
    first = place.marks()
    assert first[0] == first[1]
    place.check()
    assert place.marks() == first


def test_a_spool_of_before_there_were_marks_is_known_by_its_files(place: Place) -> None:
    place.known.append("20300312/10/lost.dcm")
    place.file("20300312/10/a.dcm")
    place.check()
    assert len(set(place.marks())) == 1


@pytest.mark.parametrize("known", [[], ["20300312/10/a.dcm"]])
def test_an_empty_folder_in_its_place_is_refused_until_a_person_accepts_it(place: Place, known: list[str]) -> None:
    place.check()
    place.known += known
    place.unmount()
    for _ in range(2):
        with pytest.raises(SpoolUnavailable, match="mount it") as refused:
            place.check()
        assert refused.value.code == "spool-missing"
    assert list(place.spool.iterdir()) == []
    (place.spool / MARK).touch()
    place.check()
    assert len(set(place.marks())) == 1


def test_a_spool_that_was_never_marked_and_is_empty_is_refused_if_files_are_known(place: Place) -> None:
    place.known.append("20300312/10/a.dcm")
    with pytest.raises(SpoolUnavailable, match="lost for good"):
        place.check()


def test_the_spool_of_another_broker_is_refused(place: Place) -> None:
    place.check()
    (place.spool / MARK).write_text("other\n")
    with pytest.raises(SpoolUnavailable, match="belongs to another broker") as refused:
        place.check()
    assert refused.value.code == "spool-foreign"
    (place.spool / MARK).write_text("")
    place.check()
    assert len(set(place.marks())) == 1


def test_files_prove_more_than_marks(place: Place) -> None:
    """As after a backup was restored beside the spool, or the data directory was made anew around a database."""
    place.check()
    place.file("20300312/10/a.dcm")
    (place.data / COPY).write_text("other\n")
    place.check()
    assert len(set(place.marks())) == 1


def test_a_disk_that_cannot_be_written_keeps_nobody_from_starting(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> int:
        raise OSError(30, "read-only")

    monkeypatch.setattr(spool_owner.os, "open", read_only)
    place.check()
    assert not (place.spool / MARK).exists()


def test_a_database_that_cannot_be_read_keeps_nobody_from_starting(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[str]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(instances, "newest_files", away)
    place.check()
    assert len(set(place.marks())) == 1


def test_a_broker_without_its_volume_does_not_start_and_keeps_what_waits(tmp_path: Path) -> None:
    site, item = Site(tmp_path / "site", site=RULES), ct_slice(64 * 1024)
    with site:
        with RawScu(site.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)])
            assert modality.store(item) == 0
        site.stop()
        (site.data / "spool").rename(site.data / "elsewhere")
        site.launch()
        assert site.process is not None
        assert site.process.wait(30) == 1
        assert "mount it" in site.logged()
        shutil.rmtree(site.data / "spool", ignore_errors=True)
        (site.data / "elsewhere").rename(site.data / "spool")
        site.start()
        assert site.rows("select state from instance") == [("held",)]
        assert len(list((site.data / "spool").rglob("*.dcm"))) == 1
