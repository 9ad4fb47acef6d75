"""What a trial, an explanation and a replay say of rules with levels is what the door does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.delivery.receiving import NODES, STUDY, ReceptionPlace
from support.service.rest import application, asking

from broker.admin.api.routing.rules_views import MOST_OBJECTS
from broker.routing.levels.study_facts import MOST_ORDERS
from broker.routing.levels.trying import try_study
from broker.routing.rules.evaluate import as_facts
from broker.routing.rules.parsing import parse_rules
from broker.settings import load
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CT, SR = ({"field": "tag.Modality", "value": value} for value in ("CT", "SR"))
TWO = {"field": "study.instances", "op": "ge", "value": 2}
NODE = [{"name": name, "kind": "dicom", "ae_title": name.upper(), "host": "127.0.0.1", "port": 104,
         "roles": ["destination"]} for name in ("pacs", "cad")]  # fmt: skip


@pytest.fixture
def place(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    monkeypatch.setenv("BROKER_SERVICE__DATA_DIR", str(tmp_path / "broker-data"))
    yield made
    made.spool.close()


def rule(name: str, when: dict[str, Any], *send: str, level: str = "study", **more: Any) -> dict[str, Any]:
    return {"name": name, "level": level, "when": when, "send": list(send)} | more


SCOUT = {"field": "tag.ImageType", "value": "LOCALIZER"}
SETS = {
    "plain": [rule("all", CT, "pacs", level="instance"), rule("two", TWO, "cad")],
    "both": [rule("series", {"field": "series.instances", "value": 1}, "cad", level="series"),
             rule("two", TWO, "pacs")],
    "stop": [rule("before", TWO, "cad"), rule("scout", SCOUT, "pacs", level="instance", then="stop"),
             rule("behind", SR, "pacs")],
    "hold": [rule("all", SR, "pacs", level="instance"), rule("no", CT, action="hold")],
    "held deliveries": [rule("wait", TWO, "cad", action="hold"), rule("stat", SR, "cad", priority="stat")],
    "discard": [rule("reports", SR, "pacs", level="instance"), rule("no", TWO, action="discard", reason="phantom")],
    "default": [rule("never", {"field": "study.series", "op": "gt", "value": 9}, "cad")],
    "error": [rule("age", {"field": "study.age", "op": "gt", "value": 1}, "pacs"),
              rule("order", {"field": "match.status", "value": "unmatched"}, "cad")],
}  # fmt: skip
IMAGES = (
    {"SeriesInstanceUID": "2.999.77.1", "ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"},
    {"SeriesInstanceUID": "2.999.77.2"},
    {"SeriesInstanceUID": "2.999.77.2", "Modality": "SR"},
)


@pytest.mark.parametrize("name", SETS)
def test_a_trial_of_a_study_is_what_the_door_does(place: ReceptionPlace, name: str) -> None:
    document = {"rule": SETS[name], "default": {"action": "send", "send": ["cad"]}}
    place.in_force(document, 1)
    for number, image in enumerate(IMAGES, 1):
        place.take(number, **image)
    objects = [dict(place.facts(number)) for number in range(1, 4)]
    place.walk(61)
    place.walk(240)
    done = [
        (row["state"], sorted((lane.partition(":")[2], state, level) for lane, subject, state, level in place.jobs()
                              if subject == row["id"]))
        for row in place.rows()
    ]  # fmt: skip
    with asking(application(place.database, load(None))) as http:
        assert http.post("/site", json={"node": NODE} | document).status_code == 201
        told = http.post("/rules/test/study", json={"objects": objects, "study": {"study.age": 300}}).json()
    states = {"send": "routed", "hold": "held", "discard": "discarded"}
    tried = [
        (states[one["action"]], sorted(
            (d["node"], "held" if d["held"] else "ready", d["priority"]) for d in one["deliveries"]
        ))
        for one in told["objects"]
    ]  # fmt: skip
    assert tried == done


def test_an_object_is_tried_by_its_own_rules(place: ReceptionPlace) -> None:
    with asking(application(place.database, load(None))) as http:
        assert http.post("/site", json={"node": NODE, "rule": SETS["plain"]}).status_code == 201
        told = http.post("/rules/test", json={"facts": {"tag.Modality": "CT"}}).json()
        assert (told["action"], told["waits"]) == ("send", ["study"])
        assert [entry["result"] for entry in told["trace"]] == ["true", "waits"]
        told = http.post("/rules/test", json={"facts": {"tag.Modality": "MR"}}).json()
        assert (told["action"], told["reason"]) == ("wait", "waits-for-study")
        assert http.post("/rules/test/study", json={"objects": []}).status_code == 422
        assert http.post("/rules/test/study", json={"objects": [{}] * (MOST_OBJECTS + 1)}).status_code == 422
        assert http.post("/rules/test/study", json={"objects": [{"tag.No": 1}]}).status_code == 422
        bad = {"facts": {}, "rule": [], "completion": {"study": {"quiet": 0}}}
        assert http.post("/rules/test", json=bad).status_code == 422


def test_an_explanation_tells_what_waits_and_how_it_was_judged(place: ReceptionPlace) -> None:
    with asking(application(place.database, load(None))) as http:
        assert http.post("/site", json={"node": NODE, "rule": SETS["plain"]}).status_code == 201
        place.in_force({"rule": SETS["plain"]}, 1)
        place.take(1)
        place.take(2)
        told = http.post("/rules/explain", json={"study": STUDY}).json()
        assert [(one["state"], one["reason"]) for one in told["decisions"]] == [("waiting", "waits-for-study")]
        (level,) = told["levels"]
        assert (level["level"], level["state"], level["waits"], level["objects"]) == ("study", "open", "quiet", 2)
        assert level["due_at"] == pytest.approx(level["last_at"] + 300)
        listed = http.get("/holds/objects?state=waiting").json()
        assert [(one["id"], one["cause"]) for one in listed] == [(1, "waits-for-study"), (2, "waits-for-study")]
        with asking(application(place.database, load(None)), base="http://broker") as pages:
            page = pages.get("/holds/objects?state=waiting").text
        assert page.count("it is judged") == 2
        shown = http.get("/holds/objects/1").json()
        assert (shown["today"], shown["today_to"]) == ("send", ["pacs"])
        place.walk(301)
        (level,) = http.post("/rules/explain", json={"study": STUDY}).json()["levels"]
        assert (level["state"], level["complete"], level["rules"], level["sent_to"]) == (
            "done",
            "quiet",
            ["two"],
            ["cad"],
        )
        (entry,) = level["trace"]
        assert entry["tests"][0]["seen"] == ["2.0"]


def replayed(place: ReceptionPlace, since: float, *rules: dict[str, Any], **more: Any) -> list[Any]:
    found = place.work.replay(parse_rules({"rule": list(rules)} | more, NODES), since)
    assert found.untold == 0
    return [(one.objects, one.before.to, one.after.to) for one in found.differences]


def test_a_replay_judges_whole_studies(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs", level="instance")]}, 1)
    place.take(1)
    place.take(2)
    place.take(3, StudyInstanceUID="2.999.78")
    all_to_pacs = rule("all", CT, "pacs", level="instance")
    assert replayed(place, 0, all_to_pacs, rule("two", TWO, "cad")) == [(2, ("pacs",), ("cad", "pacs"))]
    last = place.rows()[1]["received_at"]
    assert replayed(place, last, all_to_pacs, rule("two", TWO, "cad")) == [(1, ("pacs",), ("cad", "pacs"))]
    place.in_force({"rule": [rule("two", TWO, "cad")]}, 2)  # a draft without levels beside rules with one
    assert replayed(place, 0, all_to_pacs) == [(1, (), ("pacs",)), (2, ("cad",), ("pacs",))]
    assert replayed(place, 0, rule("two", TWO, "cad")) == []


def test_a_replay_knows_why_a_study_was_complete(place: ReceptionPlace) -> None:
    capped = {"field": "study.complete", "value": "cap"}
    document = {"rule": [rule("all", CT, "pacs")], "completion": {"required": [{"series": ["x"]}]}}
    place.in_force(document, 1)
    place.take(1)
    place.walk(30_000)
    assert replayed(place, 0, rule("cap", capped, "cad"), completion=document["completion"]) == [
        (1, ("pacs",), ("cad",))
    ]


def test_the_order_is_looked_up_for_the_study(place: ReceptionPlace) -> None:
    ruleset = parse_rules({"rule": [rule("unmatched", {"field": "match.status", "value": "unmatched"}, "cad")]}, NODES)
    asked: list[object] = []

    def order(facts: Any) -> Any:
        asked.append(facts)
        return {"match.status": ("unmatched",)}

    objects = [as_facts({"tag.Modality": "CT", "tag.StudyInstanceUID": STUDY})] * 3
    tried = try_study(ruleset, objects, order, {})
    assert [one.deliveries[0].node for one in tried.objects] == ["cad"] * 3
    assert len(asked) == 2  # once for the objects, once for the study


def test_objects_of_many_orders_hold_a_study_as_at_the_door(place: ReceptionPlace) -> None:
    document = {"rule": [rule("unmatched", {"field": "match.status", "value": "unmatched"}, "cad")]}
    place.in_force(document, 1)
    for number in range(1, MOST_ORDERS + 2):
        place.take(number, PatientID=f"P{number}")
    objects = [as_facts(place.facts(number)) for number in range(1, MOST_ORDERS + 2)]
    tried = try_study(place.rules, objects, lambda facts: {"match.status": ("unmatched",)}, {})
    place.walk(301)
    assert {(one.action.value, one.reason) for one in tried.objects} == {("hold", "rule-error:TooManyValues")}
    assert {(row["state"], row["reason"]) for row in place.rows()} == {("held", "rule-error:TooManyValues")}
