"""Files with secrets that every user can read are warned of at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker.service.datadir import MIN_KEY, DataDirectory
from broker.service.doors.open_files import warn_of_open_files
from broker.settings import Settings

TOKEN = "0123456789abcdef"
URL = "postgresql+psycopg://broker:secret@localhost/broker"


def warned(settings: dict[str, object], config: Path) -> list[str]:
    with capture_logs() as lines:
        warn_of_open_files(Settings.model_validate(settings), config)
    return [line["key"] for line in lines if line["event"] == "secret.open_file"]


@pytest.mark.parametrize(("mode", "keys"), [(0o644, ["web.admin_token", "database.url"]), (0o640, []), (0o600, [])])
def test_a_configuration_with_secrets(tmp_path: Path, mode: int, keys: list[str]) -> None:
    config = tmp_path / "broker.toml"
    config.touch()
    config.chmod(mode)
    assert warned({"web": {"admin_token": TOKEN}, "database": {"url": URL}}, config) == keys
    assert warned({}, config) == []
    assert warned({"web": {"admin_token": TOKEN}}, tmp_path / "missing") == []


def test_a_private_key(tmp_path: Path) -> None:
    key = tmp_path / "broker.key"
    key.touch()
    key.chmod(0o644)
    tls = {"certificate": str(key), "key": str(key), "ca": str(key)}
    assert warned({"dicom": {"tls": tls}, "hl7": {"tls": tls}}, key) == ["dicom.tls.key", "hl7.tls.key"]


@pytest.mark.parametrize("kept", [b"", b"short"])
def test_a_log_key_that_anybody_could_guess_is_replaced(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "log.key").write_bytes(kept)
    first = DataDirectory(tmp_path)
    key = first.log_key()
    first.close()
    second = DataDirectory(tmp_path)
    assert len(key) >= MIN_KEY
    assert (second.log_key(), first.key_replaced, second.key_replaced) == (key, True, False)
    second.close()
