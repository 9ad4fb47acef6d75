"""Rules of series and study level: objects wait, are judged together, and go on, on both databases."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.delivery.receiving import ReceptionPlace

from broker.store.db.database import Database
from broker.store.schema import tables

CT = {"field": "tag.Modality", "value": "CT"}
LARGE = {"field": "study.instances", "op": "ge", "value": 2}


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "spool")
    yield made
    made.spool.close()


def rule(name: str, when: dict[str, Any], *send: str, level: str = "study", **more: Any) -> dict[str, Any]:
    return {"name": name, "level": level, "when": when, "send": list(send)} | more


def states(place: ReceptionPlace) -> list[tuple[str, str]]:
    return [(row["state"], row["reason"]) for row in place.rows()]


def sent(place: ReceptionPlace) -> list[tuple[str, int]]:
    return sorted((lane.partition(":")[2], subject) for lane, subject, _, _ in place.jobs())


def test_a_study_goes_once_it_is_quiet(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("large", LARGE, "cad"), rule("all", CT, "pacs", level="instance")]}, 1)
    place.take(1)
    place.take(2)
    assert states(place) == [("waiting", "waits-for-study")] * 2
    assert sent(place) == [("pacs", 1), ("pacs", 2)]
    place.walk(200)
    assert states(place) == [("waiting", "waits-for-study")] * 2
    place.walk(101)
    assert states(place) == [("routed", "")] * 2
    assert sent(place) == [("cad", 1), ("cad", 2), ("pacs", 1), ("pacs", 2)]
    row = place.gatherings()[""]
    assert (row["state"], row["complete"], row["rules_version"], json.loads(row["sent_to"])) == (
        "done",
        "quiet",
        1,
        ["cad"],
    )
    facts = json.loads(row["facts"])
    assert facts["study.instances"] == [2.0]
    assert facts["tag.Modality"] == ["CT"]
    assert 300 < facts["study.age"][0] < 400


def test_without_levels_nothing_is_gathered(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs", level="instance")]}, 1)
    place.take(1)
    assert (states(place), place.gatherings()) == ([("routed", "")], {})


def test_the_default_counts_once_all_levels_are_judged(place: ReceptionPlace) -> None:
    never = {"field": "study.instances", "op": "gt", "value": 99}
    place.in_force({"rule": [rule("never", never, "cad")], "default": {"action": "send", "send": ["pacs"]}}, 1)
    place.take(1)
    place.walk(301)
    assert (states(place), sent(place)) == ([("routed", "")], [("pacs", 1)])
    place.in_force({"rule": [rule("never", never, "cad")]}, 2)
    place.take(2, StudyInstanceUID="2.999.78")
    place.walk(301)
    assert states(place)[1] == ("held", "no-rule-matched")


def test_a_series_goes_before_its_study(place: ReceptionPlace) -> None:
    thin = {"field": "tag.SeriesDescription", "op": "contains", "value": "thin"}
    place.in_force({"rule": [rule("thin", thin, "cad", level="series"), rule("all", CT, "pacs")]}, 1)
    place.take(1, SeriesInstanceUID="2.999.77.1", SeriesDescription="thin lung")
    place.take(2, SeriesInstanceUID="2.999.77.2", SeriesDescription="scout")
    assert states(place) == [("waiting", "waits-for-series-and-study")] * 2
    place.walk(61)
    assert (states(place), sent(place)) == ([("waiting", "waits-for-study")] * 2, [("cad", 1)])
    facts = json.loads(place.gatherings()["2.999.77.1"]["facts"])
    assert [facts[name] for name in ("series.instances", "study.instances", "study.series")] == [[1.0], [2.0], [2.0]]
    place.walk(240)
    assert (states(place), sent(place)) == ([("routed", "")] * 2, [("cad", 1), ("pacs", 1), ("pacs", 2)])


def test_a_complete_study_completes_its_series(place: ReceptionPlace) -> None:
    document = {"rule": [rule("series", CT, "cad", level="series"), rule("all", CT, "pacs")]}
    place.in_force(document | {"completion": {"study": {"quiet": 10}}}, 1)
    place.take(1)
    place.walk(11)
    assert sent(place) == [("cad", 1), ("pacs", 1)]
    assert {row["complete"] for row in place.gatherings().values()} == {"quiet", "study"}


def test_a_rule_that_stops_keeps_an_object_from_the_rules_behind_it(place: ReceptionPlace) -> None:
    scout = {"field": "tag.ImageType", "value": "LOCALIZER"}
    place.in_force(
        {"rule": [rule("before", CT, "cad"), rule("scout", scout, "pacs", level="instance", then="stop"),
                  rule("behind", CT, "pacs")]}, 1,
    )  # fmt: skip
    place.take(1, ImageType="ORIGINAL\\PRIMARY\\AXIAL")
    place.take(2, ImageType="ORIGINAL\\PRIMARY\\LOCALIZER")
    assert sent(place) == [("pacs", 2)]
    place.walk(301)
    assert sent(place) == [("cad", 1), ("cad", 2), ("pacs", 1), ("pacs", 2)]
    place.in_force(
        {"rule": [rule("scout", scout, "pacs", level="instance", then="stop"), rule("behind", CT, "cad")]}, 2
    )
    place.take(3, ImageType="ORIGINAL\\PRIMARY\\LOCALIZER", StudyInstanceUID="2.999.78")
    assert states(place)[2] == ("routed", "")


@pytest.mark.parametrize(
    ("action", "first", "state"),
    [
        ("hold", False, ("held", "held-by-rule")), ("hold", True, ("held", "held-by-rule")),
        ("discard", False, ("discarded", "discarded-by-rule")), ("discard", True, ("routed", "")),
    ],
)  # fmt: skip
def test_a_study_is_held_or_discarded(place: ReceptionPlace, action: str, first: bool, state: tuple[str, str]) -> None:
    rules = [rule("it", CT, action=action, reason="phantoms")]
    if first:
        rules.insert(0, rule("sent", CT, "pacs", level="instance"))
    place.in_force({"rule": rules}, 1)
    place.take(1)
    place.walk(301)
    assert states(place) == [state]


@pytest.mark.parametrize(("at_most", "state"), [("judge", ("routed", "")), ("hold", ("held", "not-complete"))])
def test_the_cap_ends_the_wait_for_a_required_series(
    place: ReceptionPlace, at_most: str, state: tuple[str, str]
) -> None:
    completion = {
        "study": {"most": 1000, "at_most": at_most},
        "required": [{"modality": "CT", "study": "*head*", "series": ["*bone*"]}],
    }
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": completion}, 1)
    place.take(1, StudyDescription="CT Head", SeriesDescription="Soft tissue")
    place.walk(301)
    assert (states(place)[0][0], place.gatherings()[""]["waits"]) == ("waiting", "required")
    place.walk(700)
    assert states(place) == [state]
    assert place.gatherings()[""]["complete"] == "cap"


def test_a_required_series_that_comes_completes_the_study_after_its_quiet_time(place: ReceptionPlace) -> None:
    required = [{"modality": "CT", "series": ["*bone*"]}]
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": {"required": required}}, 1)
    place.take(1, SeriesDescription="Soft tissue")
    place.walk(301)
    place.passed = 0
    place.take(2, SeriesDescription="BONE 1.0")
    place.walk(301)
    assert (states(place), place.gatherings()[""]["complete"]) == ([("routed", "")] * 2, "quiet")


def test_objects_without_a_study_are_held(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1, StudyInstanceUID="")
    assert (states(place), place.gatherings()) == ([("held", "no-study")], {})


def test_items_of_all_objects_are_tested_each_for_itself(place: ReceptionPlace) -> None:
    from pydicom.dataset import Dataset

    def codes(value: str, scheme: str) -> Any:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = value, scheme
        return [item]

    both = {"item": "ProcedureCodeSequence", "all": [
        {"field": "tag.CodeValue", "value": "A"}, {"field": "tag.CodingSchemeDesignator", "value": "99B"},
    ]}  # fmt: skip
    place.in_force({"rule": [rule("mixed", both, "cad"), rule("all", CT, "pacs")]}, 1)
    place.take(1, ProcedureCodeSequence=codes("A", "99A"))
    place.take(2, ProcedureCodeSequence=codes("B", "99B"))
    place.walk(301)
    assert sent(place) == [("pacs", 1), ("pacs", 2)]
    place.take(3, StudyInstanceUID="2.999.78", ProcedureCodeSequence=codes("B", "99A"))
    place.take(4, StudyInstanceUID="2.999.78", ProcedureCodeSequence=codes("A", "99B"))
    place.walk(301)
    assert sent(place)[:2] == [("cad", 3), ("cad", 4)]


# --- late images -------------------------------------------------------------------------------------------


LATE = {
    "usual": ([], [("cad", 3), ("cad", 4)]),
    "all": ([{"to": ["cad"], "send": "all"}], [("cad", 1), ("cad", 2), ("cad", 3), ("cad", 4)]),
    "new": ([{"to": ["cad"], "send": "new"}], [("cad", 4)]),
    "never": ([{"to": ["cad"], "send": "never"}], []),
    "over": ([{"to": ["cad"], "send": "all", "until": 600}], []),
    "in time": ([{"to": ["cad"], "send": "all", "until": 7200}], [("cad", 1), ("cad", 2), ("cad", 3), ("cad", 4)]),
}


@pytest.mark.parametrize(("late", "again"), LATE.values(), ids=LATE)
def test_what_a_destination_gets_of_late_images(
    place: ReceptionPlace, late: list[dict[str, Any]], again: list[tuple[str, int]]
) -> None:
    place.in_force({"rule": [rule("all", CT, "cad")], "completion": {"late": late}}, 1)
    place.take(1)
    place.take(2)
    place.walk(301)
    finish(place)
    set_back(place, 1000)
    place.take(1, PatientComments="other bytes")
    place.take(3)
    place.walk(301)
    assert [(node, row) for node, row in sent(place) if (node, row) not in done(place)] == again
    kept = ("held", "came-late")
    wanted = {row for _, row in again}
    assert states(place)[2:] == [("routed", "") if row in wanted else kept for row in (3, 4)]


def finish(place: ReceptionPlace) -> None:
    """All that is due is delivered."""
    values = {"state": "done", "done_at": 1.0}
    place.database.execute(lambda connection: connection.execute(tables.job.update().values(values)).rowcount)


def done(place: ReceptionPlace) -> list[tuple[str, int]]:
    return [(lane.partition(":")[2], subject) for lane, subject, state, _ in place.jobs() if state == "done"]


def set_back(place: ReceptionPlace, seconds: float) -> None:
    """It was judged so many seconds ago, and the clock is right again."""
    place.passed = 0
    t = tables.gathering
    values = {"judged_at": time.time() - seconds, "first_at": t.c.first_at - seconds}
    place.database.execute(lambda connection: connection.execute(t.update().values(values)).rowcount)


def test_the_same_bytes_again_send_all_again_where_that_is_the_policy(place: ReceptionPlace) -> None:
    for version, late in ((1, []), (2, [{"to": ["cad"], "send": "all"}])):
        study = f"2.999.8{version}"
        place.in_force({"rule": [rule("all", CT, "cad")], "completion": {"late": late}}, version)
        item = place.take(10 * version, StudyInstanceUID=study)
        place.take(10 * version + 1, StudyInstanceUID=study)
        place.walk(301)
        finish(place)
        set_back(place, 1000)
        place.receive(item)
        place.walk(301)
        assert len(place.jobs()) - len(done(place)) == (2 if late else 0)
        place.passed = 0


def test_a_late_image_may_let_another_rule_match_for_all(place: ReceptionPlace) -> None:
    report = {"field": "tag.Modality", "value": "SR"}
    place.in_force({"rule": [rule("all", CT, "cad"), rule("reported", report, "pacs")]}, 1)
    place.take(1)
    place.walk(301)
    finish(place)
    set_back(place, 1000)
    place.take(2, Modality="SR")
    place.walk(301)
    assert [one for one in sent(place) if one not in done(place)] == [("cad", 2), ("pacs", 1), ("pacs", 2)]
