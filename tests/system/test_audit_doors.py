"""The audit trail of a real broker: each door leaves rows with who, from where and what; a repository gets them all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from support.audit.repository import AuditRepository, RepositoryThread
from support.audit.schema import checked
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.mpps.mpps import MPPS, creation, uid
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order
from support.worklist.worklist import dataset

MWL = "1.2.840.10008.5.1.4.31"
TOKEN = "a-token-of-the-tests-0123456789"
NODES = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[[node]]
name = "arr"
kind = "syslog"
host = "127.0.0.1"
port = {port}
roles = ["audit"]
"""


def ask(port: int, title: str) -> int:
    """One worklist query of a device; how many answers."""
    keys = Dataset()
    keys.PatientName = ""
    keys.PatientID = ""
    scu = AE(ae_title=title)
    scu.add_requested_context(MWL)
    association = scu.associate("127.0.0.1", port, ae_title="BROKER")
    if not association.is_established:
        return -1
    count = len([1 for _, found in association.send_c_find(keys, MWL) if found is not None])
    association.release()
    return count


@pytest.fixture(scope="module")
def repository() -> Iterator[AuditRepository]:
    with RepositoryThread() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repository: AuditRepository) -> Iterator[Site]:
    """A broker through whose doors somebody has gone, started again since: nothing may be lost at its stop."""
    config = {"web": {"admin_token": TOKEN}, "dicom": {"accept": "known"}}
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, site=NODES.format(port=repository.port), config=config) as running:
        wait_until(lambda: running.rows("SELECT 1 FROM audit_place"), 20, "the repository is known")
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        assert [ask(running.dicom, title) for title in ("CT01", "CT01", "CT01", "STRANGER")] == [1, 1, 1, -1]
        scu = AE(ae_title="CT01")
        scu.add_requested_context(MPPS)
        association = scu.associate("127.0.0.1", running.dicom, ae_title="BROKER")
        status, _ = association.send_n_create(dataset(creation(1)), MPPS, uid(1))
        assert status.Status in (0, 0x0107)
        association.release()
        for _ in range(3):
            item = ct_slice(1024)
            with RawScu(running.dicom) as modality:
                modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")
                assert modality.store(item) == 0
        with httpx.Client(base_url=running.web, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            assert http.get("/api/v1/orders/1").status_code == 200
            assert http.get("/api/v1/messages/1").status_code == 200
        assert running.command("messages", "show", "1").returncode == 0
        assert running.command("tokens", "add", "ris", "--role", "viewer").returncode == 0
        assert running.stop() == 0
        running.start()
        yield running


def rows(site: Site) -> list[tuple[Any, ...]]:
    return site.rows("SELECT actor, action, address, object_id, patient, detail FROM audit ORDER BY id")


def test_every_door_says_who_and_from_where(site: Site) -> None:
    found = {(actor.partition(":")[0], action, address) for actor, action, address, *_ in rows(site)}
    here = "127.0.0.1"
    assert found >= {
        ("broker", "service.started", ""),
        ("broker", "service.stopped", ""),
        ("hl7", "order.created", here),
        ("dicom", "worklist.queried", here),
        ("dicom", "device.refused", here),
        ("dicom", "mpps.create", here),
        ("dicom", "objects.received", here),
        ("api", "order.viewed", here),
        ("api", "message.viewed", here),
        ("cli", "message.viewed", "local"),
        ("cli", "token.made", "local"),
    }


def test_what_devices_do_often_is_counted(site: Site) -> None:
    queries = [row for row in rows(site) if row[1] == "worklist.queried"]
    assert [json.loads(row[5]).get("times") for row in queries] == [None, 2]
    assert {(row[0], row[3], row[4]) for row in queries} == {("dicom:CT01", 1, 1)}  # the one step that it showed
    assert json.loads(queries[0][5])["count"] == 1
    (received,) = [row for row in rows(site) if row[1] == "objects.received"]
    assert json.loads(received[5])["count"] == 3
    assert len([row for row in rows(site) if row[1] == "device.refused"]) == 1


def test_a_message_is_seen_for_its_patient(site: Site) -> None:
    assert {(row[3], row[4]) for row in rows(site) if row[1] == "message.viewed"} == {(1, 1)}


def test_the_repository_gets_all_of_it(site: Site, repository: AuditRepository) -> None:
    """A message may come twice: syslog has no answers, and the broker was stopped."""
    wanted = {"110100", "110104", "110109", "110110", "110111", "110112", "110113"}

    def codes() -> set[str | None]:
        found = [checked(message).find("EventIdentification/EventID") for message in list(repository.messages)]
        return {code.get("csd-code") for code in found if code is not None}

    wait_until(lambda: codes() >= wanted, 30, "a message of each event is there")
    assert len(set(repository.messages)) <= len(rows(site))


def test_commands_list_and_export(site: Site, tmp_path: Path) -> None:
    done = site.command("audit", "list", "--patient", "QZPAT1", "--issuer", "HOSPITAL", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["patient"] for row in found} == {1}
    assert "order.created" in {row["action"] for row in found}
    assert "worklist.queried" in site.command("audit", "list", "--person", "dicom:").stdout
    assert json.loads(site.command("audit", "list", "--person", "nobody", "--json").stdout) == []
    file = tmp_path / "audit.csv"
    done = site.command("audit", "export", "--object", "order:1", "-o", file)
    assert done.returncode == 0, done.stderr
    with file.open(newline="", encoding="utf-8") as opened:
        table = list(csv.DictReader(opened))
    assert {(row["kind"], row["object"]) for row in table} == {("order", "1")}
    wait_until(lambda: rows(site)[-1][1] == "audit.exported", 20, "the export is noted")
    assert json.loads(rows(site)[-1][5])["count"] == len(table)
    done = site.command("audit", "export", "--format", "jsonl", "--action", "token.made")
    assert [json.loads(line)["action"] for line in done.stdout.splitlines()] == ["token.made"]
    for wrong in (("--object", "order:x"), ("--issuer", "X"), ("--since", "yesterday")):
        assert site.command("audit", "list", *wrong).returncode == 2


def test_commands_work_while_no_broker_runs(site: Site) -> None:
    assert site.stop() == 0
    done = site.command("audit", "list", "--action", "token.made", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["action"] for row in json.loads(done.stdout)] == ["token.made"]
    done = site.command("audit", "export", "--format", "jsonl", "--action", "token.made")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    last = rows(site)[-2:]
    assert [(row[0].partition(":")[0], row[1], row[2]) for row in last] == [
        ("cli", "audit.listed", "local"), ("cli", "audit.exported", "local"),
    ]  # fmt: skip
    site.start()


def test_what_a_command_shows_without_a_broker_is_a_row_too(site: Site) -> None:
    assert site.stop() == 0
    before = len(rows(site))
    assert site.command("hl7", "replay", "--id", "1").returncode == 0
    assert site.command("worklist", "refused").returncode == 0
    fresh = [(row[0].partition(":")[0], row[1], row[2]) for row in rows(site)[before:]]
    assert fresh == [("cli", "message.replayed", "local"), ("cli", "import.listed", "local")]
    site.start()
