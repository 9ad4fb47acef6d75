"""An arriving object becomes file, row and deliveries, or nothing at all; and what the sweeps may touch."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from support.dicom.objects import Encoded, ct_slice, encode
from support.store.spool import spool_files

from broker import faults
from broker.dicom import uids
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent, SpoolUnavailable, StoreUnavailable
from broker.model.lane import JobState
from broker.routing import reception as module
from broker.routing import recording, sweep
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.ruleset import RuleSet
from broker.routing.rules.tracing import trace
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import instances
from broker.store.images.instances import NewInstance
from broker.store.images.spool import Spool
from broker.store.schema import tables

ZONE = ZoneInfo("Europe/Zurich")
PEER = PeerAE("CT01", "BROKER", "10.0.0.9")
TO_PACS = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}]}
TO_BOTH = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs", "cad"]}]}
NOTHING: dict[str, Any] = {}
DISCARD = {"default": {"action": "discard"}}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database per kind for the whole module, emptied before each test."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('reception') / 'broker.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        server.psql("CREATE DATABASE reception;")
        url = server.get_uri(database="reception").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)
    yield database
    database.close()
    if request.param == "postgresql":
        server.psql("DROP DATABASE reception WITH (FORCE);")


class Place:
    """Database and spool, with receptions under different rules."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self.database = database
        self.spool = spool
        self.woken = 0
        self.receptions: list[Reception] = []

    def reception(self, document: dict[str, Any], version: int = 1) -> Reception:
        rules: RuleSet = parse_rules(document, {"pacs", "cad"}, version)
        made = Reception(self.database, self.spool, lambda: rules, ZONE, self._wake, small=0)
        self.receptions.append(made)
        return made

    def _wake(self) -> None:
        self.woken += 1

    def take(self, item: Encoded, document: dict[str, Any] | None = None) -> str:
        """Receive an object under these rules, by default those that send CT to the PACS."""
        return self.reception(TO_PACS if document is None else document).whole(arrival(item), item.data)

    def rows(self) -> list[Any]:
        return self._read(select(tables.instance).order_by(tables.instance.c.id))

    def jobs(self) -> list[tuple[str, int, str]]:
        found = self._read(select(tables.job).order_by(tables.job.c.id))
        return [(row["lane"], row["subject"], row["state"]) for row in found]

    def files(self) -> list[Path]:
        return spool_files(self.spool.root)

    def deliver(self, *, lane: str = "deliver:pacs") -> list[int]:
        """Do the due work of a lane; subjects."""
        found = self.database.submit(jobs.claim, lane, "test", time.time() + 1, 60.0, 64).result(10)
        for job in found:
            self.database.submit(jobs.finish, job, JobState.DONE, time.time()).result(10)
        return [job.subject for job in found]

    def purge(self) -> int:
        return sweep.purge_delivered(Pace(self.database), self.spool, -1)

    def _read(self, query: Any) -> list[Any]:
        return self.database.read(lambda connection: list(connection.execute(query).mappings())).result(10)


@pytest.fixture
def place(opened: Database, tmp_path: Path) -> Iterator[Place]:
    def empty(connection: Connection) -> None:
        for table in (tables.job, tables.content, tables.instance):
            connection.execute(delete(table))

    opened.submit(empty).result(10)
    made = Place(opened, Spool(tmp_path / "spool", ahead=0))
    yield made
    made.spool.close()


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "faults"
    file.touch()
    monkeypatch.setattr(faults, "_FILE", str(file))
    return file


def arrival(item: Encoded, **other: str) -> IncomingObject:
    values = {"sop_class": item.sop_class, "sop_instance": item.sop_instance, "transfer_syntax": item.transfer_syntax}
    return IncomingObject(**(values | other), peer=PEER)


def slice_of(uid: str = "2.999.1", **attributes: str) -> Encoded:
    return ct_slice(64, SOPInstanceUID=uid, **attributes)


# --- accepted --------------------------------------------------------------------------------------------


