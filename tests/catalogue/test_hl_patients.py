"""HL-16: a merge (ADT^A40) for a patient with open orders and received images moves all in one transaction."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import run
from support.service.site import Mllp, Site, order

STORED = (
    "select p.patient_id, r.placer_number, s.status, s.patient_id from scheduled_step s"
    " join requested_procedure q on q.id = s.procedure join service_request r on r.id = q.request"
    " join patient p on p.id = r.patient where r.placer_number in (?, ?, ?) order by r.placer_number"
)


def adt(trigger: str, identity: str, number: int, *more: str) -> str:
    """An ADT message about the patient QZPAT and a number, in the authority of `support.service.site.order`."""
    return "\r".join(
        (
            f"MSH|^~\\&|MPI|HOSPITAL|BROKER|RAD|20300312090000||ADT^{trigger}|{identity}|P|2.5||||||UNICODE UTF-8",
            "EVN||20300312090000",
            f"PID|1||QZPAT{number}^^^HOSPITAL||Müller-Canary^Käthe||19760229|F",
            *more,
            "",
        )
    )


def found(site: Site, patient_id: str) -> dict[str, tuple[str, str]]:
    """Name and identifiers by accession number, as DCMTK's findscu sees the worklist."""
    keys = ("PatientName", "AccessionNumber", "(0010,1002)[0].PatientID", "(0040,0100)[0].ScheduledStationAETitle=CT01")
    words = [word for key in keys for word in ("-k", key)]
    words += ["-k", f"PatientID={patient_id}", "-aec", "BROKER"]
    done = run("findscu", "-v", "-W", *words, "127.0.0.1", str(site.dicom))
    assert done.returncode == 0, done.stdout
    return dict(_answer(text) for text in done.stdout.split("Find Response:")[1:])


def _answer(text: str) -> tuple[str, tuple[str, str]]:
    def value(tag: str) -> str:
        return (re.search(rf"\({tag}\) \w\w \[([^]]*)\]", text) or ["", ""])[1].strip()

    return value("0008,0050"), (value("0010,0010"), ",".join(re.findall(r"\(0010,0020\) LO \[(\w+)", text)))


def emergency(site: Site, first: int) -> tuple[int, int, int]:
    """Two orders for an emergency patient, one with images, and one for the patient it turns out to be; numbers."""
    known, open_, imaged = first, first + 1, first + 2
    with Mllp(site.hl7) as ris, RawScu(site.dicom) as modality:
        for number in (known, open_, imaged):
            text = order(number)
            if number != known:
                text = text.replace(f"QZPAT{number}^", f"QZTMP{first}^").replace("Müller^Käthe", "Canary^Unknown")
            assert ris.exchange(text)["MSA"][0][1] == "AA"
        thing = ct_slice(2000, StudyInstanceUID=f"2.999.7.{imaged}", PatientID=f"QZTMP{first}")
        assert modality.associate([(thing.sop_class, thing.transfer_syntax)])[0] == 2
        assert modality.store(thing) == 0
    return known, open_, imaged


def test_hl16_a_merge_moves_orders_and_studies(site: Site) -> None:
    numbers = emergency(site, 1600)
    known, open_, imaged = numbers
    assert set(found(site, "QZTMP1600")) == {"A1601", "A1602"}
    with Mllp(site.hl7) as mpi:
        started = order(imaged, control="SC", status="IP").replace(f"QZPAT{imaged}^", "QZTMP1600^")
        assert mpi.exchange(started)["MSA"][0][1] == "AA"
        assert mpi.exchange(adt("A40", "HL16", known, "MRG|QZTMP1600^^^HOSPITAL"))["MSA"][0][1] == "AA"
        placers = [f"PL{number}" for number in numbers]
        status = {open_: "SCHEDULED", known: "SCHEDULED", imaged: "STARTED"}
        assert site.rows(STORED, *placers) == [("QZPAT1600", f"PL{n}", status[n], "QZPAT1600") for n in numbers]
        assert site.rows("select count(*) from patient where patient_id = ?", "QZTMP1600") == [(0,)]
        (detail,) = site.rows("select detail from audit where action = 'patient.merged' order by id desc limit 1")
        recorded = json.loads(detail[0])
        assert (len(recorded["orders"]), recorded["studies"]) == (2, 1)
        (message,) = site.rows("select message_type from message where id = ?", recorded["message"])
        assert message == ("ADT^A40",)
        assert found(site, "QZTMP1600") == {}
        assert found(site, "QZPAT1600") == {
            f"A{number}": ("Müller-Canary^Käthe", "QZPAT1600,QZTMP1600") for number in (known, open_)
        }  # a started step is shown to nobody who asks no status
        late = order(1609).replace("QZPAT1609^", "QZTMP1600^").replace("Müller^Käthe", "Canary^Unknown")
        answer = mpi.exchange(late)
        assert (answer["MSA"][0][1], answer["ERR"][0][4]) == ("AA", "W")
        assert found(site, "QZPAT1600")["A1609"] == ("Müller-Canary^Käthe", "QZPAT1600,QZTMP1600")


@pytest.mark.parametrize("point", ["store.commit", "store.committed", "hl7.answer"])
def test_hl16_a_merge_is_whole_or_not_at_all(tmp_path: Path, point: str) -> None:
    """Killed around the commit; the sender, which has no answer, sends the same message again."""
    merge = adt("A40", "HL16", 1600, "MRG|QZTMP1600^^^HOSPITAL")
    with Site(tmp_path) as site:
        numbers = emergency(site, 1600)
        before = [("QZPAT1600", "PL1600"), ("QZTMP1600", "PL1601"), ("QZTMP1600", "PL1602")]
        placers = [f"PL{number}" for number in numbers]
        assert [row[:2] for row in site.rows(STORED, *placers)] == before
        site.faults.write_text(f"{point} kill")
        with Mllp(site.hl7) as mpi:
            mpi.send(merge)
            assert mpi.receive() == b""
        assert site.process is not None
        site.process.wait(20)
        site.faults.unlink()
        done = [("QZPAT1600", f"PL{number}") for number in numbers]
        assert [row[:2] for row in site.rows(STORED, *placers)] == (before if point == "store.commit" else done)
        site.start()
        with Mllp(site.hl7) as mpi:
            assert mpi.exchange(merge)["MSA"][0][1] == "AA"
        assert [row[:2] for row in site.rows(STORED, *placers)] == done
        assert site.rows("select count(*) from audit where action = 'patient.merged'") == [(1,)]
        assert set(found(site, "QZPAT1600")) == {"A1600", "A1601", "A1602"}
