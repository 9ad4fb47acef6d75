"""Held objects and held jobs are one list: in order, page by page, by the same filters, done with together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update
from support.delivery.receiving import STUDY, ReceptionPlace
from support.orders.hospital import Hospital
from support.service.rest import application, asking

from broker.model.lane import JobState
from broker.settings import load
from broker.store import claims, jobs
from broker.store.db.database import Database
from broker.store.holds import waiting
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images.held_objects import ObjectFilter
from broker.store.jobs import NewJob
from broker.store.schema import tables

SEND = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}]}
HOLD = {"rule": [SEND["rule"][0] | {"action": "hold"}]}


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    """Objects 1 and 2 without a way, the delivery of 3 held by a rule, and news for a RIS that it refused."""
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    made.take(1, AccessionNumber="A1", PatientID="QZPAT1")
    made.take(2, AccessionNumber="a1", StudyInstanceUID="2.999.78")
    made.in_force(HOLD, 2)
    made.take(3, AccessionNumber="A1", StudyInstanceUID="2.999.79")

    def refused(connection: Connection) -> None:
        jobs.enqueue(connection, [NewJob(kind="feedback", lane="feedback:ris", subject=3, detail={})], 1.0)
        told = tables.job.c.lane == "feedback:ris"
        connection.execute(update(tables.job).where(told).values(state=JobState.HELD, last_error="AR"))

    database.execute(refused)
    yield made
    made.spool.close()


def found(place: ReceptionPlace, **filters: Any) -> list[str]:
    """What waits, by its number, in pages of one."""
    objects = {"reason" if name == "cause" else name: value for name, value in filters.items() if name != "node"}
    wanted = ObjectFilter(**objects) if "node" not in filters else ObjectFilter(senders=("CT01",))
    held = HeldFilter(**{"error" if name == "cause" else name: value for name, value in filters.items()})
    numbers: list[str] = []
    after: waiting.WaitingPlace | None = waiting.BEFORE_ALL
    while after is not None:
        page = place.database.read(waiting.find, wanted, held, after, 1).result()
        numbers += [one.number for one in page]
        after = waiting.place_of(page[-1].key) if page else None
    assert place.database.read(waiting.count, wanted, held, 100).result() == len(numbers)
    assert sum(map(len, place.database.read(waiting.rows, wanted, held, 100).result())) == len(numbers)
    return numbers


def test_all_that_waits_is_one_list(place: ReceptionPlace) -> None:
    ris, delivery = "2", "1"
    assert found(place) == [ris, "o1", "o2", delivery]
    assert found(place, study=STUDY) == ["o1"]
    assert found(place, study="2.999.79") == [delivery]
    assert found(place, accession="A1") == ["o1", delivery]  # another case is another number
    assert found(place, accession='A1"') == []
    assert found(place, cause="no-rule-matched") == ["o1", "o2"]
    assert found(place, device="CT01") == ["o1", "o2", delivery]
    assert found(place, node="pacs") == ["o1", "o2", delivery]
    assert found(place, before=2.0) == [ris]


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")  # SH has 16 characters; senders write more
def test_an_accession_number_is_found_as_the_object_wrote_it_also_without_a_study(place: ReceptionPlace) -> None:
    numbers = ["B 1", "Ä1%_", "B" * 70]
    for number, accession in enumerate(numbers, 90):
        study = "" if number == 90 else f"2.999.{number}"
        place.take(number, AccessionNumber=accession, StudyInstanceUID=study, Modality="MR")  # no rule takes it
    rows = [f"o{row['id']}" for row in place.rows() if row["sop_instance_uid"] in {"2.999.90", "2.999.91", "2.999.92"}]
    assert len(rows) == 3
    assert [found(place, accession=accession) for accession in numbers] == [[row] for row in rows]
    assert found(place, accession="B" * 64) == []  # so much of it is in the index


def test_an_object_is_of_the_order_that_has_its_study(database: Database, place: ReceptionPlace) -> None:
    hospital = Hospital(database)
    message = (
        "MSH|^~\\&|RIS|H|BROKER|RAD|20300101080000||OMI^O23^OMI_O23|M1|P|2.5.1\rPID|1||QZPAT1^^^H||X^Y||19700101|F\r"
        "PV1|1|O\rORC|NW|P1^RIS|F1^RIS||SC||||20300101080000\rTQ1|1||||||20300115090000||R\r"
        f"OBR|1|P1^RIS|F1^RIS|CT^CT^99\rIPC|ACC7|R1|{STUDY}|S1|CT|P^P^99|||CT01\r"
    )
    assert b"|AA|" in hospital.send(message.encode())
    assert found(place, accession="ACC7") == ["o1"]
    ((study, order),) = place.database.read(waiting.orders_of, [STUDY, "2.999.79"]).result().items()
    assert study == STUDY
    assert found(place, order=order) == ["o1"]
    assert found(place, order=order + 1) == []


@pytest.mark.parametrize("text", ["x", "1.0:2:3", "1:0", "1e9:0:1", "-1:0:1", "1:0:-1"])
def test_no_place(text: str) -> None:
    assert waiting.place_of(text) is None


def test_by_rest_they_are_listed_and_ended_by_filters(database: Database, place: ReceptionPlace) -> None:
    with asking(application(database, load(None))) as http:
        listed = http.get("/holds/all").json()
        assert [(one["number"], one["what"], one["can"]) for one in listed] == [
            ("2", "feedback", ["release", "discard"]), ("o1", "object", ["route", "send", "discard"]),
            ("o2", "object", ["route", "send", "discard"]), ("1", "deliver", ["release", "discard"]),
        ]  # fmt: skip
        assert (listed[1]["why"], listed[1]["patient"]) == ("no rule says where it goes", "QZPAT1")
        assert (listed[3]["study"], listed[3]["accession"], listed[3]["node"]) == ("2.999.79", "A1", "pacs")
        assert (http.get("/holds/all?after=x")).status_code == 422
        behind = (http.get("/holds/all", params={"after": listed[1]["place"], "limit": 1})).json()
        assert [one["number"] for one in behind] == ["o2"]
        bulk = partial(http.post, "/holds/release")
        body = {"matching": {"accession": "A1"}, "expected": 2}
        assert (bulk(json=body)).status_code == 409
        assert (bulk(json=body | {"expected": 1})).json() == {"jobs": 1}
        body = {"matching": {"node": "ris"}, "expected": 1, "reason": "the RIS has it"}
        assert (http.post("/holds/discard", json=body)).json() == {"jobs": 1}
        body = {"matching": {"accession": "A1", "device": "CT01"}, "expected": 1, "reason": "phantom"}
        assert (http.post("/holds/objects/discard", json=body)).json()["discarded"] == 1
        assert [one["number"] for one in http.get("/holds/all").json()] == ["o2"]
    assert {row[2] for row in place.jobs()} == {"ready", "discarded"}
    assert ("job.discarded", 2, {"reason": "the RIS has it"}) in place.audit()


def test_work_that_a_newer_version_has_made_is_listed_and_ends_as_any_other(
    database: Database, place: ReceptionPlace
) -> None:
    """Its lane is of a kind that is not known here: no view may fail by that."""
    later = "teleport:moon"
    new = [NewJob(kind="teleport", lane=later, subject=number, detail={}, held="dust" * held)
           for number, held in ((1, 1), (2, 1), (3, 0))]  # fmt: skip
    place.database.execute(jobs.enqueue, new, 1.0)
    same = tables.job.c.lane == "deliver:pacs"
    place.database.execute(lambda c: c.execute(update(tables.job).where(same).values(lane="beam:pacs")) and None)
    with asking(application(database, load(None))) as http:
        (_, lane, news) = http.get("/deliveries/summary").json()
        assert (lane["node"], news["node"], news["kind"], news["state"]) == ("ris", "moon", "teleport", "newer")
        assert news["advice"].startswith("A newer version of the broker")
        shown = [(one["number"], one["what"], one["node"]) for one in http.get("/holds/all").json()]
        assert shown[:3] == [("2", "feedback", "ris"), ("3", "teleport", "moon"), ("4", "teleport", "moon")]
        assert shown[-1] == ("1", "beam", "pacs")
        assert http.get("/holds", params={"lane": later}).json()[0]["lane"] == later
        assert [one["kind"] for one in http.get("/deliveries").json()] == ["teleport"]
        assert [one["node"] for one in http.get("/deliveries?state=held").json()] == ["pacs", "ris", "moon", "moon"]
        with asking(application(database, load(None)), base="http://broker") as pages:
            page = pages.get("/holds", headers={"Accept": "text/html"})
            assert (page.status_code, page.text.count("work of a newer version")) == (200, 3)
            assert pages.get("/", headers={"Accept": "text/html"}).status_code == 200
        told = http.post("/rules/explain", json={"study": "2.999.79"}).json()
        assert [one["node"] for one in told["deliveries"]] == ["pacs"]
        assert http.post("/deliveries/retry", json={"rows": [5]}).json()["endings"] == {"newer-version": 1}
        assert http.post("/holds/3/release").status_code == 204
        assert http.post("/holds/4/discard", json={"reason": "not here"}).status_code == 204
        assert http.get("/status").status_code == 200


def test_an_older_version_goes_over_a_newer_one_only_if_that_is_said(database: Database, place: ReceptionPlace) -> None:
    mine = tables.job.c.lane == "deliver:pacs"
    change = update(tables.job).where(mine).values(last_error=claims.SUPERSEDED)
    place.database.execute(lambda c: c.execute(change) and None)

    def state() -> list[str]:
        return [row[2] for row in place.jobs() if row[0] == "deliver:pacs"]

    with asking(application(database, load(None))) as http:
        assert http.get("/holds/all").json()[-1]["why"].endswith("released, it goes over that")
        refused = http.post("/holds/1/release")
        assert (refused.status_code, "--anyway" in refused.json()["detail"]) == (409, True)
        every = {"matching": {"cause": "newer-version-sent"}, "expected": 1}
        assert http.post("/holds/release", json=every).status_code == 409
        assert state() == ["held"]
        with asking(application(database, load(None)), base="http://broker") as pages:
            asked = pages.post("/holds/release", data={"row": "1"}, headers={"Accept": "text/html"})
            assert (asked.status_code, asked.text.count('name="anyway"')) == (409, 1)
            assert state() == ["held"]
            pages.post("/holds/release", data={"row": "1", "anyway": "yes"}, headers={"Accept": "text/html"})
        assert state() == ["ready"]
        place.database.execute(lambda c: c.execute(change.values(state=JobState.HELD)) and None)
        assert http.post("/holds/1/release", json={"anyway": True}).status_code == 204
        place.database.execute(lambda c: c.execute(change.values(state=JobState.HELD)) and None)
        assert http.post("/holds/release", json=every | {"anyway": True}).json() == {"jobs": 1}
    assert state() == ["ready"]