def test_a_new_object_is_file_row_and_delivery(place: Place) -> None:
    item = slice_of(StationName="CT-1")
    assert place.take(item, TO_BOTH) == "new"
    (row,) = place.rows()
    assert (row["sop_instance_uid"], row["version"], row["state"], row["reason"]) == ("2.999.1", 1, "routed", "")
    assert (row["calling_ae"], row["called_ae"], row["peer"]) == ("CT01", "BROKER", "10.0.0.9")
    assert row["rules_version"] == 1
    assert json.loads(row["trace"])[0].startswith("t")
    assert json.loads(row["facts"])["tag.StationName"] == ["CT-1"]
    raw = place.spool.locate(row["path"]).read_bytes()
    assert raw[row["data_offset"] :] == item.data
    assert raw[128:132] == b"DICM"
    assert not any(raw[:128])
    assert place.jobs() == [("deliver:pacs", row["id"], "ready"), ("deliver:cad", row["id"], "ready")]
    assert place.woken == 1


def test_an_object_in_pieces_is_the_same(place: Place) -> None:
    item = ct_slice(3000, SOPInstanceUID="2.999.1")
    reception = place.reception(TO_PACS)
    file = reception.begin(arrival(item), item.data[:10])
    for start in range(10, len(item.data), 999):
        file.write(item.data[start : start + 999])
    assert reception.complete(arrival(item), file) == "new"
    assert place.take(item) == "duplicate"
    assert len(place.files()) == 1


def test_the_same_bytes_again_are_no_new_work(place: Place) -> None:
    item = slice_of()
    assert [place.take(item), place.take(item)] == ["new", "duplicate"]
    assert len(place.rows()) == len(place.jobs()) == len(place.files()) == 1
    place.deliver()
    assert place.take(item) == "duplicate"
    assert [state for *_, state in place.jobs()] == ["done"]
    assert len(place.files()) == 1


def test_the_same_bytes_reach_a_destination_that_lacks_them(place: Place) -> None:
    item = slice_of()
    place.take(item)
    place.deliver()
    assert place.take(item, TO_BOTH) == "duplicate"
    (row,) = place.rows()
    assert place.jobs() == [("deliver:pacs", row["id"], "done"), ("deliver:cad", row["id"], "ready")]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_the_same_bytes_repair_a_file_that_was_lost(place: Place, damage: str) -> None:
    """A positive answer says that the bytes are here; and sending again is what a technologist can do."""
    item = slice_of()
    place.take(item)
    (file,) = place.files()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-2])
    (job,) = place.database.submit(jobs.claim, "deliver:pacs", "t", time.time() + 1, 60.0, 64).result(10)
    place.database.submit(jobs.finish, job, JobState.HELD, 1.0, f"file-{damage}".replace("cut", "damaged")).result(10)
    place.woken = 0
    assert place.take(item) == "repaired"
    (row,) = place.rows()
    raw = place.spool.locate(row["path"]).read_bytes()
    assert raw[row["data_offset"] :] == item.data
    assert place.jobs() == [("deliver:pacs", row["id"], "ready")]
    assert place.woken == 1
    assert place.take(item) == "duplicate"
    left = sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1)
    assert left == (0 if damage == "missing" else 1)


def test_a_repair_frees_no_job_that_was_held_for_another_reason(place: Place) -> None:
    item = slice_of()
    place.take(item)
    (job,) = place.database.submit(jobs.claim, "deliver:pacs", "t", time.time() + 1, 60.0, 64).result(10)
    place.database.submit(jobs.finish, job, JobState.HELD, 1.0, "status-C000").result(10)
    place.files()[0].unlink()
    assert place.take(item) == "repaired"
    assert [state for *_, state in place.jobs()] == ["held"]


def test_other_bytes_are_a_new_version_after_the_old_one(place: Place) -> None:
    first, second = slice_of(), slice_of()
    assert first.data != second.data
    assert [place.take(first), place.take(second)] == ["new", "version"]
    one, two = place.rows()
    assert [one["version"], two["version"]] == [1, 2]
    assert place.spool.locate(one["path"]).read_bytes().endswith(first.data)
    assert len(place.files()) == 2
    assert place.deliver() == [one["id"]]
    assert place.deliver() == [two["id"]]


