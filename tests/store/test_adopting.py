"""Files that no row knows go through reception, each once, and what cannot be taken in is told and stays."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, delete, text
from support.delivery.receiving import ReceptionPlace
from support.dicom.objects import Encoded, ct_slice

from broker.dicom.dataset import part10
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.served import storage
from broker.errors import SpoolUnavailable, StoreUnavailable
from broker.routing import sweep
from broker.routing.adopting import adoption as adopting
from broker.routing.adopting import one_file, walk
from broker.routing.adopting.adoption import Adopting, Adoption, StrayPart
from broker.routing.adopting.one_file import AdoptingDoor
from broker.routing.adopting.places import BadFolder
from broker.routing.held_work import BytesBusy
from broker.routing.reception import IncomingObject, Reception
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import linked_file
from broker.store.schema import tables

BY_CALLER = {
    "rule": [{"name": "ct", "when": {"field": "assoc.calling_ae", "value": "CT01"}, "send": ["pacs", "cad"]}],
    "default": {"action": "hold"},
}
WHO = Adopting("anna", "10.0.0.1", "restored from a backup")
ASIDE = "before-restore-20261203T080000"


class AdoptingPlace(ReceptionPlace):
    """A data folder whose database may forget what it has received."""

    def __init__(self, database: Database, data: Path) -> None:
        super().__init__(database, data / "spool")
        self.data = data
        self.small = 0
        self.most = 1 << 30
        self.adoption = Adoption(database, data, self.door)

    def door(self) -> AdoptingDoor:
        reception = Reception(
            self.database, self.spool, lambda: self.rules, ZoneInfo("UTC"), self.wake, small=self.small
        )
        return AdoptingDoor(
            database=self.database, reception=reception, spool=self.spool, offer=storage(), title="BROKER",
            most=self.most,
        )  # fmt: skip

    def forget(self) -> None:
        """The database is as before the first object."""

        def unit(connection: Connection) -> None:
            for table in (tables.job, tables.content, tables.study, tables.instance):
                connection.execute(delete(table))

        self.database.execute(unit)

    def files(self, root: Path | None = None) -> list[Path]:
        """The files of objects below a folder."""
        return sorted(path for path in (root or self.spool.root).rglob("*.dcm"))

    def old(self) -> None:
        """No file may belong to a reception under way."""
        for path in self.files():
            os.utime(path, (1, 1))

    def set_aside(self) -> Path:
        """As a restore leaves it: the spool is in another folder."""
        aside = self.data / ASIDE / "spool"
        aside.mkdir(parents=True)
        for path in list(self.spool.root.iterdir()):
            path.rename(aside / path.name)
        self.spool._known.clear()
        return aside

    def adopt(self, folder: str = "", *, local: bool = False) -> StrayPart:
        """All parts together."""
        whole = self.adoption.adopt(folder, (), WHO, local=local)
        while not whole.over:
            part = self.adoption.adopt(folder, whole.last, WHO, local=local)
            whole.counts += part.counts
            whole.left += part.left
            whole.last, whole.over = part.last, part.over
        return whole


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[AdoptingPlace]:
    made = AdoptingPlace(database, tmp_path / "broker-data")
    made.in_force(BY_CALLER, 1)
    yield made
    made.spool.close()


def lost(place: AdoptingPlace, count: int = 3) -> list[Encoded]:
    """Objects that were received, and that the database does not know any more."""
    items = [place.take(number) for number in range(1, count + 1)]
    place.forget()
    place.old()
    return items


def whole(place: AdoptingPlace, items: list[Encoded]) -> None:
    """Each object has one row with its bytes, and goes to both nodes once, as the rule about its sender says."""
    rows = place.rows()
    assert sorted(row["sop_instance_uid"] for row in rows) == sorted(item.sop_instance for item in items)
    data = {item.sop_instance: item.data for item in items}
    for row in rows:
        assert (row["calling_ae"], row["called_ae"], row["peer"]) == ("CT01", "BROKER", "10.0.0.9")
        content = place.spool.read(row["path"], row["data_offset"], row["data_length"] + 1)
        assert content == data[row["sop_instance_uid"]]
    expected = sorted((f"deliver:{node}", row["id"]) for node in ("pacs", "cad") for row in rows)
    assert sorted((lane, subject) for lane, subject, _, _ in place.jobs()) == expected
    assert len(place.files()) == len(items)


@pytest.mark.parametrize("where", ["hours", "unclaimed", "aside"])
def test_lost_objects_are_taken_in_again_and_nothing_is_copied(place: AdoptingPlace, where: str) -> None:
    items = lost(place)
    folder = ""
    if where == "unclaimed":
        assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 3
    elif where == "aside":
        folder = place.set_aside().relative_to(place.data).as_posix()
    before = {path.stat().st_ino for path in place.files(place.data)}
    found = place.adopt(folder)
    assert (found.counts["new"], found.left, found.over) == (3, [], True)
    whole(place, items)
    assert {path.stat().st_ino for path in place.files(place.data)} == before
    [row] = [row for row in place.audit() if row[0] == "objects.adopted"]
    assert row[2] == {"from": folder or "spool", "new": 3, "reason": WHO.reason}
    assert place.woken
    again = place.adopt(folder)
    assert (again.counts["new"], again.counts["duplicate"], again.left) == (0, 0, [])
    whole(place, items)


def test_what_a_row_knows_is_left_alone(place: AdoptingPlace) -> None:
    place.take(1)
    place.old()
    before = place.rows(), place.jobs(), place.files()
    found = place.adopt()
    assert found.counts == {"known": 1}
    assert (place.rows(), place.jobs(), place.files()) == before
    assert "objects.adopted" not in [action for action, _, _ in place.audit()]


def test_a_known_file_of_an_old_spool_stays_unless_the_spool_has_lost_it(place: AdoptingPlace) -> None:
    place.take(1)
    [row], [file] = place.rows(), place.files()
    aside = place.data / ASIDE / "spool" / row["path"]
    aside.parent.mkdir(parents=True)
    aside.write_bytes(file.read_bytes())
    assert place.adopt(f"{ASIDE}/spool").counts == {"known": 1}
    assert aside.exists()
    file.unlink()
    assert place.adopt(f"{ASIDE}/spool").counts == {"repaired": 1}
    [mended] = place.rows()
    assert mended["id"] == row["id"]
    assert place.spool.locate(mended["path"]).exists()
    assert not aside.exists()
    assert len(place.jobs()) == 2


def test_files_of_receptions_under_way_are_left_alone(place: AdoptingPlace) -> None:
    lost(place, 2)
    for path in place.files():
        os.utime(path, (time.time() + 100, time.time() + 100))
    found = place.adopt()
    assert (found.counts, place.rows()) == ({"young": 2}, [])
    place.old()
    place.spool.new_path().touch()  # made ahead
    place.adoption._born -= 2 * sweep.YOUNG
    assert place.adopt().counts == {"new": 2, "young": 1}
    os.utime(next(path for path in place.files() if not path.stat().st_size), (1, 1))
    assert place.adopt().counts == {"known": 2, "never-used": 1}


def test_purged_objects_do_not_come_back(place: AdoptingPlace) -> None:
    [item] = lost(place, 1)
    place.adopt()
    [file] = place.files()
    copies = [place.data / ASIDE / "spool" / name for name in ("a.dcm", f"x/{place.rows()[0]['path']}")]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    for statement in ("UPDATE job SET state = 'done', done_at = 1", "UPDATE instance SET received_at = 1"):
        place.database.execute(lambda connection, it=statement: connection.execute(text(it)))
    assert sweep.purge_delivered(Pace(place.database), place.spool, 1) == 1
    place.in_force({"default": {"action": "send", "send": ["pacs"]}}, 2)
    for small in (0, 1 << 20):
        place.small = small
        assert place.adopt(ASIDE).counts == {"purged": 2}
        assert [row["state"] for row in place.rows()] == ["purged"]
        assert all(copy.exists() for copy in copies)
        assert place.files() == []
    assert item.sop_instance == place.rows()[0]["sop_instance_uid"]


def test_small_objects_go_into_the_database_as_at_the_door(place: AdoptingPlace) -> None:
    lost(place, 1)
    place.small = 1 << 20
    assert place.adopt().counts == {"new": 1}
    [row] = place.rows()
    assert row["path"] == ""
    assert place.files() == []


def test_other_bytes_of_a_known_object_are_a_new_version(place: AdoptingPlace) -> None:
    lost(place, 1)
    place.take(1, PatientName="Changed")
    place.old()
    found = place.adopt()
    assert found.counts["version"] == 1
    assert [row["version"] for row in place.rows()] == [1, 2]
    assert len(place.jobs()) == 4


def test_the_same_bytes_of_a_known_object_are_a_duplicate(place: AdoptingPlace) -> None:
    [item] = lost(place, 1)
    place.receive(item)
    place.old()
    assert place.adopt().counts == {"duplicate": 1, "known": 1}
    assert len(place.rows()) == len(place.files()) == 1
    assert len(place.jobs()) == 2


def test_an_older_file_does_not_say_whom_it_was_sent_to(place: AdoptingPlace) -> None:
    item = ct_slice(64)
    folder = place.data / ASIDE
    folder.mkdir()
    head = part10.header(item.sop_class, item.sop_instance, item.transfer_syntax, "CT01")
    (folder / "a").write_bytes(head + item.data)
    assert place.adopt(ASIDE).counts == {"new": 1}
    [row] = place.rows()
    assert (row["calling_ae"], row["called_ae"], row["peer"]) == ("CT01", "BROKER", "")
    assert len(place.jobs()) == 2


def test_rules_of_now_decide_and_see_the_address(place: AdoptingPlace) -> None:
    lost(place, 1)
    place.in_force(
        {"rule": [{"name": "r", "when": {"field": "assoc.address", "value": "10.0.0.9"}, "send": ["cad"]}]}, 2
    )
    place.adopt()
    assert [(lane, state) for lane, _, state, _ in place.jobs()] == [("deliver:cad", "ready")]


def bad_files(place: AdoptingPlace, folder: Path) -> dict[str, str]:
    """Files that cannot be taken in, with what is said of each."""
    item = ct_slice(4096, SOPInstanceUID="2.999.500")
    head = part10.header(item.sop_class, item.sop_instance, item.transfer_syntax, "CT01")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cut").write_bytes((head + item.data)[:-100])
    (folder / "empty").touch()
    (folder / "head-only").write_bytes(head)
    (folder / "huge").write_bytes(head + item.data + bytes(2048))
    (folder / "link").symlink_to(folder / "cut")
    (folder / "links").symlink_to(place.data)
    (folder / "other.txt").write_text("no image")
    (folder / "nobody").write_bytes(part10.header(item.sop_class, "2.999.501", item.transfer_syntax, "") + item.data)
    (folder / "mpps").write_bytes(
        part10.header("1.2.840.10008.3.1.2.3.3", "2.999.502", item.transfer_syntax, "CT01") + item.data
    )
    (folder / "renamed").write_bytes(
        part10.header(item.sop_class, "2.999.503", item.transfer_syntax, "CT01") + item.data
    )
    os.mkfifo(folder / "pipe")
    (folder / "l\udcffst").write_text("a name that is no text")
    place.most = len(item.data) + 1024
    return {
        "cut": "truncated", "empty": "empty", "head-only": "file-header", "huge": "too-large", "link": "symlink",
        "links": "symlink", "other.txt": "no-dicom", "nobody": "no-sender", "mpps": "not-stored",
        "renamed": "uid-mismatch", "pipe": "special", "l\\xffst": "no-dicom",
    }  # fmt: skip


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_what_cannot_be_taken_in_is_told_and_stays(place: AdoptingPlace, small: int) -> None:
    items = lost(place, 2)
    aside = place.set_aside()
    place.small = small
    expected = bad_files(place, aside / "more")
    before = {path: path.lstat().st_mtime_ns for path in (aside / "more").iterdir()}
    found = place.adopt(f"{ASIDE}/spool")
    assert {one.path.removeprefix("more/"): one.code for one in found.left} == expected
    assert found.counts == {"new": 2}
    assert sorted(row["sop_instance_uid"] for row in place.rows()) == sorted(item.sop_instance for item in items)
    assert {path: path.lstat().st_mtime_ns for path in (aside / "more").iterdir()} == before
    again = place.adopt(f"{ASIDE}/spool")
    assert {one.path for one in again.left} == {one.path for one in found.left}
    assert all(one.text and "2.999" not in one.text and str(place.data) not in one.text for one in found.left)


@pytest.mark.parametrize("step", ["read", "record", "remove"])
def test_what_breaks_off_goes_on_and_nothing_is_doubled(
    place: AdoptingPlace, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = lost(place)
    aside = place.set_aside()

    class Died(BaseException):
        """As if the process was killed: nothing more is done by it."""

    def die(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as dying:
        if step == "read":
            dying.setattr(linked_file.LinkedFile, "abandon", lambda self: self.close())
            dying.setattr(Reception, "complete", die)
        elif step == "record":
            dying.setattr(linked_file.LinkedFile, "abandon", lambda self: self.close())
            dying.setattr(linked_file.LinkedFile, "keep", die)
        else:
            dying.setattr(one_file, "_remove", die)
        with pytest.raises(Died):
            place.adopt(f"{ASIDE}/spool")
    assert len(place.files(aside)) == 3
    place.adopt(f"{ASIDE}/spool")
    assert place.files(aside) == []
    assert len(place.rows()) == 3
    assert len(place.jobs()) == 6
    place.old()
    sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=3600)
    place.adopt()
    whole(place, items)


def test_the_sweep_leaves_a_file_alone_that_is_being_adopted(
    place: AdoptingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = lost(place, 1)
    aside = place.set_aside()
    keep = linked_file.LinkedFile.keep

    def swept(file: linked_file.LinkedFile) -> None:
        keep(file)
        assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=3600) == 0

    monkeypatch.setattr(linked_file.LinkedFile, "keep", swept)
    assert place.adopt(f"{ASIDE}/spool").counts == {"new": 1}
    assert place.files(aside) == []
    whole(place, items)


def test_a_database_that_goes_away_ends_the_part_and_the_files_stay(
    place: AdoptingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = lost(place)
    aside = place.set_aside()

    def away(*_: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as broken:
        broken.setattr("broker.routing.recording.Recorder.record", away)
        with pytest.raises(StoreUnavailable):
            place.adopt(f"{ASIDE}/spool")
    assert len(place.files(aside)) == 3
    assert place.adopt(f"{ASIDE}/spool").counts == {"new": 3}
    sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1)
    assert place.adopt().counts["duplicate"] == 1
    whole(place, items)


def test_without_room_each_file_is_told(place: AdoptingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    items = lost(place, 2)
    aside = place.set_aside()

    def full(size: int) -> None:
        raise SpoolUnavailable("the disk has too little room", code="disk-low")

    with monkeypatch.context() as low:
        low.setattr(place.spool, "check_room", full)
        found = place.adopt(f"{ASIDE}/spool")
        assert [one.code for one in found.left] == ["disk-low"] * 2
    assert len(place.files(aside)) == 2
    assert place.adopt(f"{ASIDE}/spool").counts == {"new": 2}
    whole(place, items)


def test_a_file_with_another_name_is_copied(place: AdoptingPlace) -> None:
    """Somebody else may keep it by that name, and change it."""
    items = lost(place, 1)
    aside = place.set_aside()
    [file] = place.files(aside)
    os.link(file, place.data / "kept")
    number = file.stat().st_ino
    assert place.adopt(f"{ASIDE}/spool").counts == {"new": 1}
    assert place.files()[0].stat().st_ino != number
    assert (place.data / "kept").exists()
    whole(place, items)


def test_files_of_others_are_copied_and_stay(place: AdoptingPlace, tmp_path: Path) -> None:
    items = lost(place)
    elsewhere = tmp_path / "usb stick"
    place.set_aside().rename(elsewhere)
    with pytest.raises(BadFolder):
        place.adopt(str(elsewhere))
    assert place.adopt(str(elsewhere), local=True).counts == {"new": 3}
    assert len(place.files(elsewhere)) == 3
    assert place.adopt(str(elsewhere), local=True).counts == {"duplicate": 3}
    whole(place, items)


HOSTILE = [
    "/", "/etc", "/proc/self", "..", "../..", ".", "spool/..", f"{ASIDE}/..", f"{ASIDE}/../..", f"{ASIDE}/./x",
    f"{ASIDE}//", "spool/20261203", "spool/20261203/08", "spool//unclaimed", "spool/unclaimed/..",
    f"{ASIDE}/link", f"{ASIDE}/link/x", "backups", "broker.db", f"{ASIDE}/file", "before-restore-none", "a\0b",
    "\ud800", f"{ASIDE}/\udfff", "x" * 4096, "~", "$HOME", "file:///etc",
]  # fmt: skip


@pytest.mark.parametrize("folder", HOSTILE, ids=range(len(HOSTILE)))
def test_other_folders_cannot_be_named_from_afar(place: AdoptingPlace, tmp_path: Path, folder: str) -> None:
    item = ct_slice(64)
    secret = part10.header(item.sop_class, item.sop_instance, item.transfer_syntax, "CT01") + item.data
    for path in (tmp_path / "secret" / "x", place.data / "backups", place.data / ASIDE):
        path.mkdir(parents=True)
    for path in (tmp_path / "secret", tmp_path / "secret" / "x", place.data / "backups"):
        (path / "a.dcm").write_bytes(secret)
    (place.data / ASIDE / "link").symlink_to(tmp_path / "secret")
    (place.data / ASIDE / "file").write_text("")
    for ask in (place.adoption.look, lambda *a, **more: place.adoption.adopt(*a, WHO, **more)):
        with pytest.raises(BadFolder) as refused:
            ask(folder, (), local=False)
        assert str(tmp_path) not in str(refused.value)
    for absolute in (str(place.data / ASIDE / ".." / ".." / "secret"), str(tmp_path / "secret")):
        with pytest.raises(BadFolder):
            place.adopt(absolute)
    assert place.rows() == []


def test_a_person_cannot_name_what_holds_the_spool(place: AdoptingPlace, tmp_path: Path) -> None:
    lost(place, 1)
    hour = place.files()[0].parent
    for folder in (tmp_path, place.data, hour, Path("/")):
        with pytest.raises(BadFolder):
            place.adopt(str(folder), local=True)
    assert place.rows() == []


def test_a_folder_that_becomes_a_link_is_not_followed(place: AdoptingPlace, tmp_path: Path) -> None:
    lost(place, 1)
    place.set_aside().rename(tmp_path / "secret")
    (place.data / ASIDE / "spool").symlink_to(tmp_path / "secret")
    with pytest.raises(BadFolder):
        place.adopt(f"{ASIDE}/spool")
    found = place.adopt(ASIDE)
    assert [(one.path, one.code) for one in found.left] == [("spool", "symlink")]
    assert place.rows() == []


def test_parts_go_on_where_the_last_one_ended(place: AdoptingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    items = lost(place, 7)
    aside = place.set_aside()
    expected = bad_files(place, aside)
    monkeypatch.setattr(adopting, "SECONDS", -1.0)  # one file each
    monkeypatch.setattr(adopting, "PAGE", 2)
    monkeypatch.setattr(walk, "WINDOW", 3)
    parts = [place.adoption.adopt(f"{ASIDE}/spool", (), WHO, local=False)]
    while not parts[-1].over:
        told = json.loads(json.dumps(walk.cursor(parts[-1].last)))
        parts.append(place.adoption.adopt(f"{ASIDE}/spool", walk.place_of(told), WHO, local=False))
    assert len(parts) == 7 + len(expected) + 1
    assert sum(part.counts["new"] for part in parts) == 7
    assert {one.path: one.code for part in parts for one in part.left} == expected
    whole(place, items)


def test_a_look_counts_and_changes_nothing(place: AdoptingPlace) -> None:
    lost(place, 3)
    sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1)
    place.take(7)
    lost_now = place.files()
    place.forget()
    place.old()
    size = sum(path.stat().st_size for path in lost_now if path.parent.name != "unclaimed")
    found = place.adoption.look("", (), local=False)
    assert found.unknown["spool"] == (1, size)
    assert found.unknown["spool/unclaimed"][0] == 3
    assert (place.files(), place.rows(), place.adoption.set_aside()) == (lost_now, [], [])
    place.set_aside()
    assert place.adoption.set_aside() == [f"{ASIDE}/spool"]
    assert place.adoption.look(f"{ASIDE}/spool", (), local=False).unknown == {
        f"{ASIDE}/spool": (4, sum(path.stat().st_size for path in place.files(place.data)))
    }
    assert place.adoption.look("", (), local=False).unknown == {}


def test_one_walk_at_a_time(place: AdoptingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(place, 1)
    seen: list[type[BaseException]] = []

    def second(*_: Any, **__: Any) -> str:
        with pytest.raises(BytesBusy) as caught:
            place.adopt()
        seen.append(caught.type)
        return "new"

    with monkeypatch.context() as busy:
        busy.setattr(adopting, "adopt", second)
        place.adopt()
    assert seen == [BytesBusy]
    assert place.adopt().counts == {"new": 1}  # it is free again


def stray(place: AdoptingPlace, item: Encoded, name: str, came: float, *, to: str = "BROKER", cut: int = 0) -> Path:
    """A file of an old spool, last written at `came`."""
    path = place.data / ASIDE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    head = part10.header(item.sop_class, item.sop_instance, item.transfer_syntax, "CT01", to, "10.0.0.9")
    path.write_bytes(head + (item.data[:-cut] if cut else item.data))
    os.utime(path, (came, came))
    return path


def object_of(item: Encoded) -> IncomingObject:
    return IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE("CT01", "BROKER", "10.0.0.9"))


def only_one(place: AdoptingPlace, item: Encoded) -> None:
    """One row, its bytes in one file, one delivery to each node."""
    [row] = place.rows()
    assert place.spool.read(row["path"], row["data_offset"], row["data_length"] + 1) == item.data
    assert len(place.files(place.data)) == 1
    assert sorted(lane for lane, *_ in place.jobs()) == ["deliver:cad", "deliver:pacs"]


def test_an_object_that_is_being_received_is_left_to_its_reception(place: AdoptingPlace) -> None:
    item = ct_slice(64)
    reception = place.door().reception
    file = reception.begin(object_of(item), item.data[:-10])
    place.adoption._born -= 2 * sweep.YOUNG  # the broker runs for long
    assert place.adopt().counts == {"young": 1}
    assert reception.complete(object_of(item), file, item.data[-10:]) == "new"
    assert place.adopt().counts == {"known": 1}
    only_one(place, item)


@pytest.mark.parametrize("ending", ["before", "behind", "between"])
def test_a_reception_whose_file_looks_old_is_not_doubled(
    place: AdoptingPlace, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set makes the file of a reception look old: adoption and reception commit in either order."""
    item = ct_slice(64)
    reception = place.door().reception
    file = reception.begin(object_of(item), item.data)
    place.old()
    found: list[str] = []

    def end(*_: Any) -> None:
        found.append(reception.complete(object_of(item), file))

    with monkeypatch.context() as patched:
        if ending == "before":  # the adoption has looked at the rows already
            keep = linked_file.LinkedFile.keep
            patched.setattr(linked_file.LinkedFile, "keep", lambda self: (end(), keep(self)))
        elif ending == "between":  # the adoption has committed, and its file is about to go
            remove = one_file._remove
            patched.setattr(one_file, "_remove", lambda *given: (end(), remove(*given)))
        counts = place.adopt().counts
    if ending == "behind":
        end()
    assert (counts, found) == ({"known": 1}, ["new"]) if ending == "before" else ({"new": 1}, ["duplicate"])
    only_one(place, item)
    assert place.adopt().counts == {"known": 1}
    only_one(place, item)


