"""Rules that test the order of an object: found by the keys of the image, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.delivery.receiving import NODES, ReceptionPlace
from support.orders.intake import take
from support.service.rest import application, asking
from support.service.site import order

from broker.orders.lookup.imaging import ImageMatch
from broker.routing.holding import Deciding, Ending
from broker.routing.rules.parsing import parse_rules
from broker.settings import load
from broker.store.db.database import Database

IMAGE = {"AccessionNumber": "A1", "PatientID": "QZPAT1", "IssuerOfPatientID": "HOSPITAL",
         "StudyInstanceUID": "2.999.7.1", "PatientName": "Müller^Käthe", "PatientBirthDate": "19760229",
         "PatientSex": "F", "SpecificCharacterSet": "ISO_IR 192"}  # fmt: skip
WHO = Deciding(actor="anna", at=1.0)


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    take(database, order(1).replace("R^Routine", "S^Stat").encode())
    made = ReceptionPlace(database, tmp_path / "spool")
    yield made
    made.spool.close()


def rule(*tests: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rule": [{"name": "r", "when": {"all": list(tests)}, "send": ["pacs"]} | more]}


def seen(place: ReceptionPlace, field: str, **image: str) -> tuple[str, list[str]]:
    """What a rule about a field sees of an image: the match, and the values."""
    place.in_force(rule({"field": field, "op": "exists"}, {"field": "match.status", "op": "exists"}), 1)
    number = len(place.rows()) + 1
    place.take(number, **IMAGE | image)
    facts = place.facts(number)
    return facts["match.status"][0], facts.get(field, [])


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("order.accession_number", ["A1"]), ("order.placer_order_number", ["PL1"]),
        ("order.filler_order_number", ["FI1"]), ("order.priority", ["STAT"]),
        ("order.procedure_code", ["THX"]), ("order.procedure", ["Thorax"]), ("order.modality", ["CT"]),
        ("order.station", ["CT01"]), ("order.status", ["SCHEDULED"]), ("order.requesting_service", []),
    ],
)  # fmt: skip
def test_facts_of_the_order(place: ReceptionPlace, field: str, values: list[str]) -> None:
    assert seen(place, field) == ("matched", values)


@pytest.mark.parametrize(
    ("image", "status"),
    [
        ({}, ImageMatch.MATCHED), ({"StudyInstanceUID": "2.999.8"}, "matched"), ({"AccessionNumber": "X"}, "matched"),
        ({"StudyInstanceUID": "2.999.8", "AccessionNumber": "X"}, "unmatched"),
        ({"PatientID": "OTHER"}, "demographics-differ"),
        ({"PatientName": "Roe^Jane", "PatientBirthDate": "19010101", "PatientSex": "M"}, "demographics-differ"),
        ({"PatientName": "MULLER^KATHE"}, "matched"), ({"PatientID": "", "AccessionNumber": ""}, "ambiguous"),
    ],
)  # fmt: skip
def test_how_sure_it_is(place: ReceptionPlace, image: dict[str, str], status: str) -> None:
    assert seen(place, "order.accession_number", **image)[0] == status


def test_a_study_of_several_steps_of_one_order_is_that_order(place: ReceptionPlace) -> None:
    lines = order(2).split("\r")
    second = [line.replace("SPS2", "SPS2B").replace("CT01", "CT02") for line in lines[-3:-1]]
    take(place.database, "\r".join([*lines[:-1], *second, ""]).encode())
    image = {"AccessionNumber": "A2", "PatientID": "QZPAT2", "StudyInstanceUID": "2.999.7.2"}
    assert seen(place, "order.station", **image) == ("matched", ["CT01", "CT02"])


def test_stat_goes_to_two_destinations_and_first(place: ReceptionPlace) -> None:
    place.in_force(rule({"field": "order.priority", "value": "STAT"}, send=["pacs", "cad"], priority="stat"), 1)
    place.take(1, **IMAGE)
    place.take(2, **IMAGE | {"AccessionNumber": "X", "StudyInstanceUID": "2.999.8"})
    assert place.jobs() == [("deliver:pacs", 1, "ready", 1), ("deliver:cad", 1, "ready", 1)]
    assert [row["state"] for row in place.rows()] == ["routed", "held"]


def test_images_that_came_before_their_order_are_routed_once_it_is_there(place: ReceptionPlace) -> None:
    place.in_force(rule({"field": "match.status", "value": "matched"}), 1)
    early = {"AccessionNumber": "A3", "PatientID": "QZPAT3", "StudyInstanceUID": "2.999.7.3"}
    place.take(1, **IMAGE | early)
    assert place.work.route([1], WHO) == {Ending.HELD: 1}
    take(place.database, order(3).encode())
    assert place.work.route([1], WHO) == {Ending.ROUTED: 1}


def test_nothing_is_looked_up_for_rules_that_do_not_ask(place: ReceptionPlace) -> None:
    place.in_force(rule({"field": "tag.Modality", "value": "CT"}), 1)
    place.take(1, **IMAGE)
    assert not [name for name in place.facts(1) if name.startswith(("order.", "match."))]


def test_a_trial_finds_the_order_as_the_door_does(place: ReceptionPlace) -> None:
    stat = rule({"field": "order.priority", "value": "STAT"})["rule"]
    nodes = [{"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104,
              "roles": ["destination"]}]  # fmt: skip
    facts = {f"tag.{keyword}": value for keyword, value in IMAGE.items() if keyword != "SpecificCharacterSet"}
    with asking(application(place.database, load(None))) as http:
        assert http.post("/site", json={"node": nodes, "rule": stat}).status_code == 201
        assert http.post("/rules/test", json={"facts": facts}).json()["action"] == "send"
        other = facts | {"order.priority": "ROUTINE"}  # what is given counts
        assert http.post("/rules/test", json={"facts": other}).json()["action"] == "hold"


def test_a_replay_claims_nothing_about_orders_that_nobody_asked_for(place: ReceptionPlace) -> None:
    place.in_force(rule({"field": "tag.Modality", "value": "CT"}), 1)
    place.take(1, **IMAGE)
    place.spool.locate(place.rows()[0]["path"]).unlink()
    draft = parse_rules(rule({"field": "order.priority", "op": "missing"}), NODES)
    assert place.work.replay(draft, 0).untold == 1