def test_three_versions_go_out_in_order_even_if_the_first_is_under_way(place: Place) -> None:
    items = [slice_of() for _ in range(3)]
    place.take(items[0])
    (sending,) = place.database.submit(jobs.claim, "deliver:pacs", "t", time.time() + 1, 60.0, 64).result(10)
    assert [place.take(item) for item in items[1:]] == ["version", "version"]
    assert place.deliver() == []
    place.database.submit(jobs.finish, sending, JobState.DONE, 1.0).result(10)
    ids = [row["id"] for row in place.rows()]
    assert [place.deliver(), place.deliver()] == [[ids[1]], [ids[2]]]


def test_an_object_whose_row_is_thinned_while_it_comes_again_is_a_new_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the statement that adds it still sees the row, and the one after it no more."""
    monkeypatch.setattr(recording.instances, "add_first", lambda *_: None)
    item = slice_of()
    assert place.take(item) == "new"
    (row,) = place.rows()
    assert row["version"] == 1
    assert place.deliver() == [row["id"]]


def test_an_earlier_version_again_is_a_duplicate(place: Place) -> None:
    first, second = slice_of(), slice_of()
    place.take(first)
    place.take(second)
    assert place.take(first) == "duplicate"
    assert len(place.rows()) == 2


def test_many_arrivals_of_one_object_at_once_make_one_row(place: Place) -> None:
    item = slice_of()
    reception = place.reception(TO_PACS)
    with ThreadPoolExecutor(6) as pool:
        tries = [pool.submit(reception.whole, arrival(item), item.data) for _ in range(6)]
        wait(tries, 20)
    outcomes = sorted(future.result() for future in tries)
    assert outcomes == ["duplicate"] * 5 + ["new"]
    assert len(place.rows()) == len(place.jobs()) == len(place.files()) == 1


def test_different_bytes_at_once_are_different_versions(place: Place) -> None:
    items = [slice_of() for _ in range(3)]
    reception = place.reception(TO_PACS)
    with ThreadPoolExecutor(3) as pool:
        tries = [pool.submit(reception.whole, arrival(item), item.data) for item in items]
        wait(tries, 20)
    assert sorted(future.result() for future in tries) == ["new", "version", "version"]
    assert sorted(row["version"] for row in place.rows()) == [1, 2, 3]


# --- hold, discard, and what comes after -----------------------------------------------------------------


@pytest.mark.parametrize(("document", "state"), [(NOTHING, "held"), (DISCARD, "discarded")])
def test_an_object_without_destination_is_kept_and_visible(place: Place, document: dict[str, Any], state: str) -> None:
    assert place.take(slice_of(), document) == "new"
    (row,) = place.rows()
    assert (row["state"], row["reason"]) == (state, "no-rule-matched")
    assert place.jobs() == []
    assert len(place.files()) == 1
    assert place.woken == 0


@pytest.mark.parametrize("document", [NOTHING, DISCARD])
def test_what_was_held_or_discarded_is_routed_when_it_comes_again(place: Place, document: dict[str, Any]) -> None:
    item = slice_of()
    place.take(item, document)
    assert place.take(item, TO_PACS) == "duplicate"
    (row,) = place.rows()
    assert (row["state"], row["reason"]) == ("routed", "")
    again = trace(parse_rules(TO_PACS, {"pacs", "cad"}), json.loads(row["facts"]))
    assert [entry["result"][0] for entry in again] == [marks[0] for marks in json.loads(row["trace"])]
    assert place.jobs() == [("deliver:pacs", row["id"], "ready")]
    assert len(place.files()) == 1


def test_objects_of_one_second_are_each_decided_by_their_own_facts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[float] = []
    decide = module.decide

    def counted(rules: RuleSet, facts: Any) -> Any:
        judged.append(facts["tag.InstanceNumber"][0])
        return decide(rules, facts)

    monkeypatch.setattr(module, "decide", counted)
    monkeypatch.setattr(time, "time", lambda: 1_900_000_000.0)
    late = {"name": "late", "when": {"field": "tag.InstanceNumber", "op": "gt", "value": 2}, "send": ["pacs"]}
    reception = place.reception({"rule": [late]})
    for number in (1, 3, 2, 3, 1):
        item = slice_of(uid=f"2.999.{1 + len(place.rows())}", InstanceNumber=str(number))
        reception.whole(arrival(item), item.data)
    rows = place.rows()
    assert [json.loads(row["facts"])["tag.InstanceNumber"] for row in rows] == [[1.0], [3.0], [2.0], [3.0], [1.0]]
    assert [row["state"] for row in rows] == ["held", "routed", "held", "routed", "held"]
    assert [json.loads(row["trace"]) for row in rows] == [["ff"], ["tt"], ["ff"], ["tt"], ["ff"]]
    assert judged == [1.0, 3.0, 2.0]  # what was decided about is not evaluated again


def test_what_was_routed_stays_routed_under_stricter_rules(place: Place) -> None:
    item = slice_of()
    place.take(item)
    assert place.take(item, NOTHING) == "duplicate"
    assert place.rows()[0]["state"] == "routed"


def test_a_rule_that_fails_holds_the_object(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise LookupError

    monkeypatch.setattr("broker.routing.rules.evaluate.leaf_truth", broken)
    assert place.take(slice_of()) == "new"
    assert place.rows()[0]["reason"] == "rule-error:LookupError"
    assert place.rows()[0]["state"] == "held"


# --- refused and failed ----------------------------------------------------------------------------------


def refused(place: Place, item: Encoded, data: bytes, **other: str) -> str:
    with pytest.raises(BadContent) as caught:
        place.reception(TO_PACS).whole(arrival(item, **other), data)
    assert place.rows() == []
    assert place.jobs() == []
    assert place.files() == []
    return caught.value.code


def test_half_an_object_is_refused_and_leaves_nothing(place: Place) -> None:
    item = slice_of()
    assert refused(place, item, item.data[:-1]) == "truncated"
    assert refused(place, item, item.data[: len(item.data) // 2]) == "truncated"
    assert refused(place, item, b"") == "truncated"


def test_an_odd_number_of_bytes_is_refused(place: Place) -> None:
    """Receivers abort on the odd byte: an object that can be sent to nobody stays with its device."""
    item = slice_of()
    odd = item.data + bytes.fromhex("e07f1100") + b"OB\0\0" + (3).to_bytes(4, "little") + b"abc"
    assert refused(place, item, odd) == "odd-length"


def test_dm07_uids_that_differ_from_the_command_are_refused(place: Place) -> None:
    item = slice_of()
    assert refused(place, item, item.data, sop_instance="2.999.2") == "uid-mismatch"
    assert refused(place, item, item.data, sop_class=uids.VERIFICATION) == "uid-mismatch"


@pytest.mark.parametrize(
    "uid", ["../../etc/x", "/etc/x", "1.2." + "3" * 61, "", "1.02.3", "1", "1.2.", ".1.2", "1.2\0", "1.2 ", "1.2\n"]
)
def test_dm08_uids_that_cannot_be_are_refused(uid: str) -> None:
    good = slice_of()
    with pytest.raises(BadContent) as caught:
        arrival(good, sop_instance=uid).check()
    assert caught.value.code == "uid-invalid"


@pytest.mark.parametrize("point", ["spool.write", "spool.sync"])
def test_a_full_disk_leaves_no_file(place: Place, fault: Path, point: str) -> None:
    fault.write_text(f"{point} ENOSPC\n")
    with pytest.raises(SpoolUnavailable):
        place.take(slice_of())
    assert place.files() == []
    assert place.rows() == []
    fault.write_text("")
    assert place.take(slice_of()) == "new"


def test_a_commit_of_unknown_outcome_keeps_the_file(place: Place, fault: Path) -> None:
    """The row may be there: deleting the file under it would lose an object that counts as accepted."""
    item = slice_of()
    fault.write_text("store.committed EIO\n")
    with pytest.raises(StoreUnavailable):
        place.take(item)
    fault.write_text("")
    (row,) = place.rows()
    assert place.spool.locate(row["path"]).read_bytes().endswith(item.data)
    assert place.take(item) == "duplicate"
    assert len(place.files()) == 1


def test_a_commit_that_failed_leaves_a_file_for_the_sweep(place: Place, fault: Path) -> None:
    fault.write_text("store.commit ENOSPC\n")
    with pytest.raises(StoreUnavailable):
        place.take(slice_of())
    fault.write_text("")
    assert place.rows() == []
    assert len(place.files()) == 1
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 1
    assert place.files()[0].parent.name == "unclaimed"


def test_odd_text_is_stored_on_both_databases(place: Place) -> None:
    """PostgreSQL takes no NUL; a study UID with one must not make an object that can never be accepted."""
    data = slice_of().data.replace(b"2.999.7.1\0", b"2.99\0.7.1\0").replace(b"CANARY1 ", b"CAN\0RY\xff ")
    assert b"2.99\0" in data
    assert place.take(Encoded(slice_of().sop_class, "2.999.1", uids.EXPLICIT_LE, data)) == "new"
    (row,) = place.rows()
    assert "\0" not in row["study_instance_uid"] + row["facts"] + row["trace"]


def test_an_object_without_study_is_taken_and_routed(place: Place) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = uids.VERIFICATION, "2.999.5", "CT"
    assert place.take(encode(ds)) == "new"
    assert place.rows()[0]["study_instance_uid"] == ""


# --- purge -----------------------------------------------------------------------------------------------


def test_delivered_objects_are_purged_and_their_rows_stay(place: Place) -> None:
    place.take(slice_of())
    assert place.purge() == 0  # not delivered
    place.deliver()
    assert place.purge() == 1
    assert place.files() == []
    assert place.rows()[0]["state"] == "purged"
    assert place.purge() == 0


@pytest.mark.parametrize("document", [NOTHING, DISCARD])
def test_what_was_not_sent_is_never_purged(place: Place, document: dict[str, Any]) -> None:
    place.take(slice_of(), document)
    assert place.purge() == 0
    assert len(place.files()) == 1


def test_one_destination_that_waits_keeps_the_file(place: Place) -> None:
    place.take(slice_of(), TO_BOTH)
    place.deliver()
    assert place.purge() == 0
    place.deliver(lane="deliver:cad")
    assert place.purge() == 1


def test_objects_stay_for_days_after_their_delivery_not_their_arrival(place: Place) -> None:
    """A PACS that was away for a week got it a minute ago."""
    place.take(slice_of())
    place.deliver()
    week_ago = time.time() - 8 * 86_400
    place.database.submit(
        lambda connection: connection.execute(tables.instance.update().values(received_at=week_ago)) and None
    ).result(10)
    assert sweep.purge_delivered(Pace(place.database), place.spool, 7) == 0
    place.database.submit(
        lambda connection: connection.execute(tables.job.update().values(done_at=week_ago)) and None
    ).result(10)
    assert sweep.purge_delivered(Pace(place.database), place.spool, 7) == 1


def test_many_objects_are_purged_in_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)
    for number in range(5):
        place.take(slice_of(f"2.999.1.{number}"))
    place.deliver()
    assert place.purge() == 5
    assert place.files() == []


def test_a_purged_object_that_comes_again_is_a_duplicate(place: Place) -> None:
    item = slice_of()
    place.take(item)
    place.deliver()
    place.purge()
    assert place.take(item) == "duplicate"
    assert place.files() == []
    assert len(place.jobs()) == 1


def test_a_purged_object_reaches_a_destination_that_never_had_it(place: Place) -> None:
    item = slice_of()
    place.take(item)
    place.deliver()
    place.purge()
    assert place.take(item, TO_BOTH) == "new"  # known bytes: nothing to be alarmed about
    old, new = place.rows()
    assert (old["state"], new["state"]) == ("purged", "routed")
    assert place.jobs() == [("deliver:pacs", old["id"], "done"), ("deliver:cad", new["id"], "ready")]
    assert len(place.files()) == 1


def test_purged_other_bytes_do_not_count_as_had(place: Place) -> None:
    """CAD had version 1 only. Version 2 comes again after the purge: CAD lacks these bytes."""
    first, second = slice_of(), slice_of()
    place.take(first, TO_BOTH)
    place.deliver()
    place.deliver(lane="deliver:cad")
    place.take(second, TO_PACS)
    place.deliver()
    assert place.purge() == 2
    assert place.take(second, TO_BOTH) == "new"
    newest = place.rows()[-1]
    assert [(lane, state) for lane, subject, state in place.jobs() if subject == newest["id"]] == [
        ("deliver:cad", "ready")
    ]


def test_a_purge_does_not_take_the_file_from_work_that_came_meanwhile(place: Place) -> None:
    """Between looking and purging the same object was sent to one more destination."""
    item = slice_of()
    place.take(item)
    place.deliver()
    (candidate,) = place.database.read(instances.purgeable, time.time() + 86_400, (-1.0, 0), 10).result(10)
    assert candidate.delivered
    place.take(item, TO_BOTH)
    rows = [candidate.place[1]]
    gone = place.database.submit(instances.mark_purged, rows, time.time() + 86_400).result(10)
    assert gone == []
    assert place.rows()[0]["state"] == "routed"


# --- files without a row ---------------------------------------------------------------------------------

real_time = time.time


def test_files_without_a_row_are_set_aside_and_others_stay(place: Place) -> None:
    place.take(slice_of())
    orphan = place.spool.create(b"never promised")
    orphan.keep()
    orphan.close()
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=3600) == 0  # too young
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 1
    assert not orphan.path.exists()
    assert [path.read_bytes() for path in place.files() if path.parent.name == "unclaimed"] == [b"never promised"]
    assert place.spool.locate(place.rows()[0]["path"]).exists()
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 0


def test_a_file_is_as_old_as_the_disk_says_which_wrote_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine is ahead of a file server's: what is received just now must not look old."""
    receiving = place.spool.create(b"being received")
    monkeypatch.setattr(sweep.time, "time", lambda: real_time() + 86_400)
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=2) == 0
    receiving.keep()
    receiving.close()
    assert receiving.path.exists()


