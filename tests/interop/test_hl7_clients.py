"""HL7 clients of other makers send a hundred messages each, good and bad ones, and read the acknowledgements."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hl7
import hl7.client
import pytest
from hl7apy.core import Message
from hl7apy.parser import parse_message
from support.peers.tools import ENVIRONMENT, node_modules, tool
from support.service.site import Site, order

SCRIPT = Path(__file__).parents[1] / "support" / "foreign" / "hl7_clients.js"
COUNT = 100
Sent = list[tuple[str, str, str]]  # control id, message, the code it must be answered with
Answers = list[tuple[str, str]]  # code and control id


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hl7")) as running:
        yield running


def messages(base: int) -> Sent:
    """A hundred different ones: orders, changes, cancels; one in five cannot be used, in several ways."""
    found: Sent = []
    for number in range(base, base + COUNT):
        good = order(number, control_id=f"C{number}")
        bad = {
            0: ("AE", good.replace(f"QZPAT{number}^^^HOSPITAL", "")),  # no patient identifier
            1: ("AR", good.replace("OMI^O23^OMI_O23", "MDM^T02")),
            2: ("AR", good.replace("|P|2.5.1", "|T|2.5.1")),
            3: ("AE", good.replace("20300312103000", "20301399")),  # no date
        }
        code, text = bad[number // 5 % 4] if number % 5 == 4 else ("AA", good)
        if number % 10 == 6:
            text = order(number - 1, control="CA", status="CA", control_id=f"C{number}")
        found.append((f"C{number}", text, code))
    return found


def npm(library: str) -> Callable[[int, Sent], Answers]:
    """A client of npm."""

    def send(port: int, sent: Sent) -> Answers:
        environment = {**ENVIRONMENT, "NODE_PATH": node_modules(library)}
        done = subprocess.run(
            [tool("node"), str(SCRIPT), library, str(port)], input=json.dumps([text for _, text, _ in sent]),
            env=environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return [(code, identity) for code, identity in json.loads(done.stdout)]

    return send


def python_hl7(port: int, sent: Sent) -> Answers:
    """The client class of python-hl7, which reads one packet as an answer."""
    found: Answers = []
    with hl7.client.MLLPClient("127.0.0.1", port) as client:
        for _, text, _ in sent:
            raw = client.send_message(hl7.parse(text)).decode()
            assert raw[0] == "\x0b"
            assert raw.endswith("\x1c\r")
            answer = hl7.parse(raw[1:-2])
            found.append((str(answer["MSA.F1"]), str(answer["MSA.F2"])))
    return found


def mllp_send(port: int, sent: Sent) -> Answers:
    """Its command: all messages of a file over one connection."""
    with tempfile.NamedTemporaryFile() as file:  # from its standard input it cannot read in Python 3
        file.write("".join(f"\x0b{text}\x1c\r" for _, text, _ in sent).encode())
        file.flush()
        done = subprocess.run(
            [Path(sys.executable).with_name("mllp_send"), "--port", str(port), "--file", file.name, "127.0.0.1"],
            env=ENVIRONMENT, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [hl7.parse(part.strip("\x0b\r\n")) for part in done.stdout.decode().split("\x1c") if part.strip()]
    return [(str(answer["MSA.F1"]), str(answer["MSA.F2"])) for answer in answers]


def hl7apy(port: int, sent: Sent) -> Answers:
    """hl7apy frames the messages and reads the answers; it has no client of its own."""
    found: Answers = []
    with socket.create_connection(("127.0.0.1", port), 20) as connection, connection.makefile("rb") as stream:
        for _, text, _ in sent:
            message = parse_message(text, find_groups=False)
            assert isinstance(message, Message)
            connection.sendall(message.to_mllp().encode())
            raw = b""
            while not raw.endswith(b"\x1c\r"):
                raw += stream.read(1)
            answer = parse_message(raw.decode().strip("\x0b\x1c\r"))
            assert answer.validate()
            found.append((answer.msa.msa_1.value, answer.msa.msa_2.value))
    return found


CLIENTS = {
    "node-hl7-client": npm("node-hl7-client"), "simple-hl7": npm("simple-hl7"), "python-hl7": python_hl7,
    "mllp_send": mllp_send, "hl7apy": hl7apy,
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_a_hundred_messages(name: str, site: Site) -> None:
    base = 1000 * (1 + list(CLIENTS).index(name))
    sent = messages(base)
    found = CLIENTS[name](site.hl7, sent)
    assert found == [(code, identity) for identity, _, code in sent]
    assert len({text for _, text, _ in sent}) == COUNT
    kept = dict(site.rows("select control_id, answer_code from message where control_id like ?", f"C{base // 1000}%"))
    assert kept == {identity: code for identity, _, code in sent}
    good = [number for number in range(base, base + COUNT) if number % 5 != 4 and number % 10 != 6]
    stored = {accession for (accession,) in site.rows("select accession from scheduled_step")}
    assert [number for number in good if f"A{number}" not in stored] == []