def test_half_an_object_of_a_reception_is_not_taken_in(place: AdoptingPlace) -> None:
    """Even one that looks old, and ends where an element does."""
    item = ct_slice(64)
    reception = place.door().reception
    ends = item.data.index(b"\xe0\x7f\x10\x00")
    file = reception.begin(object_of(item), item.data[:ends])
    for more in (item.data[ends : ends + 20], item.data[ends + 20 :]):
        place.old()
        [left] = place.adopt().left
        assert left.code in ("no-pixels", "truncated")
        assert place.rows() == []
        assert len(place.files()) == 1
        file.write(more)
    assert reception.complete(object_of(item), file) == "new"
    only_one(place, item)


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_the_bytes_that_came_last_stay_in_force(place: AdoptingPlace, small: int) -> None:
    first, second, third = (ct_slice(64, SOPInstanceUID="2.999.1", PatientName=f"N{n}") for n in range(3))
    place.receive(second)
    [row] = place.rows()
    came = row["received_at"]
    os.utime(place.spool.locate(row["path"]), (came + 1e6, came + 1e6))  # a restore has written it anew
    place.small = small
    older, newer = stray(place, first, "a", came - 100), stray(place, third, "b", came + 100)
    found = place.adopt(ASIDE)
    assert [(one.path, one.code) for one in found.left] == [("a", "older")]
    assert found.counts == {"version": 1}
    assert older.exists()
    assert not newer.exists()
    assert [bytes(row["digest"]) for row in place.rows()] == [sha256(x.data).digest() for x in (second, third)]
    again = place.adopt(ASIDE)
    assert ([one.code for one in again.left], again.counts) == (["older"], {})


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_two_contents_of_one_object_end_with_the_later(place: AdoptingPlace, names: tuple[str, str]) -> None:
    """Their names say nothing of which came first."""
    first, second = (ct_slice(64, SOPInstanceUID="2.999.1", PatientName=f"N{n}") for n in range(2))
    stray(place, first, names[0], time.time() - 200)
    stray(place, second, names[1], time.time() - 100)
    found = place.adopt(ASIDE)
    assert bytes(place.rows()[-1]["digest"]) == sha256(second.data).digest()
    assert [one.code for one in found.left] == (["older"] if names[0] == "b" else [])


def test_other_bytes_under_the_name_of_a_known_file_are_told(place: AdoptingPlace) -> None:
    """The row says what they were; the spool has lost them."""
    item = place.take(1)
    [row] = place.rows()
    own = place.spool.locate(row["path"])
    right = own.read_bytes()
    own.unlink()
    aside = stray(place, item, f"spool/{row['path']}", time.time() + 100)
    altered = bytearray(right)
    altered[-1] ^= 1
    aside.write_bytes(altered)
    found = place.adopt(ASIDE)
    assert [one.code for one in found.left] == ["altered"]
    assert len(place.rows()) == 1
    assert aside.read_bytes() == altered
    aside.write_bytes(right)
    assert place.adopt(ASIDE).counts == {"repaired": 1}
    assert len(place.rows()) == 1


def test_a_file_of_another_broker_is_told(place: AdoptingPlace) -> None:
    item = ct_slice(64)
    stray(place, item, "theirs", 1.0, to="BROKER2")
    found = place.adopt(ASIDE)
    assert [one.code for one in found.left] == ["other-broker"]
    assert "broker send" in found.left[0].text
    assert place.rows() == []
