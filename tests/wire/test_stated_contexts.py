"""What the conformance statement says is what the DICOM door negotiates, and what the broker proposes to its peers."""

from __future__ import annotations

import json
import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from support.conformance import stated
from support.conformance.stated import Pair
from support.dicom.asking import Asking
from support.dicom.commitments import ask, request
from support.dicom.objects import Encoded, fresh_uid
from support.dicom.raw import RawScu
from support.dicom.raw_scp import RawScp
from support.mpps.performed import creation, final, modality, unscheduled
from support.peers.tools import wait_until
from support.service.site import Site

from broker.conformance.sections import associations
from broker.dicom import uids
from broker.dicom.dimse.served import served

PRIVATE, UNKNOWN = "1.2.276.0.7230010.3.1.0.1", "2.999.7.7"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
JPEG = "1.2.840.10008.1.2.4.50"
IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip
SENT = [(CT, IMPLICIT), (CT, EXPLICIT), (CT, DEFLATED), (CT, BIG), (CT, JPEG), (MR, EXPLICIT), (PRIVATE, IMPLICIT)]
MAX, SOON = 128, 30
CHUNK = 68  # bytes before the items of an association PDU
SITE = "\n".join(
    f'[[node]]\nname = "{name}"\nkind = "dicom"\nae_title = "{name.upper()}"\nhost = "127.0.0.1"\nport = {{port}}\n'
    f'roles = ["{role}"]\n' + ('commitment = "ask"\n' if name == "pacs" else "")
    for name, role in (
        ("pacs", "destination"),
        ("ct", "modality"),
        ("ppsm", "mpps"),
        ("told", "mpps-notification"),
        ("other", "worklist"),
    )
)
RULES = '[default]\naction = "send"\nsend = ["pacs"]\n'


@dataclass
class Asked:
    """An association that the broker has asked for."""

    contexts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    roles: dict[str, tuple[int, int]] = field(default_factory=dict)  # SCU, SCP by abstract syntax
    items: set[int] = field(default_factory=set)  # kinds in the user information
    max_length: int = 0
    implementation: str = ""

    def pairs(self) -> set[tuple[str, str, str]]:
        """Abstract syntax, transfer syntax, the role that the broker wants."""
        names = {(1, 0): "SCU", (0, 1): "SCP", (1, 1): "both"}
        return {
            (abstract, syntax, names[self.roles.get(abstract, (1, 0))])
            for abstract, syntaxes in self.contexts
            for syntax in syntaxes
        }


