"""HL-21: text that means something elsewhere is stored as it is and means nothing here."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from support.orders.documents import order
from support.peers.tools import run
from support.service.site import Mllp, Site
from support.service.site import order as message

TOKEN = "a-token-of-the-tests-0123456789"
TEXTS = [
    "=cmd()", "@SUM(1)", "<script>alert(1)</script>", "%s%n%d", "{{7*7}}", "${7*7}", "{0.__class__}",
    "'; DROP TABLE x--", "\u202eEVIL", "../../etc/passwd", "%00",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("text") / "site"
    with Site(folder, config={"web": {"port": 0, "admin_token": TOKEN}}) as one:
        yield one


def as_hl7(text: str) -> str:
    """A text within one component, escaped (HL7 2.5.1 §2.7)."""
    return "".join({"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}.get(c, c) for c in text)


@pytest.mark.parametrize("number", range(len(TEXTS)))
@pytest.mark.parametrize("way", ["HL7", "REST"])
def test_hl_21_text_is_stored_literally_and_inert_everywhere(number: int, way: str, site: Site) -> None:
    text = TEXTS[number]
    own = number + (100 if way == "REST" else 0)
    family = text.replace("=", "")  # in a name it divides the component groups
    with httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
        if way == "HL7":
            told = message(own, name=f"{as_hl7(family)}^X")
            told = told.replace("THX^Thorax^99LOC", f"THX^{as_hl7(text)}^99LOC")
            with Mllp(site.hl7) as ris:
                assert ris.exchange(told)["MSA"][0][1] == "AA"
        else:
            given = order(own)
            given["patient"]["PatientName"] = f"{family}^X"
            given["procedures"][0]["RequestedProcedureDescription"] = text
            given["procedures"][0]["steps"][0]["ScheduledProcedureStepDescription"] = text
            assert http.post("/api/v1/orders", json=given).status_code == 201
        found = http.post("/api/v1/orders/search", json={"AccessionNumber": f"A{own}"}).json()["orders"]
        assert len(found) == 1
        assert found[0]["patient"]["PatientName"] == f"{family}^X"
        assert found[0]["procedures"][0]["RequestedProcedureDescription"] == text
        page = http.get("/").text
        assert "alert(1)" not in page
    shown = run(
        "findscu", "-W", "-aet", "CT01", "-aec", "BROKER", "127.0.0.1", str(site.dicom),
        "-k", f"AccessionNumber=A{own}", "-k", "PatientName",
        "-k", "RequestedProcedureDescription", "-k", "SpecificCharacterSet=ISO_IR 192",
    ).stdout  # fmt: skip
    assert f"{family}^X" in shown
    assert f"[{text}" in shown
