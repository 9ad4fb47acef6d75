"""Orders over REST and by `broker import`, with the real binary; modalities see them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.orders.documents import order
from support.peers.tools import run
from support.service.site import Site

from broker.cli.asking import control
from broker.settings import load

TOKEN = "a-token-of-the-tests-0123456789"
ROWS = 1000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rest") / "site"
    with Site(folder, config={"web": {"port": 0, "admin_token": TOKEN}, "orders": {"temporary_issuer": "ER"}}) as one:
        yield one


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=site.web, headers=headers, timeout=60) as client:
        yield client


def worklist(site: Site, *keys: str) -> str:
    """What findscu prints of a query, answers in UTF-8."""
    arguments = [argument for key in keys for argument in ("-k", key)]
    command = ("-W", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom), *arguments)
    return run("findscu", *command).stdout


def imported(site: Site, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return site.command("import", *arguments)


def test_an_order_lives_over_http(site: Site, http: httpx.Client) -> None:
    created = http.post("/api/v1/orders", json=order(1), headers={"Idempotency-Key": "one"})
    assert created.status_code == 201
    body = created.json()
    assert (body["outcome"], body["warnings"]) == ("created", [])
    place = created.headers["Location"]
    again = http.post("/api/v1/orders", json=order(1), headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.json()["order"]) == (201, body["order"])
    assert http.post("/api/v1/orders", json=order(2), headers={"Idempotency-Key": "one"}).status_code == 409
    assert http.post("/api/v1/orders", json=order(1)).json()["outcome"] == "unchanged"
    assert "Müller^Käthe" in worklist(site, "AccessionNumber=A1", "PatientName", "SpecificCharacterSet=ISO_IR 192")

    read = http.get(place)
    assert read.headers["ETag"] == created.headers["ETag"]
    changed = read.json()
    changed["procedures"][0]["steps"][0]["ScheduledStationAETitle"] = ["CT07"]
    assert http.put(place, json=changed).status_code == 428
    done = http.put(place, json=changed, headers={"If-Match": read.headers["ETag"]})
    assert (done.status_code, done.json()["outcome"]) == (200, "updated")
    assert http.put(place, json=changed, headers={"If-Match": read.headers["ETag"]}).status_code == 412
    assert "CT07" in worklist(site, "AccessionNumber=A1", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle")

    found = http.post("/api/v1/orders/search", json={"PatientID": "QZPAT1"}).json()
    assert [one["id"] for one in found["orders"]] == [body["order"]["id"]]
    gone = http.delete(place)
    assert (gone.status_code, gone.json()["outcome"]) == (200, "canceled")
    assert "Müller" not in worklist(site, "AccessionNumber=A1", "PatientName", "SpecificCharacterSet=ISO_IR 192")
    step = changed["procedures"][0]["steps"][0]["ScheduledProcedureStepID"]
    again = http.post(f"{place}/reopen", json={"ScheduledProcedureStepID": step, "reason": "cancelled by mistake"})
    assert (again.status_code, again.json()["outcome"]) == (200, "reopened")
    assert [event["after"] for event in http.get(place).json()["procedures"][0]["steps"][0]["events"]] == [
        "SCHEDULED", "CANCELED", "SCHEDULED",
    ]  # fmt: skip
    assert http.get("/api/v1/orders/999999").status_code == 404
    assert http.get("/api/v1/orders/99999999999999999999").status_code == 422
    assert http.delete("/api/v1/orders/999999").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/orders", {"patient": {"PatientID": "canary" * 20, "canary": 1}}),
        ("/api/v1/orders", "canary"),
        ("/api/v1/orders/search", {"PatientID": ["canary"]}),
        ("/api/v1/orders/search", {"limit": "canary"}),
        ("/api/v1/orders/emergency", {"Modality": "canary", "RequestedProcedureDescription": 5}),
        ("/api/v1/orders/batch", {"orders": "canary"}),
        ("/api/v1/orders/1/reopen", {"ScheduledProcedureStepID": {}, "reason": "\x01canary"}),
    ],
)
def test_no_answer_repeats_a_value(path: str, body: Any, http: httpx.Client) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["errors"]
    assert "canary" not in json.dumps([error["text"] for error in problem["errors"]])
    assert not any("canarycanary" in error["path"] for error in problem["errors"])


def test_an_emergency_is_in_the_worklist_at_once(site: Site, http: httpx.Client) -> None:
    asked = {"Modality": "CT", "RequestedProcedureDescription": "polytrauma", "ScheduledStationAETitle": "CTER"}
    placed = http.post("/api/v1/orders/emergency", json=asked, headers={"Idempotency-Key": "e"})
    assert placed.status_code == 201
    patient = placed.json()["order"]["patient"]
    assert patient["IssuerOfPatientID"] == "ER"
    again = http.post("/api/v1/orders/emergency", json=asked, headers={"Idempotency-Key": "e"})
    assert again.json()["order"]["patient"] == patient
    shown = worklist(
        site,
        "PatientID",
        "RequestedProcedurePriority",
        "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CTER",
    )
    assert shown.count(patient["PatientID"]) == 1
    assert "STAT" in shown


def test_openapi_documents_what_there_is(http: httpx.Client) -> None:
    found = http.get("/api/docs").json()
    assert {"/api/v1/orders", "/api/v1/orders/{id}", "/api/v1/orders/search", "/api/v1/orders/emergency"} <= set(
        found["paths"]
    )
    assert set(found["paths"]["/api/v1/orders/{id}"]) == {"get", "put", "delete"}
    shown = found["components"]["schemas"]["OrderBody"]
    assert "PatientBirthDate" in shown["properties"]["patient"]["properties"]
    assert found["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def csv_of(count: int) -> str:
    lines = ["accession,patient_id,name,birth_date,Modality,station,date,time,description"]
    lines += [f"C{n},QZPAT{n},Müller^Käthe,1976-02-29,MR,MR99,2030-03-12,10:{n % 60:02},Knee" for n in range(count)]
    return "\n".join(lines)


def test_a_thousand_rows_go_into_the_running_broker(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(csv_of(ROWS) + "\nC5,QZPAT5,Müller^Käthe,1976-02-29,XX,,,,Knee\n,,,,,,,,x", encoding="utf-8")
    dry = imported(site, "--dry-run", file)
    assert dry.returncode == 1
    began = time.monotonic()
    done = imported(site, "--json", file)
    took = time.monotonic() - began
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["created"], summary["updated"], summary["unchanged"], summary["refused"]) == (ROWS - 1, 0, 0, 2)
    assert {failure["place"] for failure in summary["failures"]} == {"orders.csv rows 7, 1002", "orders.csv row 1003"}
    assert took < 30, f"{ROWS} rows took {took:.1f} s"
    file.write_text(csv_of(ROWS).replace("C7,QZPAT7,Müller", "C7,QZPAT7,Mueller"), encoding="utf-8")
    again = imported(site, "--json", file)
    assert again.returncode == 0
    counts = json.loads(again.stdout)
    assert (counts["created"], counts["updated"], counts["unchanged"]) == (1, 1, ROWS - 2)
    actors = {row[0] for row in site.rows("select actor from audit where action = 'order.created'")}
    assert any(actor.startswith("cli:") for actor in actors)
    shown = worklist(site, "AccessionNumber=C9", "PatientID")
    assert "QZPAT9" in shown
    answer = control.call(load(site.folder / "broker.toml"), "POST", "/api/v1/orders/search", {"AccessionNumber": "C9"})
    assert answer is not None
    assert len(answer.body["orders"]) == 1


def test_worklist_files_go_into_the_database_of_a_stopped_broker(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    files = tmp_path / "files"
    files.mkdir()
    for number in range(3):
        dump = files / f"{number}.dump"
        lines = [
            "(0008,0005) CS [ISO_IR 100]", f"(0008,0050) SH [W{number}]", "(0010,0010) PN [DOE^JANE]",
            f"(0010,0020) LO [QZPAT{number}]", f"(0020,000d) UI [2.999.8.{number}]", "(0032,1060) LO [Knee]",
            "(0040,0100) SQ", "(fffe,e000) -", "(0008,0060) CS [MR]", "(0040,0001) AE [MR01]",
            "(0040,0002) DA [20300312]", "(0040,0003) TM [1030]", "(fffe,e00d) -", "(fffe,e0dd) -",
        ]  # fmt: skip
        dump.write_text("\n".join(lines), encoding="latin-1")
        if number:
            assert run("dump2dcm", dump, dump.with_suffix(".wl")).returncode == 0
            dump.unlink()
    (files / "notes.txt").write_text("no orders", encoding="utf-8")
    done = imported(site, files)
    assert (done.returncode, done.stdout) == (0, "3 created\n"), done.stderr
    assert imported(site, files).stdout == "3 unchanged\n"
    (files / "bad.wl").write_bytes(b"x" * 500)
    bad = imported(site, files)
    assert bad.returncode == 1
    assert "bad.wl: cannot be read" in bad.stdout
    with site:
        shown = worklist(site, "AccessionNumber", "PatientName=DOE^JANE")
        assert {number for number in range(3) if f"[W{number}" in shown} == {0, 1, 2}
    assert imported(site, tmp_path / "files" / "notes.txt").returncode == 1
