"""The page Now drawn from facts: what is most important first, in words of both languages, bounded, and inert."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC

import pytest
from prometheus_client import CollectorRegistry

from broker.admin.status import StatusSource, view_of
from broker.admin.web import now, pages
from broker.admin.web.shell import Shell
from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.status.causes import reason
from broker.status.facts import (
    BrokerFacts,
    CertificateFact,
    DatabaseFact,
    DiskFact,
    DutyFact,
    LaneFact,
    ListenerFact,
    NeedCause,
    NeedFact,
    NodeFact,
    SenderFact,
    TrafficFact,
)
from broker.status.forecast import Forecast
from broker.status.judging import BrokerStatus, judge
from broker.status.rates import Rates
from broker.store.room import Room

NOW = 1_900_000_000.0
WELL = BrokerFacts(
    now=NOW, started_at=NOW - 90_000, version="1.2",
    listeners=(ListenerFact(name="DICOM (BROKER)", address="127.0.0.1:11112", open=True),),
    database=DatabaseFact(kind="sqlite", reachable=True, counted_at=NOW, size=5_000_000, written_at=NOW - 3),
)  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>"


def node(name: str = "pacs", **changes: object) -> NodeFact:
    lane = LaneFact(
        lane=Lane(LaneKind.DELIVER, name), waiting=214, oldest=NOW - 2400, failures=4, since=NOW - 2280,
        next_try=NOW + 60, error="rejected-1-1-7",
    )  # fmt: skip
    fact = NodeFact(name=name, kind="dicom", title="PACS", address="", roles=("destination",), lanes=(lane,))
    return replace(fact, **changes)  # type: ignore[arg-type]


TROUBLE = replace(
    WELL,
    nodes=(
        node("ct1", lanes=(), last_in=NOW - 60, contacts={"query": NOW - 60, "image": NOW - 4000}),
        node(),
        node("gone", kind="", lanes=()),
    ),
    senders=(
        SenderFact(name=f"{HOSTILE}|H", last_at=NOW - 4320, messages=9, expected=40.0, silent=True),
        SenderFact(name="LAB|", last_at=NOW - 60, messages=9, expected=None, silent=False),
    ),
    needs=(
        NeedFact(
            cause=NeedCause.HELD_JOBS, lane="deliver:pacs", node="pacs", count=10_000, more=True,
            what=reason("status-A900"), code="status-A900", oldest=NOW - 7200,
        ),
        NeedFact(cause=NeedCause.HELD_OBJECTS, count=3, what=reason("no-rule-matched"), oldest=NOW - 60),
        NeedFact(cause=NeedCause.KNOCKING, count=2, what=Sentence("they are refused until somebody admits them")),
    ),
    disks=(
        DiskFact(
            holds=("data", "spool"), size=10**12, free=2 * 10**11, mark=5 * 10**9, room=Room.EVERYTHING,
            forecast=Forecast(True, NOW + 5 * 3600),
        ),
    ),
    certificates=(CertificateFact(place="dicom.tls", ends_at=NOW + 12 * 86_400),),
    duties=(DutyFact(name="purge", last_at=NOW - 60, seconds=1, failures=2, error="OSError at sweep.py:9"),),
    exams={"SCHEDULED": 5, "ARRIVED": 2, "COMPLETED": 3},
    traffic=TrafficFact(accepted=5, refused=0, stalls=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def shell() -> Shell:
    return Shell(pages.links(), UTC)


@pytest.fixture(autouse=True)
def _at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)


def drawn(shell: Shell, facts: BrokerFacts, language: str = "en") -> str:
    """Both live regions as text."""
    source = StatusSource(_never, CollectorRegistry(), Rates(), UTC)
    view = now.view_of(BrokerStatus(facts, judge(facts)), source, frozenset({"/nodes", "/nodes/knocking"}))
    whole = "".join(shell.draw(f"pages/_{region}.html", language, {"view": view}) for region in ("verdict", "parts"))
    assert HOSTILE not in whole
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", whole)).replace("&lt;", "<").replace("&gt;", ">")


async def _never() -> BrokerStatus:
    raise AssertionError


def test_all_well_says_what_that_means(shell: Shell) -> None:
    text = drawn(shell, WELL)
    assert text.startswith(" All well Nothing is down, waits too long, is held or full. As of ")
    assert "Nothing waits for a person." in text
    assert "No nodes yet" in text


def test_trouble_is_told_in_words_with_times(shell: Shell) -> None:
    text = drawn(shell, TROUBLE)
    told = [
        "Needs attention",
        "pacs is down since 17:08 (38 min): it rejects the association: it is not called by the AE title that is"
        " configured here (rejected-1-1-7) (images: 214 waiting)",
        "pacs: 10,000 or more deliveries are held: it refuses it: the object does not fit its SOP class (status A900)",
        "3 objects are held: no rule says where it goes",
        f"{HOSTILE}|H is silent since 16:34 (1 h 12 min): about 40 messages usually come in that time",
        "housekeeping fails: purge, 2 times in a row",
        "the disk of data, spool will be full at 22:46 (in 5 h) if it goes on so",
        "the certificate of dicom.tls ends in 12 d",
        "10,000+ deliveries held · pacs",
        "broker queue held --lane deliver:pacs",
        "next try in 1 min",
        "full at 22:46, in 5 h",
        "200 GB of 1 TB free",
        "held up 3 times in the last hour",
        "none yet: this broker makes no backups by itself",
    ]
    assert [part for part in told if part not in text] == []
    assert text.index("pacs destination") < text.index("ct1 destination")  # the troubled one first


def test_nothing_of_it_stays_english_in_french(shell: Shell) -> None:
    text = drawn(shell, TROUBLE, "fr")
    for words in (
        "À surveiller", "pacs est en panne depuis 17:08", "il rejette l’association", "10 000",
        "ou plus envois sont retenus",
        "est silencieux depuis 16:34", "Qui envoie des demandes", "200 Go libres sur 1 To", "prochain essai dans",
    ):  # fmt: skip
        assert words in text.replace("\u202f", " ").replace("\xa0", " "), words
    english = (" is ", " the ", " since ", " waiting", " are held", " wait ")
    assert [words for words in english if words in text] == []


def test_the_page_is_bounded_however_many_nodes_there_are(shell: Shell) -> None:
    many = replace(TROUBLE, nodes=(*(node(f"n{n}", lanes=()) for n in range(500)), node("zz-down")))
    text = drawn(shell, many)
    assert "zz-down" in text
    assert "461 more nodes are not shown" in text
    assert len(text) < 20_000


def test_rest_tells_the_same(shell: Shell) -> None:
    status = BrokerStatus(TROUBLE, judge(TROUBLE))
    view = view_of(status, UTC)
    assert view.health == "degraded"
    assert [finding.text for finding in view.findings] == [
        finding.text.english(UTC, NOW) for finding in status.verdict.findings
    ]
    assert [(each.name, each.state) for each in view.nodes] == [("ct1", "well"), ("pacs", "down"), ("gone", "new")]
    assert view.nodes[1].lanes[0].why.startswith("it rejects the association: it is not called by")
    assert [(need.cause, need.command) for need in view.needs] == [
        ("held-jobs", "broker queue held --lane deliver:pacs"), ("held-objects", ""),
        ("knocking", "broker nodes knocking"),
    ]  # fmt: skip
    assert (view.last_backup, view.disks[0].room) == (None, 0)


def test_what_waits_is_one_click_from_its_list_where_there_is_one() -> None:
    source = StatusSource(_never, CollectorRegistry(), Rates(), UTC)
    status = BrokerStatus(TROUBLE, judge(TROUBLE))
    for paths, expected in (
        (
            frozenset({"/holds", "/nodes/knocking"}),
            ["/holds?lane=deliver%3Apacs&error=status-A900", "", "/nodes/knocking"],
        ),
        (frozenset[str](), ["", "", ""]),
    ):
        assert [need.path for need in now.view_of(status, source, paths).needs] == expected


def test_what_is_wrong_with_a_destination_is_one_click_from_its_queue() -> None:
    source = StatusSource(_never, CollectorRegistry(), Rates(), UTC)
    paused = NeedFact(cause=NeedCause.PAUSED, count=1, what=Sentence("gets nothing"), node="pacs")
    facts = replace(TROUBLE, needs=(*TROUBLE.needs, paused))
    for paths, path in ((frozenset({"/queue", "/nodes"}), "/queue?node=pacs"), (frozenset({"/nodes"}), "/nodes/pacs")):
        view = now.view_of(BrokerStatus(facts, judge(facts)), source, paths)
        assert {where for _, finding, where in view.findings if finding.node == "pacs"} == {path}
        assert {row.fact.name: row.queue for row in view.nodes}["ct1"] == ""
        assert view.needs[-1].path == (path if "/queue" in paths else "")
