"""Modalities that perform, against the real broker: pynetdicom as SCU (DCMTK has no MPPS SCU in Debian)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.tag import Tag
from pynetdicom import AE, build_role
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, ris_node
from support.mpps.performed import (
    MPPS,
    RETRIEVE,
    STATUS,
    bytes_of,
    create_rq,
    creation,
    final,
    item,
    modality,
    unscheduled,
)
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order
from support.worklist.worklist import EXPLICIT, IMPLICIT

STRICT = """
[[node]]
name = "strict"
kind = "dicom"
ae_title = "STRICT"
roles = ["modality"]
[node.device]
mpps = "strict"

[[node]]
name = "late"
kind = "dicom"
ae_title = "LATE"
roles = ["modality"]
[node.device]
first_completed = true
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker for all that need no other."""
    with Site(tmp_path_factory.mktemp("mpps"), site=STRICT, config={"web": {"admin_token": TOKEN}}) as running:
        with Mllp(running.hl7) as ris:
            for number in range(1, 13):
                assert ris.exchange(order(number))["MSA"][0][1] == "AA"
        yield running


TOKEN = "a-token-of-the-tests"


def step(site: Site, number: int) -> str:
    [(status,)] = site.rows("SELECT status FROM scheduled_step WHERE step_id = ?", f"SPS{number}")
    return str(status)


def mine(number: int, **more: Any) -> dict[str, Any]:
    return creation(item(number), patient=f"QZPAT{number}", **more)


def ask(site: Site, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return httpx.request(method, f"{site.web}/api/v1/mpps{path}", json=body, headers=headers, timeout=20)


def broker(site: Site, *words: str) -> str:
    done = site.command("mpps", *words, environment={"COLUMNS": "200"})
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize(("syntax", "number"), [(IMPLICIT, 1), (EXPLICIT, 2)])
def test_an_examination_from_its_worklist_entry_to_its_end(site: Site, syntax: str, number: int) -> None:
    uid = f"1.2.3.{number}"
    with modality(site.dicom, syntax=syntax) as ct:
        made = ct.create(mine(number), uid)
        assert (made.Status, made.AffectedSOPInstanceUID, made.AffectedSOPClassUID) == (0, uid, MPPS)
        assert step(site, number) == "STARTED"
        assert ct.change(final(), uid).Status == 0  # at once, on the same association
        assert step(site, number) == "COMPLETED"
        status, found = ct.get(uid)
        assert status == 0
        assert found is not None
        assert (str(found.PatientName), found.SpecificCharacterSet) == ("Müller^Käthe", "ISO_IR 192")
        assert found[STATUS].value == "COMPLETED"
        assert found.PerformedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == "2.999.9.1.1"
        status, found = ct.get(uid, Tag(STATUS), Tag("Modality"))
        assert (status, [element.keyword for element in found or ()]) == (0, ["Modality", STATUS])
        assert ct.get(uid, Tag(STATUS), 0x00080080)[0] == 0x0001
        assert ct.get("1.2.3.99")[0] == 0x0112


def test_the_role_of_scp_is_not_taken_from_us(site: Site) -> None:
    ae = AE("CT01")
    for uid in (MPPS, RETRIEVE):
        ae.add_requested_context(uid)
    roles = [build_role(uid, scu_role=True, scp_role=True) for uid in (MPPS, RETRIEVE)]
    made = ae.associate("127.0.0.1", site.dicom, ae_title="BROKER", ext_neg=roles)
    assert [(context.as_scu, context.as_scp) for context in made.accepted_contexts] == [(True, False)] * 2
    made.release()


def test_what_is_final_is_changed_no_more(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(mine(3), "1.2.3.30")
        assert ct.change(final("DISCONTINUED", reason="110501"), "1.2.3.30").Status == 0
        assert step(site, 3) == "SCHEDULED"
        refused = ct.change(final(), "1.2.3.30")
        assert (refused.Status, refused.ErrorID) == (0x0110, 0xA710)
        assert refused.ErrorComment == "Performed Procedure Step Object may no longer be updated"
        assert ct.change(final(), "1.2.3.31").Status == 0x0112


def test_strict_and_forgiving_devices(site: Site) -> None:
    bad = mine(4, PerformedLocation=None)
    with modality(site.dicom, "STRICT") as device:
        refused = device.create(bad, "1.2.3.40")
        assert (refused.Status, refused.AttributeIdentifierList) == (0x0120, Tag("PerformedLocation"))
        assert device.create(mine(4), "").Status == 0x0117
    assert step(site, 4) == "SCHEDULED"
    with modality(site.dicom) as device:
        assert device.create(bad, "1.2.3.40").Status == 0x0107
        assert device.create(mine(5, **final()), "1.2.3.41").Status == 0x0106
    assert step(site, 4) == "STARTED"
    with modality(site.dicom, "LATE") as device:
        assert device.create(mine(5, **final()), "1.2.3.41").Status == 0
    assert step(site, 5) == "COMPLETED"


def test_an_instance_without_a_name_gets_one_and_keeps_it(site: Site) -> None:
    with modality(site.dicom) as ct:
        first = ct.create(mine(6), "")
        again = ct.create(mine(6), "")
        assert (first.Status, again.Status) == (0, 0)
        uid = first.AffectedSOPInstanceUID
        assert uid.startswith("2.25.")
        assert again.AffectedSOPInstanceUID == uid
        assert ct.change(final(), uid).Status == 0
    assert step(site, 6) == "COMPLETED"


def test_parallel_ends_of_one_step(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(mine(7), "1.2.3.70")

    def end(reason: str) -> int:
        with modality(site.dicom) as other:
            return int(other.change(final("DISCONTINUED", reason=reason), "1.2.3.70").Status)

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(end, ("110500", "110501", "110505", "110514")))
    assert sorted(statuses) == [0, 0x0110, 0x0110, 0x0110]


def test_a_person_decides_by_rest(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(creation(unscheduled(), patient="QZPAT8"), "1.2.3.80")
        [one] = ask(site, "GET", "?waiting=true&linking=unscheduled").json()
        assert (one["sop_instance_uid"], one["attention"]) == ("1.2.3.80", "unscheduled")
        assert "QZPAT8" not in str(one)
        detail = ask(site, "GET", f"/{one['id']}").json()
        [proposed] = detail["proposals"]
        assert detail["document"]["PatientID"] == "QZPAT8"
        assert ask(site, "POST", f"/{one['id']}/link", {"step": 10**6}).status_code == 404
        assert ask(site, "POST", f"/{one['id']}/link", {"step": proposed["step"]}).status_code == 204
        assert step(site, 8) == "STARTED"
        assert ask(site, "POST", f"/{one['id']}/link", {"step": proposed["step"]}).status_code == 409
        ending = {"status": "COMPLETED", "reason": "the modality broke down"}
        assert ask(site, "POST", f"/{one['id']}/end", ending).status_code == 204
        assert step(site, 8) == "COMPLETED"
        assert ct.change(final(), "1.2.3.80").ErrorID == 0xA710
    assert ask(site, "POST", "/99999/set-aside", {"reason": "nobody"}).status_code == 404
    assert ask(site, "GET", "?linking=odd").status_code == 422
    assert httpx.get(f"{site.web}/api/v1/mpps").status_code == 401


def test_a_person_decides_by_command(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(creation(unscheduled("2.999.8.2"), patient="QZPAT9"), "1.2.3.90")
        ct.create(creation(unscheduled("2.999.8.3"), patient="QZPAT9"), "1.2.3.91")
    rows = dict(site.rows("SELECT sop_instance_uid, id FROM mpps"))
    [(wanted,)] = site.rows("SELECT id FROM scheduled_step WHERE step_id = 'SPS9'")
    assert "unscheduled" in broker(site, "list", "--waiting")
    broker(site, "link", str(rows["1.2.3.90"]), str(wanted))
    assert step(site, 9) == "STARTED"
    broker(site, "end", str(rows["1.2.3.90"]), "discontinued", "--reason", "patient went home")
    assert step(site, 9) == "SCHEDULED"
    broker(site, "set-aside", str(rows["1.2.3.91"]), "--reason", "a test of the technician")
    assert site.rows("SELECT linking FROM mpps WHERE id = ?", rows["1.2.3.91"]) == [("set-aside",)]
    done = site.rows("SELECT action FROM audit WHERE object_kind = 'mpps' ORDER BY id")
    actions = [action for (action,) in done if action not in ("mpps.viewed", "mpps.listed")]
    assert actions[-3:] == ["mpps.linked", "mpps.ended", "mpps.set-aside"]


def test_a_modality_that_does_not_wait_for_the_answer(site: Site) -> None:
    values = mine(10)
    with RawScu(site.dicom) as peer:
        assert peer.associate([(MPPS, IMPLICIT)], calling=b"CT01")[0] == 2
        peer.send(*create_rq("1.2.3.100", bytes_of(values)))
    wait_until(lambda: step(site, 10) == "STARTED", 20, "it has come")
    with modality(site.dicom) as ct:
        assert ct.create(values, "1.2.3.100").Status == 0
    query = "SELECT count(*) FROM mpps_message m JOIN mpps ON mpps.id = m.mpps WHERE sop_instance_uid = '1.2.3.100'"
    assert site.rows(query) == [(1,)]


def test_a_killed_broker_has_kept_what_it_answered_and_tells_the_ris(tmp_path: Path) -> None:
    with Ris() as ris:
        site = Site(tmp_path, site=ris_node(ris.port, events=["started", "completed"]))
        with site:
            with Mllp(site.hl7) as sender:
                assert sender.exchange(order(1))["MSA"][0][1] == "AA"
            with modality(site.dicom) as ct:
                assert ct.create(mine(1), "1.2.3.1").Status == 0
                site.kill()
            site.start()
            with modality(site.dicom) as ct:
                assert ct.create(mine(1), "1.2.3.1").Status == 0  # the modality's retry
                assert ct.change(final(), "1.2.3.1").Status == 0
            wait_until(lambda: {told.status for told in ris.told} == {"IP", "CM"}, 30, "the RIS has heard of both")
        last = ris.told[-1]
        assert (last.get("TQ1", 7) + last.get("OBR", 7)).startswith("20300312103500")
        assert last.get("OBR", 8).startswith("20300312105000")


def test_a_database_that_is_away_is_no_success(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        with modality(site.dicom) as ct:
            site.faults.write_text("store.commit EIO\n", encoding="ascii")
            answer = ct.create(creation(), "1.2.3.1")
            assert (answer.Status, answer.ErrorComment) == (0x0110, "store-unavailable")
            site.faults.write_text("", encoding="ascii")
            assert ct.create(creation(), "1.2.3.1").Status == 0
        assert site.rows("SELECT count(*) FROM mpps") == [(1,)]
