"""DM-14 and DM-15: performed procedure steps out of order, at once, and twice; and data sets that are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.dicom.raw import RawScu, pieces
from support.mpps.performed import MPPS, STATUS, bytes_of, create_rq, creation, final, modality, set_rq, unscheduled
from support.service.abuse import MIB
from support.service.site import Site
from support.worklist.worklist import EXPLICIT, IMPLICIT, encoded


def performed(number: int) -> dict[str, object]:
    """An N-CREATE of an examination that nobody ordered."""
    return creation(unscheduled(f"2.999.14.{number}"), patient="")


def test_dm14_a_change_before_the_creation(site: Site) -> None:
    with modality(site.dicom) as ct:
        assert ct.change(final(), "1.2.14.1").Status == 0x0112
        assert ct.create(performed(1), "1.2.14.1").Status == 0
        assert ct.change(final(), "1.2.14.1").Status == 0


def test_dm14_a_change_after_the_end(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(performed(2), "1.2.14.2")
        ct.change(final(), "1.2.14.2")
        answer = ct.change(final(PerformedProcedureStepDescription="again"), "1.2.14.2")
        assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)


def test_dm14_of_parallel_ends_exactly_one_wins(site: Site) -> None:
    with modality(site.dicom) as ct:
        ct.create(performed(3), "1.2.14.3")

    def end(minute: int) -> int:
        with modality(site.dicom, f"CT0{minute}") as other:
            return int(other.change(final(PerformedProcedureStepEndTime=f"1050{minute:02}"), "1.2.14.3").Status)

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(end, range(4)))
    assert sorted(statuses) == [0, 0x0110, 0x0110, 0x0110]


def test_dm15_a_creation_again(site: Site) -> None:
    with modality(site.dicom) as ct:
        assert ct.create(performed(5), "1.2.15.1").Status == 0
        assert ct.create(performed(5), "1.2.15.1").Status == 0
        assert ct.create(performed(6), "1.2.15.1").Status == 0x0111
    with modality(site.dicom, "CT02") as other:
        assert other.create(performed(5), "1.2.15.1").Status == 0x0111
    assert site.rows("SELECT count(*) FROM mpps WHERE sop_instance_uid = '1.2.15.1'") == [(1,)]
    alarms = [line for line in site.logged().splitlines() if "duplicate-of-other-ae" in line]
    assert len(alarms) == 1
    assert "warning" in alarms[0]


@pytest.mark.parametrize("data", [
    b"\x40\0\x70\x02\xff\xff\xff\xff", b"\x08\0\x60\0\xff\xff\xff\x7fCT",
    b"".join(b"\x40\0\x70\x02\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(5000)),
    bytes(9 * MIB), b"\x08\0\x60\0\0\0\0\0" * 300_000,
], ids=["endless", "short", "deep", "large", "many"])  # fmt: skip
def test_a_data_set_that_is_none_is_refused_and_the_association_lives(site: Site, data: bytes) -> None:
    with RawScu(site.dicom) as peer:
        assert peer.associate([(MPPS, IMPLICIT)], calling=b"CT01")[0] == 2
        for number, made in enumerate((create_rq, set_rq)):
            head, _ = made("1.2.14.9", b"", number + 1)
            peer.send(head, *pieces(data))
            assert peer.status() == 0x0110
        peer.send(*create_rq("1.2.14.9", bytes_of(performed(9)), 3))
        assert peer.status() in {0, 0x0111}


@pytest.mark.parametrize("agreed", [IMPLICIT, EXPLICIT])
def test_the_other_encoding_than_agreed_is_kept_as_what_it_is(site: Site, agreed: str) -> None:
    """It is passed on so: another system does not forgive bytes that are not what their context says."""
    number = 21 if agreed == IMPLICIT else 22
    data = encoded(creation(unscheduled(f"2.999.14.{number}"), SpecificCharacterSet=None), implicit=agreed == EXPLICIT)
    with RawScu(site.dicom) as peer:
        assert peer.associate([(MPPS, agreed)], calling=b"CT01")[0] == 2
        peer.send(*create_rq(f"1.2.14.{number}", data))
        assert peer.status() == 0
    query = (
        "SELECT transfer_syntax_uid FROM mpps_message JOIN mpps ON mpps.id = mpps_message.mpps "
        "WHERE sop_instance_uid = ?"
    )
    assert site.rows(query, f"1.2.14.{number}") == [(EXPLICIT if agreed == IMPLICIT else IMPLICIT,)]


def test_nul_and_control_characters_are_kept_out(site: Site) -> None:
    values = creation(unscheduled("2.999.14.10"), patient="A\x00B", PerformedStationAETitle="CT\x00\x1b")
    with modality(site.dicom) as ct:
        assert ct.create(values, "1.2.14.10").Status == 0x0116
        status, found = ct.get("1.2.14.10")
        assert status == 0
        assert found is not None
        assert found[STATUS].value == "IN PROGRESS"
    assert site.rows("SELECT instr(document, char(0)) FROM mpps WHERE sop_instance_uid = '1.2.14.10'") == [(0,)]
