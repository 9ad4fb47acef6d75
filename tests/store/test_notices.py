"""Rules tell nodes that they acted: one notice for each node, rule and study, written with the decision."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, delete, select
from sqlalchemy import update as changed
from support.delivery.receiving import STUDY, ReceptionPlace
from support.dicom.objects import ct_slice
from support.store.plans import counted_statements

from broker.dicom.dimse.message import PeerAE
from broker.routing.holding import Deciding
from broker.routing.reception import IncomingObject, Reception
from broker.store import notices
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.notices import NewNotice, RuleNotice
from broker.store.schema import tables
from broker.store.thinning import JOBS, NOTICES, thin

CT = {"field": "tag.Modality", "value": "CT"}
MR = {"field": "tag.Modality", "value": "MR"}
TELLS: dict[str, Any] = {"name": "tells", "when": CT, "notify": ["it-desk"]}
SENDS: dict[str, Any] = {"name": "sends", "when": CT, "send": ["pacs"], "notify": ["it-desk", "mail"]}
HOLDS: dict[str, Any] = {"name": "holds", "when": CT, "action": "hold", "notify": ["mail"]}
DROPS: dict[str, Any] = {"name": "drops", "when": CT, "action": "discard", "reason": "a test", "notify": ["mail"]}
BY_DESK, BY_MAIL = ("it-desk", "sends", "send"), ("mail", "sends", "send")


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "spool")
    yield made
    made.spool.close()


def told(place: ReceptionPlace) -> list[tuple[str, str, str, str]]:
    """Node, rule, what it did and study of each notice."""
    return [
        (row["node"], row["rule"], json.loads(row["detail"])["action"], row["study"])
        for row in place.read(select(tables.notice).order_by(tables.notice.c.node, tables.notice.c.rule))
    ]


def lanes(place: ReceptionPlace) -> list[str]:
    return sorted(lane for lane, _, _, _ in place.jobs() if lane.startswith("notify:"))


def notice(node: str = "it-desk", rule: str = "r", study: str = STUDY, at: float = 1.0, key: str = "k") -> NewNotice:
    what = RuleNotice(
        rule=rule, rules_version=1, action="send", destinations=("pacs",), level="instance", device="CT01",
        modality="CT", key=key,
    )  # fmt: skip
    return NewNotice(node, study, at, what)


@pytest.mark.parametrize(
    ("rules", "expected", "state"),
    [
        ([TELLS], [("it-desk", "tells", "notify")], "held"),
        ([TELLS, SENDS], [BY_DESK, ("it-desk", "tells", "notify"), BY_MAIL], "routed"),
        ([HOLDS, SENDS], [("mail", "holds", "hold")], "held"),
        ([DROPS], [("mail", "drops", "discard")], "discarded"),
        ([SENDS, DROPS], [BY_DESK, BY_MAIL], "routed"),
        ([{**TELLS, "when": MR}], [], "held"),
        ([{**SENDS, "enabled": False}], [], "held"),
    ],
    ids=["only notifies", "with a delivery", "a hold", "a discard", "a discard that does not act", "false", "off"],
)  # fmt: skip
def test_what_a_rule_does_is_told_once_for_a_study(
    place: ReceptionPlace, rules: list[dict[str, Any]], expected: list[tuple[str, str, str]], state: str
) -> None:
    place.in_force({"rule": rules}, 4)
    for number in range(1, 5):
        place.take(number)
    place.take(9, StudyInstanceUID="2.999.78")
    assert {row["state"] for row in place.rows()} == {state}
    assert told(place) == [(*one, study) for one in expected for study in (STUDY, "2.999.78")]
    assert lanes(place) == sorted(f"notify:{node}" for node, _, _ in expected for _ in range(2))


def test_a_rule_that_fails_tells_nobody(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.in_force({"rule": [TELLS, {"name": "later", "when": MR, "send": ["pacs"]}]}, 1)
    broken = place.rules.rules[1].when
    object.__setattr__(broken, "fits", lambda _: 1 / 0)
    place.take(1)
    assert [row["reason"] for row in place.rows()] == ["rule-error:ZeroDivisionError"]
    assert told(place) == []


def test_objects_after_the_first_cost_nothing(place: ReceptionPlace) -> None:
    """And a rule set without `notify` has no statement more than before there was such a thing."""

    def statements(rules: list[dict[str, Any]], first: int) -> list[int]:
        place.in_force({"rule": rules}, 1)
        reception = Reception(
            place.database, place.spool, lambda: place.rules, ZoneInfo("UTC"), place.wake, small=1 << 20
        )
        counts = []
        for number in range(first, first + 3):
            item = ct_slice(64, SOPInstanceUID=f"2.999.{number}", StudyInstanceUID=f"2.999.8{first}")
            arrival = IncomingObject(
                item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE("CT01", "B", "::1")
            )
            with counted_statements(place.database) as found:
                reception.whole(arrival, item.data)
            counts.append(len(found))
            assert any("notice" in text for text in found) == (number == first and "notify" in rules[0])
        return counts

    plain = statements([{"name": "sends", "when": CT, "send": ["pacs"]}], 100)
    assert statements([SENDS], 200)[1:] == plain[1:]


def test_an_object_without_a_study_is_a_study_of_its_own(place: ReceptionPlace) -> None:
    place.in_force({"rule": [TELLS]}, 1)
    place.take(1, StudyInstanceUID="")
    place.take(2, StudyInstanceUID="")
    assert [study for *_, study in told(place)] == ["2.999.1", "2.999.2"]


def test_whoever_comes_second_finds_the_notice(database: Database) -> None:
    """Eight transactions at once, as from several processes; and after a restart nothing is told again."""

    def write(number: int) -> int:
        return database.execute(notices.enqueue, [notice("mail"), notice(key=str(number)), notice()], 5.0)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(8))) == 2
    assert write(9) == 0
    jobs = database.read(lambda c: c.execute(select(tables.job.c.lane, tables.job.c.detail)).all()).result()
    assert sorted(lane for lane, _ in jobs) == ["notify:it-desk", "notify:mail"]
    assert all(STUDY not in detail for _, detail in jobs)


def test_a_decision_that_is_not_committed_tells_nobody(place: ReceptionPlace) -> None:
    def fails(connection: Connection) -> None:
        notices.enqueue(connection, [notice()], 5.0)
        raise KeyError

    with pytest.raises(KeyError):
        place.database.execute(fails)
    assert told(place) == []
    assert lanes(place) == []


def test_a_study_is_told_of_once_it_is_complete(place: ReceptionPlace) -> None:
    whole = {"name": "whole", "level": "study", "when": CT, "send": ["pacs"], "notify": ["mail"]}
    series = {"name": "series", "level": "series", "when": CT, "notify": ["it-desk"]}
    place.in_force({"rule": [whole, series]}, 3)
    for number in range(1, 40):
        place.take(number)
    assert told(place) == []
    place.walk(3600)
    assert told(place) == [("it-desk", "series", "notify", STUDY), ("mail", "whole", "send", STUDY)]
    row = place.read(select(tables.notice).where(tables.notice.c.node == "mail"))[0]
    assert json.loads(row["detail"])["level"] == "study"
    place.take(99)  # late
    place.walk(3600)
    assert len(told(place)) == 2
    assert {state for lane, _, state, _ in place.jobs()} == {"ready"}
    stored = place.database.read(notices.load, row["id"]).result()
    assert stored is not None
    assert (stored.objects, stored.order) == (40, 0)


def test_what_waits_is_judged_by_the_rules_of_today(place: ReceptionPlace) -> None:
    place.in_force({}, 1)
    place.take(1)
    place.in_force({"rule": [SENDS]}, 2)
    place.work.route([1], Deciding(actor="anna", at=7.0))
    assert told(place) == [("it-desk", "sends", "send", STUDY), ("mail", "sends", "send", STUDY)]


def test_notices_go_with_their_jobs(place: ReceptionPlace) -> None:
    place.in_force({"rule": [TELLS]}, 1)
    place.take(1)
    later = time.time() + 10
    pace = Pace(place.database)
    assert thin(pace, NOTICES, later) == 0  # its job is there
    assert len(place.database.read(notices.of_study, STUDY).result()) == 1
    place.database.execute(lambda c: c.execute(changed(tables.job).values(state="done", done_at=1.0)))
    assert place.database.read(notices.of_study, STUDY).result()[0].state == "done"
    assert thin(pace, JOBS, later) == 0  # SQLite would give the number of the last job again
    place.database.execute(lambda c: c.execute(delete(tables.job)))
    assert place.database.read(notices.of_study, STUDY).result()[0].state == ""
    assert thin(pace, NOTICES, later) == 1
    place.take(2)
    assert len(told(place)) == 1
