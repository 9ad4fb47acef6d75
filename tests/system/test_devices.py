"""Devices on the real binary: profiles on the wire, knocking and admission, and why a device shows an exam."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.orders.documents import order
from support.peers.tools import run, wait_until
from support.service.site import Site

TOKEN = "a-token-of-the-tests-0123456789"
SEQUENCE = "ScheduledProcedureStepSequence"
STEP = f"{SEQUENCE}[0]."
NODES = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[node.device]
charset = "ISO_IR 100"
max_lengths = { PatientName = 6 }
days_before = 1
labels = ["NORTH"]

[[node]]
name = "old ct"
kind = "dicom"
ae_title = "CT02"
roles = ["modality"]
[node.device]
charset = "ISO_IR 6"
station = "calling"
stations = ["CT01"]
max_answers = 2
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = {"web": {"port": 0, "admin_token": TOKEN}, "dicom": {"port": 0, "accept": "known"}}
    with Site(tmp_path_factory.mktemp("devices") / "site", site=NODES, config=config) as one:
        yield one


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=site.web, headers=headers, timeout=60) as client:
        for number, (step, label) in enumerate(
            [({}, None), ({"ScheduledStationAETitle": ["CT02"]}, None), ({}, "NORTH"), ({}, "SOUTH")], 1
        ):
            assert client.post("/api/v1/orders", json=order(number, step=step, WorklistLabel=label)).status_code == 201
        yield client


def ask(site: Site, calling: str, *keys: str) -> str:
    """What findscu prints of the answers."""
    arguments = [part for key in ("AccessionNumber", "PatientName", *keys) for part in ("-k", key)]
    command = ("-W", "-aet", calling, "-aec", "BROKER", "127.0.0.1", str(site.dicom), *arguments)
    return run("findscu", *command).stdout


def found(text: str) -> list[str]:
    """Accession numbers of the answers in what findscu printed (its own request has none)."""
    lines = [line for line in text.splitlines() if "AccessionNumber" in line and "[" in line]
    return [line.partition("[")[2].partition("]")[0] for line in lines]


def broker(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.command(*arguments)


def test_a_profile_on_the_wire(site: Site, http: httpx.Client) -> None:
    text = ask(site, "CT01", f"{STEP}ScheduledStationAETitle=CT01", f"{STEP}ScheduledProcedureStepStartDate=20300313")
    assert found(text) == ["A1", "A3"]  # the day before too; not the other site's
    assert "ISO_IR 100" in text
    assert "Käthe" not in text
    assert found(ask(site, "CT01", f"{STEP}ScheduledStationAETitle=CT01", "WorklistLabel=SOUTH")) == []

    text = ask(site, "CT02", f"{STEP}ScheduledStationAETitle=NONSENSE")
    assert found(text) == ["A1", "A3"]  # its own stations, two at most
    assert "status=A700" in site.logged()
    assert "[Muller^Kathe]" in text
    assert "SpecificCharacterSet" not in text


def test_an_unknown_device_knocks_is_admitted_and_works(site: Site, http: httpx.Client) -> None:
    for _ in range(2):
        assert "Reject" in ask(site, "US07", f"{STEP}Modality=CT")
    (knock,) = http.get("/api/v1/nodes/knocking").json()
    assert (knock["ae_title"], knock["address"], knock["count"]) == ("US07", "127.0.0.1", 2)
    assert (knock["sop_classes"], knock["wants"]) == (["1.2.840.10008.5.1.4.31"], ["worklist"])
    told = http.post("/api/v1/worklist/explain", json={"device": "US07", "AccessionNumber": "A1"}).json()
    assert "no node of the site and is refused: it called 2 times" in told["reason"]

    assert http.post("/api/v1/nodes/admit", json={"ae_title": "US07", "address": "nowhere"}).status_code == 422
    bad = http.post("/api/v1/nodes/admit", json={"ae_title": "US07", "address": "127.0.0.1", "name": "ct1"})
    assert (bad.status_code, "used twice" in bad.text) == (422, True)
    done = http.post("/api/v1/nodes/admit", json={"ae_title": "US07", "address": "127.0.0.1"})
    assert (done.status_code, done.json()["node"]["name"], done.json()["knocked"]) == (201, "us07", True)
    assert "A1" in found(ask(site, "US07", f"{STEP}Modality=CT"))  # its next association, no restart
    assert http.get("/api/v1/nodes/knocking").json() == []
    assert [one["name"] for one in http.get("/api/v1/nodes").json()] == ["ct1", "old ct", "us07"]
    again = broker(site, "nodes", "admit", "US07", "127.0.0.1")
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert httpx.get(f"{site.web}/api/v1/nodes").status_code == 401


def test_a_person_asks_why(site: Site, http: httpx.Client) -> None:
    ask(site, "CT01", f"{STEP}ScheduledStationAETitle=CT01", f"{STEP}ScheduledProcedureStepStartDate=20300312")
    shown = broker(site, "worklist", "explain", "--accession", "A1", "--device", "ct1")
    assert (shown.returncode, "the step is shown" in shown.stdout) == (0, True), shown.stderr
    other = broker(site, "worklist", "explain", "--accession", "A4", "--device", "CT01", "--json")
    body: dict[str, Any] = json.loads(other.stdout)
    assert (other.returncode, body["shown"], body["device"]["node"]) == (3, False, "ct1")
    assert "the order has the worklist label SOUTH, and the device sees NORTH" in body["reason"]
    (step,) = body["steps"]
    failed = [check["name"] for check in step["queries"][0]["checks"] if check["passed"] is False]
    assert failed == ["label"]
    assert "Müller" not in other.stdout

    url = f"/api/v1/worklist/explain?device=ct1&step={step['step']}"
    assert http.get(url).json()["reason"] == body["reason"]
    assert http.get(f"/api/v1/worklist/explain?device=ct1&order={step['order']}").json()["shown"] is False
    assert http.get("/api/v1/worklist/explain?device=ct1").status_code == 422
    nothing = http.post("/api/v1/worklist/explain", json={"device": "ct1", "AccessionNumber": "A99"}).json()
    assert nothing["reason"] == "no order has this accession number"
    both = http.post("/api/v1/worklist/explain", json={"device": "ct1", "AccessionNumber": "A1", "step": 1})
    assert both.status_code == 422


def test_what_a_device_sees_is_what_it_is_answered(site: Site, http: httpx.Client) -> None:
    """By REST, by command and by a C-FIND: with a profile, a day before, a limit, and after the exams have changed."""
    for device, calling, keys in (
        ("ct1", "CT01", (f"{STEP}ScheduledStationAETitle=CT01", f"{STEP}ScheduledProcedureStepStartDate=20300313")),
        ("ct1", "CT01", ("PatientID=QZPAT1", f"{STEP}Modality=CT")),
        ("old ct", "CT02", (f"{STEP}ScheduledStationAETitle=CT02",)),
    ):
        got = found(ask(site, calling, *keys))
        seen = http.post("/api/v1/worklist/ask", json={"device": device}).json()
        assert [exam["answer"]["AccessionNumber"] for exam in seen["exams"]] == got, seen
        assert (seen["which"], seen["count"]) == ("asked", len(got))
        assert (seen["query"]["status"], seen["query"]["count"]) == (seen["status"], len(got))
        returned = {"SpecificCharacterSet", "AccessionNumber", "PatientName", "PatientID", SEQUENCE}
        assert set(seen["exams"][0]["answer"]) <= returned
    assert (seen["status"], seen["count"]) == ("A700", 2)
    told = broker(site, "worklist", "show", "old ct", "--json")
    assert json.loads(told.stdout)["exams"] == seen["exams"]
    typed = broker(site, "worklist", "show", "ct1", "--date", "2030-03-12", "--station", "CT01")
    assert typed.returncode == 0, typed.stderr
    assert "2 answers, status 0000" in typed.stdout
    assert "0 unscheduled, 0 unassigned" in broker(site, "worklist", "unseen").stdout
    assert "4 planned on 2030-03-12" in broker(site, "worklist", "board", "--day", "2030-03-12").stdout
    assert broker(site, "worklist", "show", "ct1", "--date", "tomorrow").returncode == 1
    devices = {one["name"]: one["last"]["count"] for one in http.get("/api/v1/worklist/devices").json() if one["last"]}
    assert devices.items() >= {"old ct": 2}.items()


def test_what_was_asked_is_kept_without_patients(site: Site, http: httpx.Client) -> None:
    ask(site, "CT01", "PatientName=CANARY^PATIENT", "PatientID=QZPAT1", f"{STEP}Modality=CT")
    wait_until(
        lambda: site.rows("select count(*) from device_query where queries like '%PatientID%'") == [(1,)], 20, "kept"
    )
    (row,) = site.rows("select calls, queries from device_query where calling_ae = 'CT01'")
    assert "CANARY" not in row[1]
    assert "QZPAT" not in row[1]
    told = http.post("/api/v1/worklist/explain", json={"device": "ct1", "AccessionNumber": "A1"}).json()
    checks = {check["name"]: check["passed"] for check in told["steps"][0]["queries"][0]["checks"]}
    assert (checks["patient id"], checks["name"]) == (True, False)


def test_last_contacts_with_a_device_are_told(site: Site, http: httpx.Client) -> None:
    assert http.get("/api/v1/nodes/nobody").status_code == 404
    ask(site, "CT01")
    seen = http.get("/api/v1/nodes/ct1").json()
    kinds = {contact["kind"]: contact for contact in seen["contacts"]}
    assert {"association", "query"} <= set(kinds)
    assert seen["last_in"] == max(contact["at"] for contact in kinds.values() if contact["good"])
    assert seen["last_out"] is None


def test_who_was_admitted_is_so_after_a_restart(site: Site, http: httpx.Client) -> None:
    http.post("/api/v1/nodes/admit", json={"ae_title": "US07", "address": "127.0.0.1"})  # unless it is in already
    known = http.get("/api/v1/nodes/ct1").json()["contacts"]
    assert site.stop() == 0
    site.start()
    with httpx.Client(base_url=site.web, headers=http.headers, timeout=60) as again:
        assert again.get("/api/v1/nodes/ct1").json()["contacts"] == known
    assert "A1" in found(ask(site, "US07", f"{STEP}Modality=CT"))
    assert "US07" in broker(site, "nodes", "list").stdout
