"""Where each key in force comes from, and that no secret is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.settings import load
from broker.settings.origins import MASK, EffectiveKey


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, EffectiveKey]:
    file = tmp_path / "broker.toml"
    file.write_text(
        '[web]\nport = 8081\nadmin_token = "a-token-of-the-tests-0123456789"\n[dicom]\nae_title = "A"\n[limits]\n'
        'web_body = 5000\n[database]\nurl = "postgresql+psycopg://anna:geheim@db/broker?password=geheim2&x=1"\n'
        "[[hl7.listener]]\nname = 'adt'\nport = 2576\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("BROKER_DICOM__AE_TITLE", "B")
    monkeypatch.setenv("BROKER_WORKLIST", '{"charset": "ISO_IR 100"}')
    monkeypatch.setenv("BROKER_TRACES", '{"headers": {"Authorization": "Bearer geheim"}}')
    monkeypatch.setenv("BROKER_FAULTS", "no key of ours")
    return {key.key: key for key in load(file).in_force()}


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("web.port", "8081", "file"),
        ("web.host", "127.0.0.1", "default"),
        ("dicom.ae_title", "B", "environment"),
        ("dicom.plain", "true", "default"),
        ("dicom.tls", "", "default"),
        ("limits.web_body", "5000", "file"),
        ("worklist.charset", "ISO_IR 100", "environment"),
        ("worklist.max_answers", "10000", "default"),
        ("traces.headers", MASK, "environment"),
        ("traces.endpoint", "", "default"),
        ("hl7.listener[1].name", "adt", "file"),
        ("hl7.listener[1].port", "2576", "file"),
        ("web.admin_token", MASK, "file"),
        ("database.url", f"postgresql+psycopg://anna:{MASK}@db/broker?password={MASK}&x=1", "file"),
    ],
)
def test_a_key_has_its_value_and_its_source(keys: dict[str, EffectiveKey], key: str, value: str, source: str) -> None:
    assert (keys[key].value, keys[key].source) == (value, source)


def test_every_key_says_what_it_means_and_none_tells_a_secret(keys: dict[str, EffectiveKey]) -> None:
    assert [key.key for key in keys.values() if not key.meaning] == []
    told = repr(keys)
    assert "geheim" not in told
    assert "a-token" not in told


def test_a_secret_that_is_not_set_is_empty() -> None:
    assert {key.key: key.value for key in load(None).in_force()}["web.admin_token"] == ""
