"""Environment variables: every mistake is one line that names the variable or the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker import settings
from broker.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)


def refused(config: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings.load(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BROKER_DICOM__PORT", "70000", ["BROKER_DICOM__PORT", "dicom.port"]),
        ("BROKER_DICOM__PORT", "", ["BROKER_DICOM__PORT"]),
        ("BROKER_DICOM__ACCEPT", "all", ["BROKER_DICOM__ACCEPT"]),
        ("BROKER_DICOM__AE_TITLE", "TOO LONG FOR A TITLE", ["BROKER_DICOM__AE_TITLE", "16"]),
        ("BROKER_LOG__IDENTIFIERS", "perhaps", ["BROKER_LOG__IDENTIFIERS"]),
        ("BROKER_LIMITS__PDU_TIMEOUT", "nan", ["BROKER_LIMITS__PDU_TIMEOUT"]),
        ("BROKER_LIMITS__PDU_TIMEOUT", "-1", ["BROKER_LIMITS__PDU_TIMEOUT"]),
        ("BROKER_LIMITS__ASSOCIATIONS", "0", ["BROKER_LIMITS__ASSOCIATIONS"]),
        ("BROKER_SERVICE__WORKERS", "2", ["service.workers"]),
        ("BROKER_SERVICE__TIMEZONE", "Mars/Olympus", ["service.timezone"]),
        ("BROKER_SERVICE__SITE", "gone.toml", ["service.site", "gone.toml"]),
        ("BROKER_DATABASE__URL", "mysql://user:hunter2@x", ["database.url"]),
        ("BROKER_HL7__LISTENER", "not json", ["hl7"]),
        ("BROKER_HL7__LISTENER", '[{"prot": 1}]', ["hl7.listener.0.prot"]),
        ("BROKER_DICOM", "not json", ["dicom"]),
        ("BROKER_DICOM", '{"prot": 1}', ["dicom.prot"]),
        ("BROKER_DICOM", "[1]", ["dicom"]),
        ("BROKER_WEB__ADMIN", "x", ["BROKER_WEB__ADMIN", "web.admin"]),
    ],
)
def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]) -> None:
    monkeypatch.setenv(name, value)
    text = refused()
    for word in words:
        assert word in text, text
    assert "hunter2" not in text


def test_a_whole_section_and_a_list_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_DICOM", '{"port": 104}')
    monkeypatch.setenv("BROKER_HL7__LISTENER", '[{"port": 2576}]')
    found = settings.load()
    assert found.dicom.port == 104
    assert [door.port for door in found.hl7.listeners()] == [2575, 2576]


def test_foreign_and_internal_variables_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_FAULTS", "/nowhere")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DICOM__PORT", "1")
    assert settings.load().dicom.port == 11112


def test_a_key_of_the_file_is_no_switch_of_the_library(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    for key in ("_env_file", "_env_prefix", "_case_sensitive"):
        file.write_text(f"{key} = 'x'\n")
        text = refused(file)
        assert key in text
        assert str(file) in text


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = \n", b"[dicom]\n[dicom]\n", b"\0"])
def test_files_that_are_no_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broker.toml"
    file.write_bytes(content)
    assert refused(file).startswith(f"{file}: not valid TOML")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"{tmp_path}: ")


def test_titles_lose_their_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_DICOM__AE_TITLE", " BROKER ")
    assert settings.load().dicom.ae_title == "BROKER"


def test_a_relative_site_file_of_the_environment_counts_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broker.toml").write_text("")
    (tmp_path / "s.toml").write_text("")
    monkeypatch.setenv("BROKER_SERVICE__SITE", "s.toml")
    assert settings.load(tmp_path / "broker.toml").service.site == tmp_path / "s.toml"


def test_the_zone_is_the_sites_or_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_SERVICE__TIMEZONE", "Europe/Zurich")
    assert settings.load().zone().key == "Europe/Zurich"
    monkeypatch.delenv("BROKER_SERVICE__TIMEZONE")
    assert settings.load().zone().key


def test_which_database(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().is_sqlite()
    monkeypatch.setenv("BROKER_DATABASE__URL", "postgresql+psycopg://u@h/d")
    assert not settings.load().is_sqlite()
