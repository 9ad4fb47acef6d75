"""Bad input on every door: a clear answer each time, and the service unharmed afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import ENVIRONMENT, run
from support.service.site import FS, VT, Mllp, Site, order

TIMEOUT = 1.0  # seconds, for stalls; scaled down from a minute


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker for all tests of this file: it must survive every one of them."""
    limits = {"pdu_timeout": TIMEOUT, "hl7_frame_timeout": TIMEOUT, "association_request_timeout": TIMEOUT}
    with Site(tmp_path_factory.mktemp("bad"), config={"limits": limits}) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(site: Site) -> Iterator[None]:
    """After each test the same process takes an order and an image, answers the worklist, and has not grown."""
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    before = process.memory_info().rss
    yield
    number = 1000 + len(site.rows("select id from message"))
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(number))["MSA"][0][1] == "AA"
    assert store(site, ct_slice(1024)) == 0
    found = run("findscu", "-W", "-aec", "BROKER", "-k", f"0008,0050=A{number}", "127.0.0.1", str(site.dicom))
    assert found.stdout.count("Find Response") == 1
    assert process.memory_info().rss - before < 48 * 1024**2
    assert not [child.name() for child in process.children()]


def store(site: Site, item: Encoded) -> int | None:
    """Send one object; its status."""
    with RawScu(site.dicom) as modality:
        assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
        return modality.store(item)


def errors(answer: dict[str, list[list[str]]]) -> list[tuple[str, str]]:
    """Location and code of each ERR of a v2.5.1 acknowledgement."""
    return [(fields[2], fields[3].split("^")[0]) for fields in answer.get("ERR", [])]


# --- HL7 -------------------------------------------------------------------------------------------------


def test_unknown_message_type_is_rejected_not_accepted(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        for kind, code in (("ZZZ^Z01", "200"), ("OMI^O99", "201"), ("ADT^A99", "201"), ("MDM^T02", "200")):
            answer = ris.exchange(order(1).replace("OMI^O23^OMI_O23", kind))
            assert answer["MSA"][0][1] == "AR", kind
            assert errors(answer)[0][1] in {code, "200"}, kind
            assert errors(answer)[0][0].startswith("MSH^1^9"), kind


def test_missing_control_id_is_an_error_with_its_place(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        answer = ris.exchange(order(2, control_id="XXXX").replace("|XXXX|", "||"))
        assert answer["MSA"][0][1] == "AE"
        assert errors(answer) == [("MSH^1^10", "101")]


def test_line_feeds_instead_of_carriage_returns_are_understood_whole(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        answer = ris.exchange(order(3).replace("\r", "\n"))
        assert answer["MSA"][0][1] == "AA"
    assert site.rows("select count(*) from scheduled_step where accession = 'A3'") == [(1,)]


def test_no_end_block_is_closed_without_an_acknowledgement(site: Site) -> None:
    with Mllp(site.hl7) as silent, Mllp(site.hl7) as ris:
        silent.socket.sendall(VT + order(4).encode())
        assert ris.exchange(order(5))["MSA"][0][1] == "AA"  # others go on meanwhile
        assert silent.receive() == b""
    assert site.rows("select count(*) from scheduled_step where accession = 'A4'") == [(0,)]


def test_message_of_20_mb_is_refused_with_an_answer(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        ris.socket.sendall(VT + order(6).encode() + b"NTE|1||")
        try:
            for _ in range(20):
                ris.socket.sendall(b"x" * 1024**2)
            ris.socket.sendall(FS + b"\r")
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("closed before the answer could be read")
        answer = ris.receive()
        assert b"MSA|AE|" in answer
    assert site.rows("select count(*) from scheduled_step where accession = 'A6'") == [(0,)]


def test_garbage_on_the_hl7_port_gets_no_positive_answer(site: Site) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", VT + b"\x00\xff" * 500 + FS + b"\r", os.urandom(5000)):
        with Mllp(site.hl7) as ris:
            ris.socket.sendall(garbage)
            assert b"MSA|AA" not in ris.receive()


# --- DICOM: the rest is in tests/catalogue ---------------------------------------------------------------


def test_wrong_called_ae_title_is_rejected(site: Site) -> None:
    found = run("echoscu", "-aec", "SOMEBODY", "127.0.0.1", str(site.dicom))
    assert found.returncode != 0
    assert "Called AE Title Not Recognized" in found.stdout


# --- configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "site_file", "expected"),
    [
        ("[dicom]\nprot = 1\n", "", ["dicom.prot", "unknown key"]),
        ("[dicom]\nport = 'x'\n", "", ["dicom.port"]),
        ("[dikom]\nport = 1\n", "", ["dikom", "unknown key"]),
        ("[service\n", "", ["not valid TOML"]),
        ("", "[[rule]]\nname = 'to nowhere'\nwhen = { field = 'tag.Modality', value = 'CT' }\nsend = ['pacs']\n",
         ["rule 'to nowhere'", "'pacs'"]),
        ("", "[[node]]\nname = 'a'\nkind = 'dicom'\nae_title = 'A'\nfoo = 1\n", ["node 'a'", "foo"]),
    ],
)  # fmt: skip
def test_configuration_error_is_one_line_and_exit_code_2(
    tmp_path: Path, config: str, site_file: str, expected: list[str]
) -> None:
    (tmp_path / "broker.toml").write_text(config)
    (tmp_path / "site.toml").write_text(site_file)
    done = subprocess.run(
        [sys.executable, "-m", "broker", "serve", "--config", str(tmp_path / "broker.toml")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("configuration error")]
    assert len(lines) == 1
    assert [word for word in expected if word not in lines[0]] == []
    assert "Traceback" not in done.stderr
