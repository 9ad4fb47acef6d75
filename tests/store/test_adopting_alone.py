"""A command adopts files without a running broker: only into the spool that belongs to the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.dicom.objects import ct_slice

from broker.dicom.dataset import part10
from broker.service.alone import offline
from broker.settings import Settings
from broker.settings.sections import ServiceSection
from broker.store.db.database import Database
from broker.store.images.spool_owner import COPY, MARK


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "data" / "spool").mkdir(parents=True)
    section = ServiceSection(data_dir=tmp_path / "data", site=tmp_path / "site.toml", timezone="UTC")
    return Settings(service=section)


def adopted(settings: Settings, database: Database, folder: Path) -> tuple[int, dict[str, Any]]:
    body = {"folder": str(folder), "adopt": True, "reason": "restored the backup"}
    answer = offline.request(settings, database, "POST", "/api/v1/fsck/files", body)
    return answer.status_code, answer.json()


def test_without_a_broker_files_go_into_its_own_spool_alone(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    item, stick = ct_slice(100_000), tmp_path / "stick"
    stick.mkdir()
    head = part10.header(item.sop_class, item.sop_instance, item.transfer_syntax, "CT01", "BROKER", "10.0.0.9")
    (stick / "a.dcm").write_bytes(head + item.data)
    data = settings.service.data_dir
    (data / COPY).write_text("ours\n")
    (data / "spool" / MARK).write_text("theirs\n")
    status, told = adopted(settings, database, stick)
    assert status == 503
    assert "belongs to another broker" in told["detail"]
    assert list((data / "spool").rglob("*.dcm")) == []
    (data / "spool" / MARK).write_text("ours\n")
    status, told = adopted(settings, database, stick)
    assert (status, told["new"], told["left"]) == (200, 1, [])
    assert len(list((data / "spool").rglob("*.dcm"))) == 1
    trail = offline.request(settings, database, "GET", "/api/v1/audit?action=objects.", None).json()["rows"]
    assert sorted(row["action"] for row in trail) == ["objects.adopted", "objects.received"]
