"""Configuration: precedence, paths, and mistakes that name their key in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import settings
from broker.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    file = folder / "broker.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_those_of_the_contract() -> None:
    found = settings.load()
    assert (found.dicom.ae_title, found.dicom.host, found.dicom.port, found.dicom.accept) == (
        "BROKER", "127.0.0.1", 11112, "known",
    )  # fmt: skip
    assert (found.hl7.port, found.hl7.accept, found.hl7.on_transient) == (2575, "any", "close")
    assert (found.hl7.answers, found.orders.keep_cancels_days) == ("ack", 30)
    assert (found.web.host, found.web.port) == ("127.0.0.1", 8080)
    assert found.service.data_dir == Path.cwd() / "broker-data"
    assert found.database_url() == f"sqlite:///{Path.cwd() / 'broker-data' / 'broker.db'}"
    assert found.limits.hl7_message == 10_485_760


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "[dicom]\nport = 104\nae_title = 'FILE'\n")
    monkeypatch.setenv("BROKER_DICOM__PORT", "4242")
    found = settings.load(file)
    assert (found.dicom.port, found.dicom.ae_title, found.dicom.host) == (4242, "FILE", "127.0.0.1")


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "s.toml").write_text("")
    found = settings.load(write(tmp_path, "[service]\ndata_dir = 'd'\nsite = 's.toml'\n"))
    assert found.service.data_dir == tmp_path / "d"
    assert found.service.site == tmp_path / "s.toml"
    absolute = settings.load(write(tmp_path, f"[service]\ndata_dir = '{tmp_path}/x'\n"))
    assert absolute.service.data_dir == tmp_path / "x"


def test_more_hl7_listeners_have_the_same_keys(tmp_path: Path) -> None:
    found = settings.load(write(tmp_path, "[hl7]\nport = 1\n[[hl7.listener]]\nport = 2\non_transient = 'AE'\n"))
    assert [(door.port, door.on_transient) for door in found.hl7.listeners()] == [(1, "close"), (2, "AE")]
    assert [door.name for door in found.hl7.listeners()] == ["hl7-1", "hl7-2"]


def test_files_of_tls_of_hl7_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    tls = "certificate = 'c.pem'\nkey = '/k.pem'\nca = 'ca/ca.pem'\n"
    text = (
        f"[hl7.tls]\n{tls}client_names = ['a']\n[[hl7.listener]]\nname = 'b'\nplain = false\n[hl7.listener.tls]\n{tls}"
    )
    first, second = settings.load(write(tmp_path, text)).hl7.listeners()
    for door in (first, second):
        assert door.tls is not None
        assert (door.tls.certificate, door.tls.key) == (tmp_path / "c.pem", Path("/k.pem"))
    assert (first.plain, second.plain, second.name) == (True, False, "b")


def test_the_example_holds_every_key_with_its_default() -> None:
    found = settings.load(Path(__file__).parents[3] / "config" / "broker.toml")
    assert found.hl7 == settings.Hl7Section()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[dicom]\nprot = 1\n", "dicom.prot: unknown key"),
        ("[nonsense]\nx = 1\n", "nonsense: unknown key"),
        ("[dicom]\nport = 70000\n", "dicom.port"),
        ("[dicom]\nport = 'many'\n", "dicom.port"),
        ("[dicom]\nae_title = ''\n", "dicom.ae_title: an AE title is 1 to 16"),
        ("[dicom]\nae_title = 'SEVENTEEN CHARS !'\n", "dicom.ae_title: an AE title is 1 to 16"),
        ("[dicom]\nae_title = 'A\\\\B'\n", "dicom.ae_title"),
        ("[dicom]\naccept = 'some'\n", "dicom.accept"),
        ("[hl7]\non_transient = 'AA'\n", "hl7.on_transient"),
        ("[[hl7.listener]]\nprot = 2\n", "hl7.listener.0.prot: unknown key"),
        ("[hl7]\nname = 'a b'\n", "hl7.name"),
        ("[hl7]\nplain = false\n", "hl7: plain: false needs a table tls"),
        ("[hl7]\nname='a'\n[[hl7.listener]]\nname = 'a'\n", "hl7: listener.0.name: 'a' is the name of another"),
        ("[[hl7.listener]]\nname = 'hl7-1'\n", "hl7: listener.0.name: 'hl7-1' is the name of another"),
        ("[hl7]\nprocessing_ids = []\n", "hl7.processing_ids"),
        ("[hl7]\nprocessing_ids = ['X']\n", "hl7.processing_ids.0"),
        ("[hl7]\noptional_fields = ['MSH-10']\n", "hl7.optional_fields.0"),
        ("[hl7]\nstrict = 'x'\n", "hl7.strict"),
        ("[hl7]\nreceiving = ['|F']\n", "hl7: receiving: each entry is APPLICATION or"),
        ("[[hl7.listener]]\nreceiving = ['A|B|C']\n", "hl7.listener.0: receiving: each entry is APPLICATION or"),
        ("[hl7]\ndefault_version = '3'\n", "hl7.default_version"),
        ("[hl7]\nduplicates = 'x'\n", "hl7.duplicates"),
        ("[hl7]\ncharset_errors = 'x'\n", "hl7.charset_errors"),
        ("[hl7]\nsegment_ends = 'lf'\n", "hl7.segment_ends"),
        ("[hl7.tls]\ncertificate = 'c'\n", "hl7.tls.key: is required"),
        ("[[hl7.listener]]\n[hl7.listener.tls]\nprot = 1\n", "hl7.listener.0.tls"),
        ("[service]\nworkers = 2\n", "service.workers"),
        ("[service]\nworkers = 0\n", "service.workers"),
        ("[service]\ntimezone = 'Europe/Atlantis'\n", "service.timezone: unknown time zone"),
        ("[service]\ntimezone = '../../etc/passwd'\n", "service.timezone: unknown time zone"),
        ("[service]\nsite = 'gone.toml'\n", "service.site: no such file"),
        ("[database]\nurl = 'mysql://x'\n", "database.url"),
        ("[delivery]\nretry_first = 0\n", "delivery.retry_first"),
        ("[log]\nlevel = 'trace'\n", "log.level"),
        ("dicom = 3\n", "dicom"),
        ("[dicom\n", "not valid TOML"),
    ],
)
def test_mistake_in_the_file_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        settings.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dicom]\nport = 70000\n", "dicom.port: must be at most 65535"),
        ("[dicom]\nport = 'many'\n", "dicom.port: must be a whole number"),
        ("[dicom]\naccept = 'some'\n", "dicom.accept: must be 'known' or 'any'"),
        ("[dicom]\nplain = 'perhaps'\n", "dicom.plain: must be true or false"),
        ("[hl7]\nprocessing_ids = []\n", "hl7.processing_ids: must not be empty"),
        ("[hl7]\napplication = ''\n", "hl7.application: must not be empty"),
        ("[hl7]\ndefault_version = '3'\n", "hl7.default_version: an HL7 version such as 2.3.1"),
        ("[delivery]\nretry_first = 0\n", "delivery.retry_first: must be more than 0"),
        ("[limits]\npdu_timeout = inf\n", "limits.pdu_timeout: must be at most"),
        ("dicom = 3\n", "dicom: must be a table"),
        ("[dicom]\nprivate_sop_classes = '1.2.3'\n", "dicom.private_sop_classes: must be a list"),
    ],
)
def test_a_mistake_is_told_in_plain_words(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        settings.load(file)
    assert str(caught.value).startswith(f"{file}: {words}")


@pytest.mark.parametrize(("size", "good"), [(-1, False), (0, True), (1024**2, True), (1024**2 + 1, False)])
def test_small_objects_have_at_most_a_mebibyte(tmp_path: Path, size: int, good: bool) -> None:
    file = write(tmp_path, f"[limits]\nsmall_object = {size}\n")
    if good:
        assert settings.load(file).limits.small_object == size
        return
    with pytest.raises(ConfigurationError, match=r"limits\.small_object"):
        settings.load(file)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.toml: No such file"):
        settings.load(tmp_path / "gone.toml")


@pytest.mark.parametrize("name", ["BROKER_DICOM__PROT", "BROKER_NONSENSE__X", "BROKER_WEB__HOST__X"])
def test_misspelt_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=name):
        settings.load()


def test_wrong_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_DICOM__PORT", "many")
    with pytest.raises(ConfigurationError, match="BROKER_DICOM__PORT"):
        settings.load()


def test_secrets_do_not_stand_in_error_texts(tmp_path: Path) -> None:
    file = write(tmp_path, "[database]\nurl = 'mysql://user:hunter2@host/x'\n[web]\nport = 'hunter2'\n")
    with pytest.raises(ConfigurationError) as caught:
        settings.load(file)
    assert "hunter2" not in str(caught.value)
