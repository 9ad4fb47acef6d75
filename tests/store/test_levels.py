"""Rules of series and study level: objects wait, are judged together, and go on, on both databases."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select
from support.delivery.receiving import STUDY, ReceptionPlace
from support.mpps.mpps import add_mpps
from support.orders.intake import take
from support.service.site import order
from support.store.plans import counted_statements

from broker.model.performed import StepLink
from broker.mpps.recording import told
from broker.orders.core.context import StoryContext
from broker.routing.holding import Deciding, Ending
from broker.routing.levels import carrying_out
from broker.routing.levels.carrying_out import LEASE
from broker.routing.levels.judging import judge
from broker.store.db.database import Database
from broker.store.images import gatherings, instances
from broker.store.mpps import performed_steps
from broker.store.schema import tables

WHO = Deciding(actor="anna", at=1.0, reason="it is whole")
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


@pytest.mark.parametrize(("late", "to"), [("updates", ["pacs"]), ("all", ["cad", "pacs"])])
def test_bytes_that_come_again_after_a_purge_go_where_they_never_were(
    place: ReceptionPlace, late: str, to: list[str]
) -> None:
    place.in_force({"rule": [rule("all", CT, "cad")]}, 1)
    item = place.take(1)
    place.walk(301)
    finish(place)
    set_back(place, 1000)
    place.database.execute(instances.mark_purged, [1], time.time() + 1)
    completion = {"late": [{"to": ["cad"], "send": late}]}
    place.in_force({"rule": [rule("all", CT, "cad"), rule("more", CT, "pacs")], "completion": completion}, 2)
    place.receive(item)
    assert states(place) == [("purged", ""), ("waiting", "waits-for-study")]
    place.walk(301)
    assert (states(place)[1], [node for node, row in sent(place) if row == 2]) == (("routed", ""), to)


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


# --- what is expected --------------------------------------------------------------------------------------

BY_MPPS = {"study": {"expected": ["mpps"], "most": 5000}}


def performed(place: ReceptionPlace, status: str, *images: str, study: str = STUDY) -> None:
    """An MPPS of the study; it lists these objects."""
    document = {
        "PerformedProcedureStepStatus": status,
        "ScheduledStepAttributesSequence": [{"StudyInstanceUID": study}],
        "PerformedSeriesSequence": [
            {"SeriesInstanceUID": "2.999.9", "ReferencedImageSequence": [
                {"ReferencedSOPInstanceUID": uid} for uid in images
            ]}
        ],
    }  # fmt: skip

    def unit(connection: Connection) -> None:
        row = connection.execute(select(tables.mpps.c.id)).scalar()
        if row is None:
            row = add_mpps(connection, 1, status=status)
            link = StepLink(position=1, step=None, reason="unmatched", study_instance_uid=study)
            performed_steps.add_links(connection, row, [link])
        values = {"document": json.dumps(document), "status": status}
        connection.execute(tables.mpps.update().where(tables.mpps.c.id == row).values(values))
        step = performed_steps.load(connection, row)
        assert step is not None
        told(connection, step, [], "created", StoryContext(uuid4(), datetime.now(UTC), "NONE"))

    place.database.execute(unit)


def test_all_that_the_modality_lists_completes_a_study_at_once(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": BY_MPPS}, 1)
    performed(place, "IN PROGRESS")
    place.take(1)
    place.walk(400)
    assert (states(place)[0][0], place.gatherings()[""]["waits"]) == ("waiting", "mpps")
    performed(place, "COMPLETED", "2.999.1", "2.999.2")
    place.walk()
    assert place.gatherings()[""]["expected"] == 2
    place.passed = 0
    place.take(2)
    place.walk(1)
    assert states(place)[0][0] == "waiting"  # others may still be on their way
    place.walk(2)
    assert (states(place), place.gatherings()[""]["complete"]) == ([("routed", "")] * 2, "mpps")


def test_what_the_modality_lists_and_does_not_send_is_waited_for_until_the_cap(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": BY_MPPS}, 1)
    place.take(1)
    performed(place, "COMPLETED", "2.999.1", "2.999.2")
    place.walk(4000)
    assert states(place)[0][0] == "waiting"
    place.walk(1001)
    assert (states(place)[0][0], place.gatherings()[""]["complete"]) == ("routed", "cap")


def test_a_study_without_performed_steps_is_complete_by_its_quiet_time(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": BY_MPPS}, 1)
    place.take(1)
    place.walk(301)
    assert place.gatherings()[""]["complete"] == "quiet"


def test_an_open_step_of_the_order_keeps_a_study_waiting(place: ReceptionPlace) -> None:
    take(place.database, order(1).encode())
    completion = {"study": {"expected": ["order"], "most": 5000}}
    place.in_force({"rule": [rule("all", CT, "pacs")], "completion": completion}, 1)
    image = {"AccessionNumber": "A1", "PatientID": "QZPAT1", "StudyInstanceUID": "2.999.7.1"}
    place.take(1, **image)
    place.walk(301)
    assert (states(place)[0][0], place.gatherings()[""]["waits"]) == ("waiting", "order")
    step = tables.scheduled_step
    place.database.execute(lambda connection: connection.execute(step.update().values(status="COMPLETED")).rowcount)
    place.walk(301)
    assert (states(place)[0][0], place.gatherings()[""]["complete"]) == ("routed", "quiet")


# --- several processes, crashes, other rules ---------------------------------------------------------------


def test_one_of_two_processes_takes_what_is_due(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1)
    later = time.time() + 400
    taken = [place.database.execute(gatherings.take, later, later + LEASE) for _ in range(2)]
    assert [one is not None for one in taken] == [True, False]
    place.walk(400)  # the first one died
    assert states(place)[0][0] == "waiting"
    place.walk(LEASE + 1)
    assert (states(place)[0][0], sent(place)) == ("routed", [("pacs", 1)])


def test_what_arrives_while_a_study_is_judged_lets_it_be_judged_again(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1)
    now = time.time() + 400
    gathering = place.database.execute(gatherings.take, now, now + LEASE)
    assert gathering is not None
    place.take(2)
    place.passed = 400
    judge(place.level_work(), gathering)
    assert [state for state, _ in states(place)] == ["waiting"] * 2
    place.walk()
    assert sent(place) == [("pacs", 1), ("pacs", 2)]


@pytest.mark.parametrize("published", [False, True])
def test_a_crash_while_a_decision_is_carried_out_loses_and_doubles_nothing(
    place: ReceptionPlace, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    for number in range(1, 21):
        place.take(number)
    with monkeypatch.context() as broken:
        real = carrying_out.enqueue_deliveries

        def fails(connection: Connection, subject: int, *rest: Any) -> None:
            if subject == 18:
                raise RuntimeError("the process dies")
            real(connection, subject, *rest)

        broken.setattr(carrying_out, "enqueue_deliveries", fails)
        place.walk(301)
    row = place.gatherings()[""]
    assert (row["state"], row["applied_to"]) == ("judged", 16)
    assert len(sent(place)) == 16
    if published:
        place.in_force({"rule": [rule("all", CT, "cad")]}, 2)
    place.walk(LEASE + 1)
    place.walk()
    node = "cad" if published else "pacs"
    assert [one for one in sent(place) if one[1] > 16] == [(node, subject) for subject in range(17, 21)]
    assert {state for state, _ in states(place)} == {"routed"}
    assert place.gatherings()[""]["state"] == "done"


def test_a_series_that_was_not_carried_out_is_judged_again_before_its_study(
    place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [rule("series", CT, "cad", level="series"), rule("all", CT, "pacs")]
    place.in_force({"rule": rules}, 1)
    place.take(1)
    with monkeypatch.context() as broken:
        broken.setattr(carrying_out, "enqueue_deliveries", None)
        place.walk(61)
    assert (place.gatherings()["2.999.7.1.1"]["state"], sent(place)) == ("judged", [])
    place.in_force({"rule": rules}, 2)
    place.database.execute(gatherings.make_due, time.time() + 500)
    study = place.database.execute(gatherings.take_one, STUDY, "", time.time() + 600)
    assert study is not None
    place.passed = 400
    assert judge(place.level_work(), study)
    assert (states(place), sent(place)) == ([("routed", "")], [("cad", 1), ("pacs", 1)])


def test_objects_that_wait_are_judged_by_the_rules_in_force_then(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1, SliceThickness="1.25")
    place.take(2, SliceThickness="8")
    thin = {"field": "tag.SliceThickness", "op": "lt", "value": 5}
    place.in_force({"rule": [rule("thin", thin, "cad", level="instance")]}, 2)  # no level any more
    place.walk(301)
    assert (states(place), sent(place)) == ([("routed", ""), ("held", "no-rule-matched")], [("cad", 1)])


def test_facts_that_are_gone_hold_a_study(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1)
    place.in_force({"rule": [rule("thin", {"field": "tag.SliceThickness", "op": "missing"}, "cad")]}, 2)
    place.spool.locate(place.rows()[0]["path"]).unlink()
    place.walk(301)
    assert (states(place), sent(place)) == ([("held", "rule-error:FactsGone")], [])


def test_a_person_lets_a_study_go(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1)
    place.take(2)
    assert place.work.route([1], WHO) == {Ending.WAITING: 1}
    place.walk()
    assert (states(place), place.gatherings()[""]["complete"]) == ([("routed", "")] * 2, "person")


def test_objects_that_no_rule_matched_are_routed_by_a_study_rule_of_the_next_version(place: ReceptionPlace) -> None:
    place.take(1)
    place.take(2)
    place.in_force({"rule": [rule("large", LARGE, "pacs")]}, 2)
    assert place.work.route([1], WHO) == {Ending.WAITING: 1}
    place.walk()
    assert states(place) == [("routed", ""), ("held", "no-rule-matched")]
    assert place.work.route([2], WHO) == {Ending.WAITING: 1}
    place.walk()
    assert sent(place) == [("pacs", 1), ("pacs", 2)]


def test_a_person_sends_or_discards_what_waits(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", CT, "pacs")]}, 1)
    place.take(1)
    place.take(2)
    assert place.work.send([1], ["cad"], WHO) == {Ending.ROUTED: 1}
    assert place.work.discard([2], WHO) == {Ending.DISCARDED: 1}
    place.walk(301)
    assert (states(place), sent(place)) == (
        [("routed", ""), ("discarded", "discarded-by-person")], [("cad", 1)]
    )  # fmt: skip


# --- cost --------------------------------------------------------------------------------------------------


def statements(place: ReceptionPlace, count: int, study: str) -> tuple[int, int]:
    """How many statements the reception of so many objects takes, and how many the study's judgement."""
    with counted_statements(place.database) as received:
        for number in range(count):
            place.take(number + 1000 * count, StudyInstanceUID=study)
    with counted_statements(place.database) as judged:
        place.walk(301)
    place.passed = 0
    return len(received), len(judged)


def test_the_cost_of_a_study_is_linear(place: ReceptionPlace) -> None:
    place.in_force({"rule": [rule("all", LARGE, "pacs")]}, 1)
    few, many = statements(place, 50, "2.999.81"), statements(place, 400, "2.999.82")
    assert len(sent(place)) == 450
    for small, large in zip(few, many, strict=True):
        assert large <= 8 * small * 1.1
