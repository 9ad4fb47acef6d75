"""`[dicom]` beyond the plain listener: TLS, user identity, private SOP classes; in the file and in the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker import settings
from broker.errors import ConfigurationError

TLS = "[dicom.tls]\ncertificate = 'c.pem'\nkey = '/k.pem'\nca = 'ca/ca.pem'\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    file = folder / "broker.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_table_there_is_no_tls() -> None:
    found = settings.load().dicom
    assert (found.tls, found.plain, found.user_identity, found.private_sop_classes) == (None, True, "node", ())
    assert settings.load().limits.tls_handshake_timeout == 5


def test_files_count_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = settings.load(write(tmp_path, TLS)).dicom.tls
    assert found is not None
    assert (found.certificate, found.key, found.ca) == (tmp_path / "c.pem", Path("/k.pem"), tmp_path / "ca" / "ca.pem")
    assert (found.crl, found.host, found.port) == (None, "", 2762)
    found = settings.load(write(tmp_path, TLS + "crl = 'r.pem'\nport = 0\n")).dicom.tls
    assert found is not None
    assert (found.crl, found.port) == (tmp_path / "r.pem", 0)


def test_the_environment_reaches_into_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_DICOM__TLS__PORT", "4711")
    monkeypatch.setenv("BROKER_DICOM__PLAIN", "false")
    monkeypatch.setenv("BROKER_DICOM__PRIVATE_SOP_CLASSES", '["1.2.3", "2.999.1"]')
    found = settings.load(write(tmp_path, TLS)).dicom
    assert found.tls is not None
    assert (found.tls.port, found.plain, found.private_sop_classes) == (4711, False, ("1.2.3", "2.999.1"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BROKER_DICOM__TLS__PROT", "1", "unknown key dicom.tls.prot"),
        ("BROKER_DICOM__TLS__PORT__X", "1", "unknown key dicom.tls.port.x"),
        ("BROKER_DICOM__TLS__PORT", "many", "BROKER_DICOM__TLS__PORT: dicom.tls.port"),
        ("BROKER_DICOM__TLS", "yes", "BROKER_DICOM__TLS"),
        ("BROKER_DICOM__PRIVATE_SOP_CLASSES", "1.2.3", "BROKER_DICOM__PRIVATE_SOP_CLASSES"),
        ("BROKER_DICOM__USER_IDENTITY", "sometimes", "BROKER_DICOM__USER_IDENTITY"),
        ("BROKER_HL7__LISTENER__PORT", "1", "unknown key hl7.listener.port"),
        ("BROKER_LIMITS__TLS_HANDSHAKE_TIMEOUT", "0", "BROKER_LIMITS__TLS_HANDSHAKE_TIMEOUT"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        settings.load(write(tmp_path, TLS))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dicom]\nplain = false\n", "plain: false needs [dicom.tls]"),
        ("[dicom.tls]\ncertificate = 'c'\n", "dicom.tls.key: is required"),
        (TLS + "prot = 1\n", "dicom.tls.prot: unknown key"),
        (TLS + "port = 65536\n", "dicom.tls.port"),
        ("[dicom]\ntls = true\n", "dicom.tls"),
        ("[dicom]\nprivate_sop_classes = '1.2.3'\n", "dicom.private_sop_classes"),
        ("[dicom]\nprivate_sop_classes = ['1.2.840.10008.1.1']\n", "not a storage SOP class"),
        ("[dicom]\nprivate_sop_classes = ['1.2.840.10008.5.1.4.31']\n", "not a storage SOP class"),
        ("[dicom]\nprivate_sop_classes = ['1.02']\n", "leading zeros"),
        ("[dicom]\nprivate_sop_classes = ['1']\n", "a UID is"),
        ('[dicom]\nprivate_sop_classes = ["1.2.3\\n"]\n', "a UID is"),
        (f"[dicom]\nprivate_sop_classes = ['1.{'2' * 63}']\n", "64 characters"),
    ],
)
def test_a_mistake_in_the_file_names_the_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings.load(write(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_class_newer_than_this_program_may_be_named(tmp_path: Path) -> None:
    uid = "1.2.840.10008.5.1.4.1.1.999.1"
    found = settings.load(write(tmp_path, f"[dicom]\nprivate_sop_classes = ['{uid}']\n"))
    assert found.dicom.private_sop_classes == (uid,)