def test_files_of_held_and_purged_objects_are_claimed(place: Place) -> None:
    place.take(slice_of(), NOTHING)
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 0


def test_a_file_that_vanishes_under_the_sweep_harms_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reception that failed removes its file at the same moment."""
    for content in (b"a", b"b", b"c"):
        place.spool.create(content).close()
    real = instances.known_paths

    def and_vanish(connection: Connection, paths: Sequence[str]) -> set[str]:
        os.unlink(place.files()[0])
        return real(connection, paths)

    monkeypatch.setattr(sweep.instances, "known_paths", and_vanish)
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 2
    real_stat = Path.stat
    lost = threading.Event()

    def stat(path: Path, **more: Any) -> os.stat_result:
        if path.suffix == ".dcm" and path.parent.name != "unclaimed" and not lost.is_set():
            lost.set()
            os.unlink(path)
        return real_stat(path, **more)

    monkeypatch.setattr(sweep.instances, "known_paths", real)
    for content in (b"d", b"e"):
        place.spool.create(content).close()
    monkeypatch.setattr(Path, "stat", stat)
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 1


# --- warnings --------------------------------------------------------------------------------------------


def test_a_device_is_warned_of_once_in_the_interval(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    reception, now = place.reception(NOTHING), [1000.0]
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now[0])
    monkeypatch.setattr(module, "time", clock)

    def warnings_at(moment: float, peer: PeerAE = PEER) -> int:
        now[0] = moment
        item = slice_of(f"2.999.{moment:.0f}.{len(peer.calling_ae)}")
        incoming = IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, peer)
        with capture_logs() as logs:
            assert reception.whole(incoming, item.data) == "new"
        return sum(entry["event"] == "instance.held" for entry in logs)

    assert warnings_at(1000.0) == 1
    assert warnings_at(1000.0 + module.WARN_EVERY - 1) == 0
    assert warnings_at(1000.0 + module.WARN_EVERY - 1, PeerAE("OTHER1", "BROKER", "10.0.0.8")) == 1
    assert warnings_at(1000.0 + module.WARN_EVERY) == 1


def test_the_warnings_of_so_many_devices_are_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARNED_KEPT", 2)
    reception = place.reception(NOTHING)

    def warnings_of(device: str, number: int) -> int:
        item = slice_of(f"2.999.{number}")
        incoming = IncomingObject(
            item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE(device, "BROKER", "10.0.0.9")
        )
        with capture_logs() as logs:
            reception.whole(incoming, item.data)
        return sum(entry["event"] == "instance.held" for entry in logs)

    assert [warnings_of(device, number) for number, device in enumerate("ABAB", 1)] == [1, 1, 0, 0]
    assert [warnings_of(device, number) for number, device in enumerate("CA", 5)] == [1, 1]  # C makes A forgotten


# --- the transaction alone -------------------------------------------------------------------------------


def test_a_lost_race_is_looked_at_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on PostgreSQL: the other one inserted the same version a moment ago."""
    item = slice_of()
    place.take(item)
    real = instances.add_first
    blind = [True]

    def first_look_sees_nothing(connection: Connection, new: NewInstance) -> int | None:
        if blind:
            blind.clear()
            return instances.add(connection, new, 1)
        return real(connection, new)

    monkeypatch.setattr(instances, "add_first", first_look_sees_nothing)
    assert place.take(item) == "duplicate"
    assert not blind
    assert len(place.files()) == 1


