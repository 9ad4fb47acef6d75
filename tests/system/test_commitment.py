"""Storage commitment from the modality to the archive and back, with the real broker and foreign peers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.dicom.archive import archive
from support.dicom.asking import Asking
from support.dicom.commitments import ask, named, request, stay, told
from support.dicom.objects import ct_slice
from support.loops import SOON
from support.peers.peers import orthanc
from support.peers.tools import wait_until
from support.service.site import Site, destination

SEND = '[default]\naction = "send"\nsend = ["pacs"]\n'


def modality(name: str, port: int = 0) -> str:
    """A `[[node]]` that sends objects, and listens on a port, if that is given."""
    where = f'host = "127.0.0.1"\nport = {port}\n' if port else ""
    return f'[[node]]\nname = "{name}"\nkind = "dicom"\nae_title = "{name.upper()}"\nroles = ["modality"]\n{where}'


def pacs(port: int, proof: str) -> str:
    return destination("pacs", port) + f'commitment = "{proof}"\n'


@pytest.mark.parametrize("proof", ["ask", "delivered"])
def test_a_modality_is_told_what_the_archive_says(tmp_path: Path, proof: str) -> None:
    things = [ct_slice(2048, StudyInstanceUID="2.999.7.1") for _ in range(3)]
    with archive("PACS") as store, archive("CT") as scanner:
        site = Site(tmp_path, site=pacs(store.port, proof) + modality("ct", scanner.port) + SEND)
        with site:
            store.nodes["BROKER"] = site.dicom
            asking = Asking(site.dicom, "BROKER", "CT")
            assert asking.store(*things) == [0, 0, 0]
            asked = request(named(*things))
            assert ask(asking, asked) == 0
            wait_until(lambda: scanner.reports, SOON, "the modality is told")
            assert told(scanner.reports[0]) == dict.fromkeys((one.sop_instance for one in things), 0)
            assert scanner.reports[0][1].TransactionUID == asked.TransactionUID
            committed = "select count(*) from committed join job on job.id = committed.job where lane = 'deliver:pacs'"
            assert site.rows(committed) == [(3,)]
            wait_until(lambda: site.rows("select count(*) from commitment_object") == [(0,)], SOON, "nothing is left")
            listed = json.loads(site.command("commitments", "list", "--json").stdout)
            assert [(one["node"], one["state"], one["committed"]) for one in listed] == [("ct", "told", 3)]
            shown = site.command("commitments", "show", "1").stdout
            assert all(one.sop_instance in shown for one in things)
            assert "3 committed, 0 failed" in shown
            study = json.loads(site.command("studies", "find", "--json").stdout)["studies"][0]["study"]
            assert ", 3 committed" in site.command("studies", "show", study).stdout
        questions = [what for what, _ in store.done if what == "N-ACTION"]
        assert questions == (["N-ACTION"] if proof == "ask" else [])


def test_a_device_without_an_address_is_told_over_its_own_association(tmp_path: Path) -> None:
    thing = ct_slice(2048)
    with archive("PACS") as store, archive("CT") as heard:
        site = Site(tmp_path, site=pacs(store.port, "delivered") + modality("ct") + SEND)
        with site:
            asking = Asking(site.dicom, "BROKER", "CT")
            assert asking.store(thing) == [0]
            assert stay(asking, request(named(thing)), heard, 1) == 0  # while it waits
            assert ask(asking, request(named(thing))) == 0
            judged = "select count(*) from job where kind = 'commitment-report'"
            wait_until(lambda: site.rows(judged) == [(2,)], SOON, "the second request is judged")
            stay(asking, None, heard, 2)  # when it calls again
            assert [told(one) for one in heard.reports] == [{thing.sop_instance: 0}] * 2


@pytest.mark.parametrize("point", ["commitment.send", "commitment.sent", "dicom.answered"])
def test_a_kill_between_answer_and_report_loses_no_result(tmp_path: Path, point: str) -> None:
    thing = ct_slice(2048)
    with archive("PACS") as store, archive("CT") as scanner:
        site = Site(tmp_path, site=pacs(store.port, "delivered") + modality("ct", scanner.port) + SEND)
        with site:
            asking = Asking(site.dicom, "BROKER", "CT")
            assert asking.store(thing) == [0]
            site.faults.write_text(f"{point} kill\n", encoding="ascii")
            assert ask(asking, request(named(thing))) == 0
            if point == "dicom.answered":
                site.kill()
            wait_until(lambda: not site.alive(), SOON, "it is killed")
            site.faults.unlink()
            site.start()
            wait_until(lambda: scanner.reports, SOON, "the modality is told")
            jobs = "select state from job where kind = 'commitment-report'"
            wait_until(lambda: site.rows(jobs) == [("done",)], SOON, "that is known")
        assert {frozenset(told(one).items()) for one in scanner.reports} == {frozenset({(thing.sop_instance, 0)})}
        assert len(scanner.reports) <= (2 if point == "commitment.sent" else 1)


def test_nobody_is_offered_what_no_destination_proves(tmp_path: Path) -> None:
    with archive("PACS") as store, Site(tmp_path, site=destination("pacs", store.port) + modality("ct") + SEND) as site:
        assert ask(Asking(site.dicom, "BROKER", "CT"), request([("1.2.3", "1.2.4")])) == -1


def test_orthanc_asks_and_is_asked(tmp_path: Path) -> None:
    """One Orthanc is the modality, which stores with commitment, and the archive, which reports by itself."""
    with orthanc(tmp_path / "peer", DicomModalitiesInDatabase=True) as peer:
        node = pacs(peer.dicom, "ask").replace('"PACS"', '"ORTHANC"')
        with Site(tmp_path / "site", site=node + SEND) as site:
            known = {"AET": "BROKER", "Host": "127.0.0.1", "Port": site.dicom, "AllowStorageCommitment": True}
            peer.put("/modalities/BROKER", known)
            names = [peer.post("/instances", ct_slice(2048).part10())["ID"] for _ in range(3)]
            wanted = {"Resources": names, "Synchronous": True, "StorageCommitment": True}
            answer = peer.post("/modalities/BROKER/store", wanted)
            where = f"/storage-commitment/{answer['StorageCommitmentTransactionUID']}"
            wait_until(lambda: peer.get(where)["Status"] != "Pending", SOON, "the broker has reported")
            assert peer.get(where)["Status"] == "Success"
            assert len(peer.get(where)["Success"]) == 3
            assert site.rows("select state from commitment_ask") == [("answered",)]