class Capture:
    """A peer that notes what is proposed to each AE title, and says that it is busy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_title: dict[str, list[Asked]] = {}

    def serve(self, peer: RawScu) -> None:
        """One connection."""
        kind, body = peer.pdu()
        if kind == 1:
            with self._lock:
                self._by_title.setdefault(body[4:20].decode().strip(), []).append(_asked(body))
            peer.send(b"\x03\0\0\0\0\x04\0\x02\x03\x01")

    def asked(self, title: str) -> list[Asked]:
        """What was asked of a title."""
        with self._lock:
            return list(self._by_title.get(title, ()))


def _items(data: bytes, position: int = 0) -> Iterator[tuple[int, bytes]]:
    while position < len(data):
        kind, _, length = struct.unpack_from(">BBH", data, position)
        yield kind, data[position + 4 : position + 4 + length]
        position += 4 + length


def _asked(body: bytes) -> Asked:
    """An A-ASSOCIATE-RQ, read by the tables of PS3.8 9.3.2 and annex D, and PS3.7 D.3.3."""
    found = Asked()
    for kind, data in _items(body, CHUNK):
        if kind == 0x20:
            inner = [(one, value.decode()) for one, value in _items(data, 4)]
            (abstract,) = (value for one, value in inner if one == 0x30)
            found.contexts.append((abstract, tuple(value for one, value in inner if one == 0x40)))
        elif kind == 0x50:
            for item, value in _items(data):
                found.items.add(item)
                if item == 0x54:
                    (size,) = struct.unpack_from(">H", value)
                    found.roles[value[2 : 2 + size].decode()] = (value[2 + size], value[3 + size])
                elif item == 0x51:
                    (found.max_length,) = struct.unpack(">I", value)
                elif item == 0x52:
                    found.implementation = value.decode()
    return found


@dataclass
class Running:
    """A broker, the peer that all its nodes are, and its statement."""

    site: Site
    capture: Capture
    statement: dict[str, Any]
    before: dict[str, Any]  # the statement of the command before the first start


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("stated")
    capture = Capture()
    config = {"dicom": {"private_sop_classes": [PRIVATE]}}
    with RawScp(capture.serve) as scp:
        site = Site(folder, site=SITE.format(port=scp.port) + RULES, config=config)
        before = _stated(site)
        assert not site.data.exists(), "the command has made something"
        with site:
            yield Running(site, capture, _stated(site), before)


def _stated(site: Site) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(site.command("conformance", "--json").stdout)
    return statement


def _answers(body: bytes) -> tuple[dict[int, tuple[int, str]], dict[int, bytes]]:
    """Result and transfer syntax of each context of an A-ASSOCIATE-AC (PS3.8 table 9-18), and the user information."""
    answers, said = {}, {}
    for kind, data in _items(body, CHUNK):
        if kind == 0x21:
            (size,) = struct.unpack_from(">H", data, 6)
            answers[data[0]] = data[2], data[8 : 8 + size].decode()
        elif kind == 0x50:
            said = dict(_items(data))
    return answers, said


def _accepted(port: int, pairs: list[Pair]) -> set[Pair]:
    accepted = set()
    for start in range(0, len(pairs), MAX):
        chunk = pairs[start : start + MAX]
        with RawScu(port) as peer:
            kind, body = peer.associate(chunk)
            assert kind == 2
            answers, _ = _answers(body)
            assert set(answers) == {2 * n + 1 for n in range(len(chunk))}
            for number, pair in enumerate(chunk):
                result, syntax = answers[2 * number + 1]
                if result == 0:
                    assert syntax == pair[1]
                    accepted.add(pair)
            peer.release()
    return accepted


def test_the_door_accepts_what_the_statement_says_and_nothing_else(running: Running) -> None:
    """Every SOP class and transfer syntax of PS3.6, retired, private and unknown ones."""
    said = stated.accepted(running.statement)
    classes = {uid for uid, entry in UID_dictionary.items() if "SOP Class" in entry[1]}
    classes |= {uid for uid, _ in said} | {PRIVATE, UNKNOWN}
    syntaxes = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    syntaxes |= uids.TRANSFER_SYNTAXES | {UNKNOWN}
    pairs = sorted((uid, syntax) for uid in classes for syntax in syntaxes)
    assert said < set(pairs)
    assert _accepted(running.site.dicom, pairs) == said
    assert said == {
        (uid, syntax)
        for offer in served((PRIVATE,), commits=True)
        for uid in offer.classes
        for syntax in offer.syntaxes
    }


def test_the_first_of_several_transfer_syntaxes_in_the_table_is_taken(running: Running) -> None:
    for row in stated.table(running.statement, associations.ACCEPTED_CONTEXTS):
        if row["Service"] == "Storage":
            continue
        sop_class = stated.uid(row["Abstract syntax"])
        first, second = (syntax for uid, syntax in _in_order(running.statement) if uid == sop_class)
        with RawScu(running.site.dicom) as peer:
            assert peer.send(_two_syntaxes(sop_class, second, first))
            kind, body = peer.pdu()
            assert kind == 2
            assert _answers(body)[0] == {1: (0, first)}
            peer.release()


def _in_order(statement: dict[str, Any]) -> list[Pair]:
    rows = stated.table(statement, associations.ACCEPTED_CONTEXTS)
    return [
        (stated.uid(row["Abstract syntax"]), stated.uid(row["Transfer syntax"]))
        for row in rows
        if row["Service"] != "Storage"
    ]


def _two_syntaxes(abstract: str, *syntaxes: str) -> bytes:
    def item(kind: int, data: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(data)) + data

    context = bytes((1, 0, 0, 0)) + item(0x30, abstract.encode())
    context += b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"2.999.1")
    body = b"\0\x01\0\0" + b"BROKER".ljust(16) + b"RAW".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def test_the_parameters_of_the_acceptor(running: Running) -> None:
    said = {row["Parameter"]: row["Value"] for row in stated.table(running.statement, "Parameters in force")}
    with RawScu(running.site.dicom) as peer:
        _, body = peer.associate([(uids.VERIFICATION, IMPLICIT)])
        _, user = _answers(body)
        peer.release()
    (length,) = struct.unpack(">I", user[0x51])
    assert said["Maximum length of a PDU received, as acceptor"] == f"{length:,}"
    assert said["Implementation class UID"] == user[0x52].decode()
    assert said["Implementation version name"] == user[0x55].decode()
    assert "no asynchronous operations" in said["Asynchronous operations window"]
    assert 0x53 not in user


def test_objects_are_proposed_as_the_statement_says(running: Running) -> None:
    for sop_class, syntax in SENT:
        with RawScu(running.site.dicom) as peer:
            peer.associate([(sop_class, syntax)])
            assert peer.store(_object(sop_class, syntax)) == 0
            peer.release()
    wanted = {pair for sent in SENT for pair in stated.proposed_for(running.statement, sent)}

    def proposed() -> set[Pair]:
        return {pair[:2] for asked in running.capture.asked("PACS") for pair in asked.pairs()}

    wait_until(lambda: proposed() >= wanted, SOON, "all objects were offered to the destination")
    asks = stated.proposed(running.statement, "Asking archives for storage commitment")
    for asked in running.capture.asked("PACS"):
        if asked.pairs() == asks:
            continue
        assert {pair[:2] for pair in asked.pairs()} <= wanted
        assert {role for _, _, role in asked.pairs()} == {"SCU"}
        assert {len(syntaxes) for _, syntaxes in asked.contexts} == {1}
        _plain(running, asked)


def _object(sop_class: str, syntax: str) -> Encoded:
    """A small object without pixel data."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.StudyInstanceUID = sop_class, fresh_uid(), "2.999.5"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
    write_dataset(buffer, ds)
    data = buffer.getvalue()
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-15)
        data = packer.compress(data) + packer.flush()
    return Encoded(sop_class, ds.SOPInstanceUID, syntax, data + b"\0" * (len(data) % 2))


