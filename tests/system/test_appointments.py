"""A scheduling message moves the worklist, as a modality sees it. A rival acknowledges SIU and ignores it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.peers.tools import run
from support.service.site import Mllp, Site, order


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site") as running:
        yield running


def siu(event: str, at: int, start: str = "", status: str = "Booked") -> str:
    """A SIU of v2.5.1 for order 1, sent `at` minutes past eight."""
    sch = [""] * 28
    sch[:3], sch[25], sch[26], sch[27] = ["SCH", "T1^RIS", "T1^SCHED"], status, "PL1^RIS", "FI1^RIS"
    return "\r".join(
        (
            f"MSH|^~\\&|SCHED|HOSPITAL|BROKER|RAD|2030031208{at:02}00||SIU^{event}^SIU_S12|{event}{at}|P|2.5.1",
            "|".join(sch),
            f"TQ1|1||||||{start}",
            "PID|1||QZPAT1^^^HOSPITAL||Müller^Käthe||19760229|F",
            "RGS|1",
            "AIS|1||THX^Thorax^99LOC",
            "AIL|1||RAD^ROOM7",
            "AIP|1||7^HOUSE^GREG",
            "",
        )
    )


def asked(site: Site, *keys: str) -> tuple[int, str]:
    """How many answers DCMTK finds for keys of the step, and its output."""
    wanted = [key for key in ("0040,0003", "0040,0006", "0040,0011") if not any(k.startswith(key) for k in keys)]
    words = [word for key in (*keys, *wanted) for word in ("-k", f"0040,0100[0].{key}")]
    found = run("findscu", "-W", "-aec", "BROKER", "-k", "0008,0050", *words, "127.0.0.1", str(site.dicom))
    assert found.returncode == 0, found.stdout
    return found.stdout.count("(Pending)"), found.stdout


def test_an_appointment_moves_the_worklist(site: Site) -> None:
    day, other = "0040,0002=20300312", "0040,0002=20300315"
    with Mllp(site.hl7) as ris:

        def accepted(message: str) -> None:
            assert ris.exchange(message)["MSA"][0][1] == "AA"

        accepted(order(1))
        assert asked(site, day, "0040,0001=CT01")[0] == 1
        accepted(siu("S13", 1, "20300315140000"))
        assert asked(site, day)[0] == 0
        count, found = asked(site, other, "0040,0001=CT01")
        assert count == 1
        assert re.search(r"\[140000\].*\[HOUSE\^GREG\].*\[ROOM7 ?\]", found, re.DOTALL), found
        accepted(siu("S15", 2, status="Cancelled"))
        # no device sees what is to be scheduled, whatever it asks for
        assert [asked(site, *keys)[0] for keys in ((), (day,), (other,), ("0040,0020=SCHEDULED",))] == [0, 0, 0, 0]
        accepted(siu("S12", 3, "20300312160000"))
        assert asked(site, day, "0040,0003=1500-1700")[0] == 1
        accepted(siu("S26", 4, status="Noshow"))
        assert asked(site)[0] == 0
        assert asked(site, "0040,0020=DISCONTINUED")[0] == 1
        accepted(siu("S13", 5, "20300315090000"))
        assert asked(site, other)[0] == 1
    assert site.rows("select count(*) from message where not accepted") == [(0,)]
    assert "housekeeping.failed" not in site.logged()
