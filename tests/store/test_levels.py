"""Rules of series and study level: objects wait, are judged together, and go on, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.delivery.receiving import ReceptionPlace

from broker.store.db.database import Database

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
