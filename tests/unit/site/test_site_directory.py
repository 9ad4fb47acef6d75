"""Nodes in depth: what site.toml may say, who is calling, which sender is known, who knocks."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from structlog.testing import capture_logs
from support.peers.tools import wait_until

from broker import host_names
from broker.dicom.wire.admission import (
    CALLED_AE_UNKNOWN,
    CALLING_AE_UNKNOWN,
    NODE_BLOCKED,
    NODE_DISABLED,
    NOT_AUTHENTIC,
    ConnectionOrigin,
    Grant,
)
from broker.dicom.wire.negotiation import AssociationRequest
from broker.errors import ConfigurationError
from broker.model.contact import ContactKind
from broker.site import directory as module
from broker.site import knocking
from broker.site.directory import Directory, NodeAdmission
from broker.site.knocking import KnockBook
from broker.site.nodes import Node, parse_nodes
from broker.store.db.pace import FIRST, TARGET

PACS = {
    "name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"],
}  # fmt: skip
CT = {"name": "ct", "kind": "dicom", "ae_title": "CT01", "host": "127.0.0.2", "roles": ["modality"]}
RIS = {"name": "ris", "kind": "hl7", "application": "RIS", "facility": "HOSP", "roles": ["ris"]}


def error(*tables: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_nodes(tables)
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- parsing ---------------------------------------------------------------------------------------------


def test_nodes_become_values() -> None:
    pacs, ct, ris = parse_nodes([PACS, CT, RIS])
    assert pacs == Node(
        name="pacs", kind="dicom", ae_title="PACS", host="127.0.0.1", port=104, roles=frozenset({"destination"})
    )
    assert (ct.port, ct.host) == (0, "127.0.0.2")
    assert (ris.ae_title, ris.application, ris.facility) == ("", "RIS", "HOSP")
    assert parse_nodes([]) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "fax"}, ["kind"]), ({"kind": None}, ["kind"]), ({"ae_title": None}, ["ae_title"]),
        ({"ae_title": "X" * 17}, ["ae_title", "16"]), ({"ae_title": "Ä"}, ["ae_title"]),
        ({"ae_title": "  "}, ["ae_title"]),
        ({"host": ""}, ["host"]), ({"host": None}, ["roles", "host"]), ({"port": None}, ["roles", "port"]),
        ({"port": 0}, ["port"]), ({"port": 65536}, ["port"]), ({"port": "many"}, ["port"]),
        ({"roles": ["boss"]}, ["roles"]), ({"roles": "destination"}, ["roles"]),
        ({"associations": 0}, ["associations"]), ({"associations": 17}, ["associations"]),
        ({"prot": 104}, ["prot", "unknown key"]), ({"name": "../x"}, ["name"]),
        ({"name": "x" * 65}, ["name"]), ({"name": "a:b"}, ["name"]), ({"name": "Größe"}, ["name"]),
        ({"name": ["a"]}, ["name"]), ({"name": "a\nb"}, ["name"]), ({"name": "pacs\n"}, ["name"]),
    ],
)  # fmt: skip
def test_errors_name_node_and_key(change: dict[str, Any], words: list[str]) -> None:
    text = error({key: value for key, value in (PACS | change).items() if value is not None})
    assert text.startswith("node ")
    for word in words:
        assert word in text, text


def test_what_a_kind_needs() -> None:
    assert "application" in error({"name": "ris", "kind": "hl7"})
    assert "roles" in error(RIS | {"roles": ["destination"]})
    assert "used twice" in error(PACS, CT, PACS)
    assert error({"kind": "dicom"}).startswith("node 1")
    assert error(PACS, {"kind": "dicom"}).startswith("node 2")


@pytest.mark.parametrize("bad", ["x", 5, None, ["name"]])
def test_a_node_that_is_no_table(bad: Any) -> None:
    assert error(bad).startswith("node 1")


_scalars = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8)
_values = _scalars | some.lists(_scalars, max_size=2) | some.dictionaries(some.text(max_size=3), _scalars, max_size=2)


@given(some.sampled_from([*PACS, "application", "facility", "associations", "other"]), _values)
def test_any_value_is_understood_or_refused_by_name(key: str, value: Any) -> None:
    try:
        parse_nodes([PACS | {key: value}])
    except ConfigurationError as refused:
        text = str(refused)
    else:
        text = "node"
    assert text.startswith("node")
    assert "\n" not in text


# --- directory -------------------------------------------------------------------------------------------


def caller(found: Directory, ae_title: str, address: str) -> Node | None:
    return next(iter(found.at(found.titled(ae_title), address)), None)


def test_callers_are_bound_to_their_address_where_one_is_given() -> None:
    anywhere = {"name": "mr", "kind": "dicom", "ae_title": "MR01"}
    found = Directory(parse_nodes([PACS, CT, RIS, anywhere]))
    assert caller(found, "CT01", "127.0.0.2") is found.node("ct")
    assert caller(found, "CT01", "127.0.0.1") is None
    assert caller(found, "MR01", "10.9.8.7") is found.node("mr")
    assert caller(found, "ct01", "127.0.0.2") is None
    assert caller(found, "", "127.0.0.2") is None
    assert found.node("nobody") is None


def test_two_nodes_may_share_an_ae_title_at_different_addresses() -> None:
    found = Directory(parse_nodes([CT, CT | {"name": "ct2", "host": "127.0.0.3"}]))
    assert caller(found, "CT01", "127.0.0.3") is found.node("ct2")


def test_addresses_are_compared_by_meaning() -> None:
    found = Directory(parse_nodes([CT | {"host": "0:0:0:0:0:0:0:1"}]))
    assert caller(found, "CT01", "::1") is not None


def test_a_host_name_keeps_its_addresses_while_the_resolver_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [[(0, 0, 0, "", ("10.0.0.1", 0)), (0, 0, 0, "", ("10.0.0.2", 0))]]

    def resolve(*_: Any, **__: Any) -> Any:
        if not answers:
            raise socket.gaierror("no network")
        return answers.pop()

    monkeypatch.setattr(host_names.socket, "getaddrinfo", resolve)
    found = Directory(parse_nodes([CT | {"host": "ct.hospital"}]))
    for _ in range(2):
        assert caller(found, "CT01", "10.0.0.1") is not None
        assert caller(found, "CT01", "10.0.0.2") is not None
        found.resolve()
    answers.append([(0, 0, 0, "", ("10.0.0.3", 0))])
    found.resolve()
    assert caller(found, "CT01", "10.0.0.1") is None
    assert caller(found, "CT01", "10.0.0.3") is not None


def test_a_host_name_that_never_resolved_admits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(host_names.socket, "getaddrinfo", away)
    found = Directory(parse_nodes([CT | {"host": "ct.hospital"}]))
    assert caller(found, "CT01", "10.0.0.1") is None


def test_a_name_that_takes_for_ever_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name server is away: the start, and each change of nodes, waited half a minute for each such name."""
    going, asked = threading.Event(), list[str]()

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        if host.startswith("slow"):
            going.wait(60)
        return [(0, 0, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(host_names.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    slow = [CT | {"name": f"s{n}", "ae_title": f"S{n}", "host": f"slow{n}.hospital"} for n in range(4)]
    with capture_logs() as logged:
        found = Directory(parse_nodes([*slow, CT | {"host": "fast.hospital"}]))
        assert caller(found, "CT01", "10.0.0.1") is not None
        assert caller(found, "S1", "10.0.0.1") is None
        found.resolve()
    assert [line["event"] for line in logged] == ["node.host_names_slow"] * 2
    assert sorted(asked).count("slow0.hospital") == 1  # one look-up of a name goes on, not one for each try
    going.set()
    wait_until(lambda: caller(found, "S1", "10.0.0.1") is not None, 10, "it is known when its addresses are")


def test_a_name_that_cannot_be_one_is_unknown() -> None:
    assert caller(Directory(parse_nodes([CT | {"host": "x" * 64 + ".hospital"}])), "CT01", "10.0.0.1") is None


def test_senders_are_known_by_application_and_facility() -> None:
    found = Directory(parse_nodes([RIS, RIS | {"name": "any", "application": "HIS", "facility": ""},
                                   RIS | {"name": "lab", "application": "LAB", "roles": []}]))  # fmt: skip
    assert found.knows_sender("RIS", "HOSP")
    assert not found.knows_sender("RIS", "OTHER")
    assert found.knows_sender("HIS", "ANYTHING")
    assert not found.knows_sender("LAB", "HOSP")
    assert not found.knows_sender("", "")


# --- admission -------------------------------------------------------------------------------------------


def admit(called: str, calling: str, *, accept: Any = "known", address: str = "127.0.0.2") -> tuple[Any, list[Any]]:
    knocks: list[Any] = []
    admission = NodeAdmission(Directory(parse_nodes([CT])), "BROKER", accept, lambda *who: knocks.append(who))
    return admission.admit(AssociationRequest(called, calling, ()), ConnectionOrigin(address)), knocks


def test_a_known_caller_enters() -> None:
    assert admit("BROKER", "CT01") == (Grant(node=True), [])


def test_an_unknown_caller_knocks() -> None:
    assert admit("BROKER", "CT02") == (CALLING_AE_UNKNOWN, [("CT02", "127.0.0.2", [], "")])
    assert admit("BROKER", "CT01", address="127.0.0.9") == (NOT_AUTHENTIC, [("CT01", "127.0.0.9", [], "")])
    assert admit("BROKER", "CT02", accept="any") == (Grant(), [("CT02", "127.0.0.2", [], "")])
    assert admit("BROKER", "CT01", accept="any", address="127.0.0.9") == (Grant(node=True), [])


@pytest.mark.parametrize("called", ["", "OTHER", "broker", "BROKER2", "../BROKER"])
def test_ul14_a_wrong_called_title_is_refused_whoever_calls(called: str) -> None:
    for accept in ("known", "any"):
        knock = ("CT01", "127.0.0.2", [], called or "(empty)")
        assert admit(called, "CT01", accept=accept) == (CALLED_AE_UNKNOWN, [knock])
        assert admit(called, "<b>", accept=accept) == (CALLED_AE_UNKNOWN, [("<b>", *knock[1:])])


@pytest.mark.parametrize("calling", ["", "A\x00B", "A\x1bB", "A\nB", "Ä", "A\\B", "\x7f"])
def test_ul11_titles_that_cannot_be_are_refused_and_not_remembered(calling: str) -> None:
    for accept in ("known", "any"):
        assert admit("BROKER", calling, accept=accept) == (CALLING_AE_UNKNOWN, [])


@pytest.mark.parametrize("calling", ["<b>CT01</b>", "<script>", "CT>1", "'; --", '"&amp;"', "%s{{7*7}}", "../CT", "!~"])
def test_every_title_that_dicom_allows_is_remembered(calling: str) -> None:
    """VR AE (PS3.5 6.2): the default character repertoire without backslash and control characters."""
    knock = (calling, "127.0.0.2", [], "")
    assert admit("BROKER", calling) == (CALLING_AE_UNKNOWN, [knock])
    enters = "<" not in calling and ">" not in calling  # markup only if a node is named so
    assert admit("BROKER", calling, accept="any") == (Grant() if enters else CALLING_AE_UNKNOWN, [knock])


@pytest.mark.parametrize(("state", "answer"), [("disabled", NODE_DISABLED), ("blocked", NODE_BLOCKED)])
def test_a_node_that_is_disabled_or_blocked_is_refused_and_does_not_knock(state: str, answer: Any) -> None:
    knocks: list[Any] = []
    noted: list[Any] = []
    accepts: tuple[Any, ...] = ("known", "any")
    for accept in accepts:
        found = Directory(parse_nodes([CT | {"state": state}]))
        admission = NodeAdmission(
            found, "BROKER", accept, lambda *who: knocks.append(who), noted=lambda *what: noted.append(what)
        )
        origin = ConnectionOrigin("127.0.0.2")
        assert admission.admit(AssociationRequest("BROKER", "CT01", ()), origin) == answer
        assert not found.is_caller("127.0.0.2")
    assert knocks == []
    assert noted == [("ct", ContactKind.REFUSED, f"node-{state} from 127.0.0.2")] * 2


def test_a_block_of_one_address_leaves_the_others_and_goes_before_a_node_of_any() -> None:
    tables = [CT | {"host": "127.0.0.2"}, CT | {"name": "bad", "host": "127.0.0.9", "state": "blocked"}]
    anywhere = {"name": "all", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}

    def answer(nodes: list[Any], address: str) -> Any:
        admission = NodeAdmission(Directory(parse_nodes(nodes)), "BROKER", "known", lambda *_: None)
        return admission.admit(AssociationRequest("BROKER", "CT01", ()), ConnectionOrigin(address))

    assert answer(tables, "127.0.0.2") == Grant(node=True)
    assert answer(tables, "127.0.0.9") == NODE_BLOCKED
    assert answer([anywhere, tables[1]], "127.0.0.9") == NODE_BLOCKED
    assert answer([anywhere, tables[1]], "127.0.0.3") == Grant(node=True)
    assert answer([anywhere | {"state": "disabled"}, tables[0]], "127.0.0.2") == Grant(node=True)


def test_senders_are_barred_if_all_their_nodes_are() -> None:
    off, other = RIS | {"state": "disabled"}, RIS | {"name": "ris2", "state": "blocked"}
    assert Directory(parse_nodes([RIS])).barred_sender("RIS", "HOSP") == ""
    assert Directory(parse_nodes([off])).barred_sender("RIS", "HOSP") == "disabled"
    assert Directory(parse_nodes([off])).barred_sender("LAB", "HOSP") == ""
    assert Directory(parse_nodes([off, other])).barred_sender("RIS", "HOSP") == "blocked"
    assert Directory(parse_nodes([off, RIS | {"name": "ris2"}])).barred_sender("RIS", "HOSP") == ""


def test_doors_ask_which_addresses_are_known() -> None:
    ris = {"name": "ris", "kind": "hl7", "application": "RIS", "host": "127.0.0.3", "roles": ["ris"]}
    found = Directory(parse_nodes([CT | {"host": "127.0.0.2"}, ris]))
    assert [found.is_caller(address) for address in ("127.0.0.2", "127.0.0.3", "")] == [True, False, False]
    assert [found.is_ris(address) for address in ("127.0.0.2", "127.0.0.3", "")] == [False, True, False]
    found.take([])
    assert not found.is_caller("127.0.0.2")


def test_a_caller_that_fails_to_prove_itself_writes_few_lines() -> None:
    admission = NodeAdmission(Directory(parse_nodes([CT])), "BROKER", "known", lambda *_: None)
    with capture_logs() as logged:
        for number in range(500):
            admission.admit(AssociationRequest("BROKER", "CT01", ()), ConnectionOrigin(f"127.0.0.{3 + number % 2}"))
    assert len(logged) == 2


# --- knocking --------------------------------------------------------------------------------------------


class Recorder:
    """Stands for the database: counts what is written."""

    busy = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.together: list[int] = []
        self.counted = 0

    def execute(self, timed: Any, unit: Any, part: Any) -> tuple[int, float]:
        self.together.append(len(part))
        for call in part:
            self.submit(unit, *call)
        return 0, TARGET * 0.75  # the next step is as large

    def submit(
        self, unit: Any, calling: str, address: str, now: float, calls: int, contexts: list[str], called: str
    ) -> Future[None]:
        self.calls.append((calling, address))
        self.counted += calls
        done: Future[None] = Future()
        done.set_result(None)
        return done


def test_a_scanner_writes_once_a_minute_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(knocking.time, "monotonic", lambda: now[0])
    recorder = Recorder()
    book = KnockBook(recorder)  # type: ignore[arg-type]
    for _ in range(500):
        book.knocked("CT09", "10.0.0.1")
    book.knocked("CT09", "10.0.0.2")
    assert recorder.calls == [("CT09", "10.0.0.1"), ("CT09", "10.0.0.2")]
    now[0] += knocking.INTERVAL
    book.flush()
    assert len(recorder.calls) == 3
    book.knocked("CT09", "10.0.0.1")
    book.flush()
    assert (len(recorder.calls), recorder.counted) == (3, 501)
    book.flush(everything=True)
    assert (len(recorder.calls), recorder.counted) == (4, 502)


def test_many_devices_are_written_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    book = KnockBook(recorder)  # type: ignore[arg-type]
    for number in range(2 * knocking.MAX_REMEMBERED):
        book.knocked(f"X{number // 2}", f"10.0.{number // 80}.1")  # twice: the second call waits
    book.flush(everything=True)
    assert len(recorder.together) > 50
    assert max(recorder.together) == FIRST
    assert recorder.counted == 2 * knocking.MAX_REMEMBERED


def test_ever_new_titles_cost_bounded_memory() -> None:
    recorder = Recorder()
    book = KnockBook(recorder)  # type: ignore[arg-type]
    for number in range(knocking.MAX_REMEMBERED * 2 + 10):
        book.knocked(f"X{number}", "10.0.0.1")
        assert len(book._seen) <= knocking.MAX_REMEMBERED
