"""Studies by REST: found, counted by destination, explained, sent again and elsewhere. On both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.delivery.receiving import STUDY, ReceptionPlace
from support.service.rest import AppClient, application, asking

from broker.admin.api.studies.studies import UNKNOWN
from broker.settings import load
from broker.store.db.database import Database
from broker.store.schema import tables

TO_PACS = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}]}
WHY = {"reason": "the disk was lost"}
_t = tables.job


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    """Three objects of a study of P1 for pacs, of which one is done, one is held; one of another study."""
    made = ReceptionPlace(database, tmp_path / "spool")
    made.in_force(TO_PACS, 2)
    for number in (1, 2, 3):
        made.take(number, PatientID="P1", AccessionNumber="A77")
    made.take(4, StudyInstanceUID="2.999.78", PatientID="<script>", Modality="CT")
    for subject, values in (
        (1, {"state": "done", "last_error": "status-B000"}),
        (2, {"state": "held", "last_error": "status-C123"}),
        (4, {"state": "done"}),
    ):
        change(database, subject, **values)
    yield made
    made.spool.close()


@pytest.fixture
def http(database: Database, place: ReceptionPlace) -> Iterator[AppClient]:
    with asking(application(database, load(None))) as made:
        for name in ("pacs", "cad"):
            node = {"name": name, "kind": "dicom", "ae_title": name.upper(), "host": "192.0.2.1", "port": 104}
            added = made.post("/nodes/add", json={"node": node | {"roles": ["destination"]}, "reason": "new"})
            assert added.status_code == 201
        yield made


def change(database: Database, subject: int, **values: Any) -> None:
    database.execute(lambda c: c.execute(update(_t).where(_t.c.subject == subject).values(**values)))


def test_a_study_is_found_and_shown(http: AppClient) -> None:
    other, mine = http.get("/studies").json()["studies"]
    assert (other["patients"], other["complete"]) == (["<script>"], True)
    assert (mine["study"], mine["patients"], mine["accessions"], mine["devices"]) == (STUDY, ["P1"], ["A77"], ["CT01"])
    assert (mine["objects"], mine["states"], mine["complete"]) == (3, {"routed": 3}, False)
    (pacs,) = mine["destinations"]
    assert (pacs["node"], pacs["known"], pacs["paused"]) == ("pacs", True, False)
    assert pacs["states"] == {"warning": 1, "waiting": 1, "held": 1}
    assert {(one["state"], one["cause"]) for one in pacs["causes"]} == {
        ("warning", "status-B000"), ("held", "status-C123"),
    }  # fmt: skip
    for by in (STUDY, mine["id"]):
        told = http.get(f"/studies/{by}").json()
        assert {name: told[name] for name in mine} == mine
        assert [one["objects"] for one in told["series"]] == [3]
        assert [one["objects"] for one in told["decisions"]] == [3]

    def found(**body: Any) -> list[str]:
        return [one["study"] for one in http.post("/studies/find", json=body).json()["studies"]]

    assert found(patient="P1") == found(accession="A77") == found(incomplete=True) == found(study=STUDY) == [STUDY]
    assert found(patient="P1", node="cad") == found(modality="MR") == []
    first = http.post("/studies/find", json={"limit": 1}).json()
    assert http.get("/studies", params={"limit": 1, "after": first["after"]}).json()["studies"] == [mine]
    assert http.get("/studies", params={"incomplete": True, "node": "pacs"}).json()["studies"] == [mine]


def test_what_is_unknown_or_no_name_of_a_study_is_said(http: AppClient) -> None:
    for study in ("2.999.404", "4711", "9" * 40):
        assert (told := http.get(f"/studies/{study}")).status_code == 404
        assert UNKNOWN in told.text
        assert http.post(f"/studies/{study}/resend", json={"to": "pacs", **WHY}).status_code == 404
    for study in ("a", "1..2", "%3Cb%3E", "1" * 65):
        assert http.get(f"/studies/{study}").status_code in (404, 422)
    assert http.post("/studies/find", json={"patient": "\x00"}).status_code == 400
    for body in ({"patient": "\x1f"}, {"after": "x"}, {"limit": 0}, {"nobody": 1}, {"order": -1}):
        assert http.post("/studies/find", json=body).status_code == 422
    assert http.post("/studies/find", json={"patient": "'; drop table study; --"}).json()["studies"] == []


def test_a_study_is_sent_again(http: AppClient, place: ReceptionPlace) -> None:
    assert http.post(f"/studies/{STUDY}/resend", json={"to": "pacs"}).status_code == 422  # without a reason
    for gone in ("nowhere", "CT01"):
        assert http.post(f"/studies/{STUDY}/resend", json={"to": gone, **WHY}).status_code == 422
    done = http.post(f"/studies/{STUDY}/resend", json={"to": "pacs", **WHY}).json()
    assert done == {"endings": {"again": 2, "waits": 1}, "paused": False, "after": 0}
    assert http.post("/deliveries/nodes/cad/pause", json=WHY).status_code == 204
    done = http.post(f"/studies/{STUDY}/resend", json={"to": "cad", **WHY}).json()
    assert done == {"endings": {"again": 3}, "paused": True, "after": 0}
    told = {one["node"]: one for one in http.get(f"/studies/{STUDY}").json()["destinations"]}
    assert told["cad"]["states"] == told["pacs"]["states"] == {"waiting": 3}
    assert told["cad"]["paused"]
    assert [one[2]["to"] for one in place.audit() if one[0] == "study.sent-again"] == ["pacs", "cad"]


def test_what_waits_of_a_study_goes_elsewhere(http: AppClient) -> None:
    path = f"/studies/{STUDY}/reroute"
    assert http.post(path, json={"to": "nowhere", **WHY}).status_code == 422
    assert http.post(path, json={"to": "cad", "node": "archive", **WHY}).json()["endings"] == {}
    assert http.post(path, json={"to": "cad", "node": "pacs", **WHY}).json()["endings"] == {"rerouted": 2}
    told = {one["node"]: one["states"] for one in http.get(f"/studies/{STUDY}").json()["destinations"]}
    assert told == {"cad": {"waiting": 2}, "pacs": {"warning": 1, "elsewhere": 2}}


def test_a_destination_that_is_gone_still_shows_what_it_has(http: AppClient, database: Database) -> None:
    change(database, 4, lane="deliver:old")
    (one,) = http.post("/studies/find", json={"node": "old"}).json()["studies"]
    (old,) = one["destinations"]
    assert (old["known"], old["states"]) == (False, {"sent": 1})