def test_performed_steps_are_passed_on_and_told_as_the_statement_says(running: Running) -> None:
    with modality(running.site.dicom) as performing:
        step = performing.create(creation(unscheduled()))
        assert step.Status == 0
        assert performing.change(final(), step.AffectedSOPInstanceUID).Status == 0
    for title, activity in (("PPSM", "Passing on of MPPS"), ("TOLD", "Notification of MPPS")):
        wait_until(lambda title=title: running.capture.asked(title), SOON, f"{title} was called")  # type: ignore[misc]
        for asked in running.capture.asked(title):
            assert asked.pairs() == stated.proposed(running.statement, activity)
            _plain(running, asked)


def test_results_of_storage_commitment_are_told_and_asked_for_as_the_statement_says(running: Running) -> None:
    asking, transaction = Asking(running.site.dicom, "BROKER", "CT"), fresh_uid()
    assert ask(asking, request([(CT, "2.999.1")], transaction)) == 0
    assert ask(asking, request([(CT, "2.999.2")], transaction)) == 0  # a duplicate has its result at once
    wait_until(lambda: running.capture.asked("CT"), SOON, "the modality was called")
    for asked in running.capture.asked("CT"):
        assert asked.pairs() == stated.proposed(running.statement, "Results of storage commitment")
        _plain(running, asked)
    with sqlite3.connect(running.site.data / "broker.db", timeout=20) as database:
        database.execute(
            "insert into job (kind, lane, subject, detail, state, priority, due_at, attempts, failures, lease_owner,"
            " lease_until, fence, last_error, created_at) values"
            " ('commitment-ask', 'commitment:pacs', 1, '{}', 'ready', 5, 0, 0, 0, '', 0, 0, '', 0)"
        )
    wanted = stated.proposed(running.statement, "Asking archives for storage commitment")
    assert wanted
    wait_until(lambda: wanted in [one.pairs() for one in running.capture.asked("PACS")], SOON, "the archive was called")


def test_a_worklist_is_imported_and_a_node_tested_as_the_statement_says(running: Running) -> None:
    assert running.site.command("worklist", "import", "other").returncode == 1
    for asked in running.capture.asked("OTHER"):
        assert asked.pairs() == stated.proposed(running.statement, "Import of the worklist")
        _plain(running, asked)
    before = len(running.capture.asked("OTHER"))
    assert before
    assert running.site.command("nodes", "test", "other").returncode == 1
    (tested,) = running.capture.asked("OTHER")[before:]
    echo = stated.proposed(running.statement, "Test of a system")
    assert tested.pairs() == echo | stated.proposed(running.statement, "Import of the worklist")
    _plain(running, tested)


def _plain(running: Running, asked: Asked) -> None:
    """Maximum length and implementation as stated; neither extended negotiation nor a window nor an identity."""
    said = {row["Parameter"]: row["Value"] for row in stated.table(running.statement, "Parameters in force")}
    assert said["Maximum length of a PDU received, as requestor"] == f"{asked.max_length:,}"
    assert said["Implementation class UID"] == asked.implementation
    assert asked.items - {0x54} == {0x51, 0x52, 0x55}


def test_the_command_says_the_same_with_and_without_a_running_broker(running: Running) -> None:
    running.site.stop()
    try:
        stopped = _stated(running.site)
    finally:
        running.site.start()
    dated = [{**one, "made_on": ""} for one in (running.before, running.statement, stopped, _stated(running.site))]
    assert dated[0] == dated[1] == dated[2] == dated[3]
    assert "PPSM" in json.dumps(dated[0])
