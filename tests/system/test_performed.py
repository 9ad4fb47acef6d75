"""What becomes of performed steps beyond the door: passed on through SIGKILL, and steps that end by their images."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydicom.uid import UID
from pynetdicom import AE
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, ris_node
from support.mpps.mpps import EXPLICIT, MPPS, Manager, Taken, creation, ending, mpps_scp, uid
from support.peers.tools import free_port, run, wait_until
from support.service.site import Mllp, Site, order
from support.worklist.worklist import dataset

from broker.store.db.database import Database


def mpps_node(port: int) -> str:
    return (
        '[[node]]\nname = "manager"\nkind = "dicom"\nae_title = "RIS"\nhost = "127.0.0.1"\n'
        f'port = {port}\nroles = ["mpps"]\n'
    )


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("mpps.sent kill", ["status-0111", ""]),  # the answer to the N-CREATE was not recorded
        ("mpps.sent kill:2", ["", "status-0110-A710"]),  # that to the N-SET
    ],
)
def test_sigkill_loses_nothing_of_what_is_passed_on(tmp_path: Path, fault: str, expected: list[str]) -> None:
    port, manager = free_port(), Manager()
    site = Site(tmp_path, site=mpps_node(port))
    site.data.mkdir()
    database = Database(f"sqlite:///{site.data / 'broker.db'}")
    taken = Taken(database, ("manager",))
    sent = [taken.create(), taken.set()]
    database.close()
    with site:
        wait_until(lambda: "lane.broken" in site.logged(), 20, "the manager is away")
        site.faults.write_text(f"{fault}\n", encoding="ascii")
        with mpps_scp(manager, port=port) as scp:
            assert site.process is not None
            assert site.process.wait(20) == -9
            site.faults.write_text("", encoding="ascii")
            site.start()
            query = "SELECT state, last_error FROM job ORDER BY id"
            wait_until(lambda: {state for state, _ in site.rows(query)} == {"done"}, 20, "all is passed on")
            assert [error for _, error in site.rows(query)] == expected
            assert manager.status == {uid(1): "COMPLETED"}
            assert list(dict.fromkeys(heard.data for heard in scp.heard)) == sent
        node = site.asked("/api/v1/status").json()["nodes"][0]
        assert (node["name"], node["state"]) == ("manager", "well")
        assert "passed on" in node["contacts"]  # and perhaps "failed", of when the manager was away


def test_images_alone_end_a_step_and_the_ris_hears_of_it(tmp_path: Path) -> None:
    start = datetime.now(ZoneInfo("Europe/Zurich")) - timedelta(minutes=5)
    config: dict[str, dict[str, Any]] = {"worklist": {"closing_every": 0.2}}
    device = (
        '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
        '[node.device.closing]\nby = ["images"]\nimages_minimum = 2\nimages_quiet = 1\n'
    )
    with Ris() as ris, Site(tmp_path, site=ris_node(ris.port) + device, config=config) as site:
        with Mllp(site.hl7) as sender:
            for number in (1, 2):  # the second is examined by nobody
                message = order(number, start=start.strftime("%Y%m%d%H%M%S"))
                assert sender.exchange(message)["MSA"][0][1] == "AA"
        assert sorted(worklist(site)) == ["A1", "A2"]
        with RawScu(site.dicom) as modality:
            things = [ct_slice(1024), ct_slice(1024)]
            assert modality.associate([(things[0].sop_class, things[0].transfer_syntax)], calling=b"CT01")[0] == 2
            for thing in things:
                assert modality.store(thing) == 0
        wait_until(lambda: ris.statuses() == ["IP", "CM"], 20, "the RIS has heard of start and end")
        assert worklist(site) == ["A2"]
        assert site.rows("SELECT status FROM scheduled_step ORDER BY id") == [("COMPLETED",), ("SCHEDULED",)]
        assert 'broker_steps_closed_total{reason="images"} 2.0' in httpx.get(f"{site.web}/metrics").text


def worklist(site: Site) -> list[str]:
    """Accession numbers in the answers to DCMTK's findscu."""
    keys = ("-k", "AccessionNumber", "-k", "ScheduledProcedureStepSequence[0].Modality=CT")
    found = run("findscu", "-W", "-aec", "BROKER", "-aet", "CT01", *keys, "127.0.0.1", str(site.dicom))
    lines = [line for line in found.stdout.splitlines() if "(0008,0050)" in line and "[" in line]
    return [line.partition("[")[2].partition("]")[0].strip() for line in lines]


def test_what_a_modality_says_reaches_manager_and_subscriber(tmp_path: Path) -> None:

    made, ended = dataset(creation()), dataset(ending())
    for keyword in ("PatientBirthDate", "PatientSex", "PerformedStationName", "PerformedLocation", "StudyID"):
        setattr(made, keyword, "")
    with mpps_scp() as scp:
        node = mpps_node(scp.port).replace('["mpps"]', '["mpps", "mpps-notification"]')
        with Site(tmp_path, site=node) as site:
            ae = AE("CT01")
            ae.add_requested_context(UID(MPPS), [EXPLICIT])
            association = ae.associate("127.0.0.1", site.dicom, ae_title="BROKER")
            assert association.is_established
            assert association.send_n_create(made, UID(MPPS), UID(uid(1)))[0].Status in (0, 0x0107)
            assert association.send_n_set(ended, UID(MPPS), UID(uid(1)))[0].Status in (0, 0x0107)
            association.release()
            wait_until(lambda: len(scp.heard) == 4, 20, "both are passed on and told")
            assert scp.kinds().index("create") < scp.kinds().index("set")
            assert [heard.event for heard in scp.heard if heard.kind == "event"] == [1, 2]
            rows = site.rows("SELECT data FROM mpps_message ORDER BY id")
            assert [(heard.data,) for heard in scp.heard if heard.kind != "event"] == rows
