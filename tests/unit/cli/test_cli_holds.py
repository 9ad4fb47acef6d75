"""What `broker holds list` prints of what waits, of what was discarded, and of what waits for its study."""

from __future__ import annotations

import pytest

from broker.cli.views.holds_view import show_discarded, show_gathering, show_waiting

FACTS = {"cause": "no-rule-matched", "device": "CT01", "modality": "CT", "study": "2.999.7"}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that holds every row."""
    monkeypatch.setenv("COLUMNS", "200")


def clock(at: float) -> str:
    return f"2030-03-17 17:46:{at:02.0f}"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_what_waits_says_what_can_be_done_with_each_kind_once(capsys: pytest.CaptureFixture[str]) -> None:
    waits = FACTS | {"since": 5.0, "accession": "A1", "patient": "P1", "node": "", "why": "", "can": ["route", "send"]}
    job = waits | {"number": "17", "cause": "newer-version-sent", "node": "pacs", "can": ["release"]}
    job |= {"why": "a newer version was sent"}
    show_waiting([waits | {"number": "o4"}, waits | {"number": "o5"}, job], clock)
    head, first, second, third, *said = lines(capsys)
    assert head == "number since cause from for accession patient study"
    assert first == "o4 2030-03-17 17:46 no-rule-matched CT01 A1 P1 2.999.7"
    assert second.startswith("o5 ")
    assert third == "17 2030-03-17 17:46 newer-version-sent CT01 pacs A1 P1 2.999.7"
    assert said == [
        "newer-version-sent: a newer version was sent; `release` does so with --anyway",
        "objects (o): route, send",
        "jobs: release",
    ]


def test_what_was_discarded_says_until_when_it_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    gone = FACTS | {"id": 4, "discarded_at": 5.0}
    show_discarded([gone | {"deleted_at": 9.0}, gone | {"deleted_at": None}], clock)
    _, first, second = lines(capsys)
    assert first.endswith("CT 2.999.7 2030-03-17 17:46:09")
    assert second.endswith("CT 2.999.7 never")


def test_what_waits_for_its_study(capsys: pytest.CaptureFixture[str]) -> None:
    show_gathering([FACTS | {"id": 4, "received_at": 5.0, "cause": "waits-for-study"}], clock)
    assert lines(capsys)[1] == "o4 2030-03-17 17:46:05 waits-for-study CT01 CT 2.999.7"
