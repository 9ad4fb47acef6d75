"""A broker whose database was deleted starts, serves, and says so until a person has decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.service.abuse import metric
from support.service.site import Mllp, Site, order

from broker.model.order import Document
from broker.store.high_water import MARKS as FILE

RULES = '[default]\naction = "hold"\n'
LOST = "the database has lost what it held before"


def findings(site: Site) -> list[str]:
    """What `broker status` says of the whole."""
    return [one["text"] for one in json.loads(site.command("status", "--json").stdout)["findings"]]


def lose(site: Site) -> None:
    for file in site.data.glob("broker.db*"):
        file.unlink()


def readiness(site: Site) -> Document:
    answer = site.asked("/health/ready")
    assert answer.status_code == 200  # the worklist answers
    body: Document = answer.json()
    return body


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_database_that_was_deleted_is_told_until_a_person_accepts_it(tmp_path: Path, end: str) -> None:
    site = Site(tmp_path / "site")
    with site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        assert not any(LOST in text for text in findings(site))
        if end == "kill":
            site.stop()
            site.start()  # it has kept how far it came
        getattr(site, end)()
        lose(site)
        for _ in range(2):  # a restart does not forget it
            site.start()
            assert "store.rows_missing" in site.logged()
            assert readiness(site)["status"] == "degraded"
            assert any(LOST in text for text in findings(site))
            assert site.command("status").returncode == 1
            assert metric(site, "broker_store_behind") == 1
            with Mllp(site.hl7) as ris:  # it takes in what comes
                assert ris.exchange(order(2))["MSA"][0][1] == "AA"
            site.stop()
        (site.data / FILE).unlink()
        site.start()
        assert not any(LOST in text for text in findings(site))
        assert metric(site, "broker_store_behind") == 0


def test_objects_in_the_spool_tell_of_an_empty_database(tmp_path: Path) -> None:
    """Without the file, as after an update of an earlier version."""
    site, item = Site(tmp_path / "site", site=RULES), ct_slice(64 * 1024)
    with site:
        with RawScu(site.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)])
            assert modality.store(item) == 0
        site.stop()
        lose(site)
        (site.data / FILE).unlink()
        site.start()
        assert any(LOST in text for text in findings(site))
