"""Objects that wait for a person are routed by today's rules, sent, discarded, and taken back, one by one or all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support.delivery.receiving import NODES, STUDY, ReceptionPlace
from support.service.rest import application, asking

from broker.errors import BadContent
from broker.model.lane import JobState
from broker.queue import holds
from broker.routing.held_work import OtherCount, ReplayBusy
from broker.routing.holding import Deciding, Ending
from broker.routing.rules.parsing import parse_rules
from broker.settings import load
from broker.store.db.database import Database
from broker.store.images import decisions, held_objects
from broker.store.images.held_objects import ObjectFilter
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

CT = {"field": "tag.Modality", "value": "CT"}
TO_PACS = {"rule": [{"name": "ct", "when": CT, "send": ["pacs"], "priority": "stat"}]}
LATER = {"rule": [{"name": "slices", "when": {"all": [
    {"field": "tag.SliceThickness", "op": "lt", "value": 5}, {"field": "assoc.calling_ae", "value": "CT01"},
    {"field": "time.window", "value": "Mon-Sun"},
]}, "send": ["cad"]}]}  # fmt: skip
WHO = Deciding(actor="anna", at=1.0, reason="the rule was wrong")


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    yield made
    made.spool.close()


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_what_no_rule_matched_goes_by_the_next_version(place: ReceptionPlace, small: int) -> None:
    place.take(1, small=small, SliceThickness="1.25")
    place.take(2, small=small, SliceThickness="8")
    place.in_force(LATER, 2)
    assert place.work.route([1, 2], WHO) == {Ending.ROUTED: 1, Ending.HELD: 1}
    first, second = place.rows()
    assert (first["state"], first["reason"], first["rules_version"]) == ("routed", "", 2)
    assert (second["state"], second["reason"], second["rules_version"]) == ("held", "no-rule-matched", 2)
    assert json.loads(first["facts"])["tag.SliceThickness"] == [1.25]  # no rule looked at it when it came
    assert place.jobs() == [("deliver:cad", 1, "ready", 5)]
    assert place.woken == 1
    (note, _) = place.audit()
    assert note == ("objects.rerouted", 1, {
        "reason": "the rule was wrong", "to": ["cad"], "rules": ["slices"], "rules_version": 2,
    })  # fmt: skip


def test_times_are_those_of_the_reception(place: ReceptionPlace) -> None:
    place.take(1)
    before = {"field": "time.local", "op": "lt", "value": "2000"}
    place.in_force({"rule": [{"name": "then", "when": before, "send": ["pacs"]}]}, 2)
    (judged,) = place.work.judge([1])
    assert judged.decision is not None
    assert judged.decision.action == "hold"
    assert json.loads(place.rows()[0]["facts"])["time.local"] == list(judged.facts["time.local"])


def test_a_trial_changes_nothing(place: ReceptionPlace) -> None:
    place.take(1)
    place.in_force(TO_PACS, 2)
    before = place.rows()
    (judged,) = place.work.judge([1])
    assert judged.decision is not None
    assert judged.decision.destinations == ("pacs",)
    assert (place.rows(), place.jobs(), place.audit()) == (before, [], [])


def test_objects_are_sent_to_chosen_nodes(place: ReceptionPlace) -> None:
    place.take(1)
    with pytest.raises(BadContent):
        place.work.send([1], ["nowhere"], WHO)
    assert place.work.send([1, 1, 99], ["cad", "pacs"], WHO) == {Ending.ROUTED: 1, Ending.CHANGED: 1}
    assert [job[:3] for job in place.jobs()] == [("deliver:cad", 1, "ready"), ("deliver:pacs", 1, "ready")]
    assert place.work.send([1], ["cad"], WHO) == {Ending.CHANGED: 1}  # somebody was faster


def test_a_discard_is_undone_and_what_was_discarded_is_routed(place: ReceptionPlace) -> None:
    place.take(1)
    assert place.work.undo([1], WHO) == {Ending.CHANGED: 1}
    assert place.work.discard([1], WHO) == {Ending.DISCARDED: 1}
    assert (place.rows()[0]["state"], place.rows()[0]["reason"]) == ("discarded", "discarded-by-person")
    assert place.work.undo([1], WHO) == {Ending.HELD: 1}
    assert (place.rows()[0]["state"], place.rows()[0]["reason"]) == ("held", "discard-undone")
    place.work.discard([1], WHO)
    place.in_force(TO_PACS, 2)
    assert place.work.route([1], WHO) == {Ending.ROUTED: 1}
    assert place.jobs() == [("deliver:pacs", 1, "ready", 1)]
    assert [note[0] for note in place.audit()] == [
        "objects.discarded", "objects.undiscarded", "objects.discarded", "objects.rerouted",
    ]  # fmt: skip


def test_a_rule_may_discard_what_was_held_and_hold_what_was_discarded(place: ReceptionPlace) -> None:
    place.take(1)
    place.in_force({"rule": [{"name": "no", "when": CT, "action": "discard", "reason": "phantoms"}]}, 2)
    assert place.work.route([1], WHO) == {Ending.DISCARDED: 1}
    assert place.rows()[0]["reason"] == "discarded-by-rule"
    place.in_force({"rule": [{"name": "look", "when": CT, "action": "hold"}]}, 3)
    assert place.work.route([1], WHO) == {Ending.HELD: 1}
    assert place.rows()[0]["reason"] == "held-by-rule"


def test_an_object_whose_bytes_are_gone_is_told(place: ReceptionPlace) -> None:
    place.take(1)
    place.spool.locate(place.rows()[0]["path"]).unlink()
    place.in_force(TO_PACS, 2)
    assert place.work.route([1], WHO) == {Ending.GONE: 1}
    assert place.rows()[0]["state"] == "held"


def test_a_resent_object_is_delivered_after_its_delivery_was_given_up(place: ReceptionPlace) -> None:
    """The same bytes again are answered 0000: that must not rest on a delivery that nobody makes."""
    place.in_force(TO_PACS, 2)
    item = place.take(1)
    (job,) = place.read(select(tables.job))
    place.database.execute(_hold, job["id"])
    place.database.execute(holds.discard, job["id"], "anna", "not wanted", 1.0)
    assert place.jobs() == [("deliver:pacs", 1, "discarded", 1)]
    place.receive(item)
    assert place.jobs() == [("deliver:pacs", 1, "ready", 1)]


def _hold(connection: Any, job: int) -> None:
    connection.execute(tables.job.update().where(tables.job.c.id == job).values(state=JobState.HELD))


def test_versions_of_an_object_are_delivered_in_their_order(place: ReceptionPlace) -> None:
    place.take(1)
    place.take(1)  # other bytes under the same UID
    place.in_force(TO_PACS, 2)
    assert place.work.route([2, 1], WHO) == {Ending.ROUTED: 2}
    found = sorted((row["id"], row["subject"], row["group_key"]) for row in place.read(select(tables.job)))
    assert [(subject, group) for _, subject, group in found] == [(1, "sop:1"), (2, "sop:1")]


def test_what_a_person_discarded_waits_again_when_it_comes_again(place: ReceptionPlace) -> None:
    item = place.take(1)
    place.work.discard([1], WHO)
    place.receive(item)
    assert (place.rows()[0]["state"], place.rows()[0]["reason"]) == ("held", "no-rule-matched")


def test_one_draft_is_replayed_at_a_time(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: object) -> None:
        place.work.replay(place.rules, 0)

    monkeypatch.setattr("broker.routing.held_work.replay", again)
    with pytest.raises(ReplayBusy):
        place.work.replay(place.rules, 0)


@pytest.mark.parametrize(
    "key", ["x", "1", "nan,1", "1e999,1", "1,", ",1", "-1,1", "1," + "9" * 30, "9" * 30 + ",1", "1,1,1"]
)
def test_a_place_that_is_none(key: str) -> None:
    assert held_objects.place_of(key) is None


def test_many_are_routed_by_one_decision(place: ReceptionPlace) -> None:
    for number in range(1, 251):
        place.take(number, small=1 << 20)
    place.in_force(TO_PACS, 2)
    wanted = ObjectFilter(reason="no-rule-matched", study=STUDY, device="CT01", before=time.time() + 1)
    with pytest.raises(OtherCount):
        place.work.rows(wanted, 249)
    assert place.work.route(place.work.rows(wanted, 250), WHO) == {Ending.ROUTED: 250}
    assert len(place.jobs()) == 250
    assert place.work.rows(wanted, 0) == []


def test_a_draft_says_what_it_would_change_and_does_just_that(place: ReceptionPlace) -> None:
    place.in_force(TO_PACS, 2)
    for number, thickness in ((1, "1.25"), (2, "8"), (3, "1.25")):
        place.take(number, SliceThickness=thickness, StudyInstanceUID=f"2.999.7{number % 2}")
    draft = parse_rules(TO_PACS | {"rule": [*TO_PACS["rule"], *LATER["rule"]]}, NODES)
    told = place.work.replay(draft, 0)
    assert (told.objects, told.same, told.untold, told.whole, told.more) == (3, 1, 0, True, 0)
    (one,) = told.differences
    assert (one.study, one.device, one.objects) == ("2.999.71", "CT01", 2)
    assert (one.before.to, one.after.to) == (("pacs",), ("cad", "pacs"))
    assert len(place.jobs()) == 3
    assert place.audit() == []
    assert place.work.replay(draft, time.time() + 1).objects == 0
    assert place.work.replay(place.rules, 0).differences == []
    before = {row["sop_instance_uid"] for row in place.rows()}
    place.rules = draft
    for number, thickness in ((11, "1.25"), (12, "8")):
        place.take(number, SliceThickness=thickness)
    lanes = {row["id"]: row["sop_instance_uid"] for row in place.rows() if row["sop_instance_uid"] not in before}
    assert [lane for lane, subject, *_ in place.jobs() if lanes.get(subject) == "2.999.11"] == [
        "deliver:pacs",
        "deliver:cad",
    ]
    assert [lane for lane, subject, *_ in place.jobs() if lanes.get(subject) == "2.999.12"] == ["deliver:pacs"]


def test_a_draft_is_tried_on_what_was_kept_where_the_bytes_are_gone(place: ReceptionPlace) -> None:
    place.in_force(TO_PACS, 2)
    place.take(1, StationName="CT-1")
    place.spool.locate(place.rows()[0]["path"]).unlink()
    known = parse_rules(
        {"rule": [{"name": "s", "when": {"field": "tag.StationName", "value": "CT-1"}, "send": ["cad"]}]}, NODES
    )
    assert place.work.replay(known, 0).differences[0].after.to == ("cad",)
    told = place.work.replay(parse_rules(LATER, NODES), 0)
    assert (told.objects, told.untold, told.differences) == (1, 1, [])


def test_a_replay_ends_in_time_and_says_so(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.routing.hindsight.replaying.PAGE", 1)
    monkeypatch.setattr("broker.routing.hindsight.replaying.MOST", 2)
    for number in range(1, 5):
        place.take(number)
    told = place.work.replay(parse_rules(TO_PACS, NODES), 0)
    assert (told.objects, told.whole) == (2, False)
    assert told.differences[0].objects == 2


def test_pages_of_the_list_hold_each_object_once(place: ReceptionPlace) -> None:
    for number in range(1, 8):
        place.take(number)
    seen: list[int] = []
    after = (-1.0, 0)
    while found := place.database.read(held_objects.find, ObjectFilter(), after, 3).result():
        seen += [one.id for one in found]
        after = found[-1].place
    assert seen == list(range(1, 8))
    assert place.database.read(held_objects.count, ObjectFilter(), 5).result() == 5
    other = ObjectFilter(state=InstanceState.DISCARDED)
    assert place.database.read(held_objects.find, other, (-1.0, 0), 9).result() == []


def test_rest_lists_shows_routes_and_undoes(
    place: ReceptionPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.take(1, PatientName="Canary^Carl")
    place.take(2)
    monkeypatch.setenv("BROKER_SERVICE__DATA_DIR", str(tmp_path / "broker-data"))
    with asking(application(place.database, load(None))) as http:
        listed = http.get("/holds/objects?cause=no-rule-matched").json()
        assert [(one["id"], one["device"], one["modality"]) for one in listed] == [(1, "CT01", "CT"), (2, "CT01", "CT")]
        assert "Canary" not in str(listed)
        more = http.get(f"/holds/objects?after={listed[0]['received_at']!r},1").json()
        assert [one["id"] for one in more] == [2]
        assert http.get("/holds/objects?after=x").status_code == 422
        shown = http.get("/holds/objects/1").json()
        assert (shown["today"], shown["facts"]["tag.Modality"]) == ("hold", ["CT"])
        nodes = [{"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104,
                  "roles": ["destination"]}]  # fmt: skip
        assert http.post("/site", json={"node": nodes, **TO_PACS}).status_code == 201
        shown = http.get("/holds/objects/1").json()
        assert (shown["today"], shown["today_to"], shown["today_trace"][0]["result"]) == ("send", ["pacs"], "true")
        matching = {"matching": {"study": STUDY}, "expected": 3, "reason": "rule added"}
        assert http.post("/holds/objects/route", json=matching).status_code == 409
        done = http.post("/holds/objects/route", json=matching | {"expected": 2}).json()
        assert done["routed"] == 2
        assert http.get("/holds/objects/1").status_code == 404
        assert place.database.read(decisions.deliveries, STUDY).result() == [("deliver:pacs", "ready", 2)]
        told = http.post("/rules/explain", json={"study": STUDY}).json()
        assert [(one["objects"], one["state"], one["rules"]) for one in told["decisions"]] == [(2, "routed", ["ct"])]
        assert told["deliveries"] == [{"node": "pacs", "state": "ready", "objects": 2}]
        wrong = {"rows": [1], "to": ["nowhere"], "reason": "try"}
        assert http.post("/holds/objects/send", json=wrong).status_code == 422
        replayed = http.post("/rules/replay", json={"since": 0, "rule": [], "default": {"action": "hold"}}).json()
        assert [(one["objects"], one["before"]["to"], one["after"]) for one in replayed["differences"]] == [
            (2, ["pacs"], {"action": "hold", "to": [], "notify": []})
        ]
        facts = {"facts": {"tag.Modality": "CT"}}
        assert http.post("/rules/test", json=facts).json()["deliveries"] == [
            {"node": "pacs", "priority": 1, "held": False}
        ]
        draft = facts | {"rule": [{"name": "x", "when": CT, "action": "hold"}]}
        assert http.post("/rules/test", json=draft).json()["action"] == "hold"
        assert http.post("/rules/test", json={"facts": {"tag.Nonsense": 1}}).status_code == 422
        assert http.post("/rules/test", json=facts | {"rule": [{"name": "x"}]}).status_code == 422