@pytest.mark.parametrize(("losses", "outcome"), [(recording.ATTEMPTS - 1, "new"), (recording.ATTEMPTS, None)])
def test_a_race_is_lost_so_often_and_no_more(
    place: Place, monkeypatch: pytest.MonkeyPatch, losses: int, outcome: str | None
) -> None:
    """The file of an object whose race was lost for good stays for the sweep, and the sender keeps its copy."""
    real, left = instances.add_first, [None] * losses

    def others_are_faster(connection: Connection, new: NewInstance) -> int | None:
        if left:
            left.pop()
            raise IntegrityError("insert", {}, Exception("unique"))
        return real(connection, new)

    monkeypatch.setattr(instances, "add_first", others_are_faster)
    item = slice_of()
    if outcome is None:
        with pytest.raises(StoreUnavailable, match="too often at once"):
            place.take(item)
        assert (place.rows(), len(place.files())) == ([], 1)
    else:
        assert place.take(item) == outcome
    assert left == []


def test_names_below_the_spool_are_matched_literally(place: Place) -> None:
    values: dict[str, Any] = dict.fromkeys(NewInstance.__slots__, "")
    values |= {
        "data_offset": 1,
        "data_length": 1,
        "digest": b"",
        "received_at": 1.0,
        "rules_version": 1,
        "discarded_at": 0.0,
    }

    def add(connection: Connection) -> None:
        for number, path in enumerate(("20260312/10/a.dcm", "20260312/1_/b.dcm", "20260312/1%/c.dcm"), 1):
            instances.add(connection, NewInstance(**(values | {"path": path})), number)

    place.database.submit(add).result(10)
    for known, unknown in (("1_/b", "1%/b"), ("1%/c", "10/c"), ("10/a", "1_/a")):
        asked = [f"20260312/{name}.dcm" for name in (known, unknown, "")]
        assert place.database.read(instances.known_paths, asked).result(10) == {asked[0]}
