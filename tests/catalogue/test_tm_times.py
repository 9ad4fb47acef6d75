"""Times of orders: hours a day has twice or never, precision and offsets, the edge. TM-03, TM-06, TM-07."""

from __future__ import annotations

import pytest
from support.hl7.messages import group, message, rows, worklist
from support.service.site import Mllp, Site

_numbers = iter(range(10_000))


def ordered(site: Site, start: str, *, birth: str = "19760229") -> tuple[str, str, dict[str, list[list[str]]]]:
    """Send an order that starts then; its number, the start in the database, and the answer."""
    number = f"QZTM{next(_numbers)}"
    text = message(group("NW", number, start=start)).replace("|19760229|", f"|{birth}|")
    with Mllp(site.hl7) as connection:
        answer = connection.exchange(text)
    found = rows(site, "", "SELECT start_at FROM scheduled_step WHERE accession = :number", number=number)
    return number, found[0][0] if found else "", answer


@pytest.mark.parametrize(
    ("start", "says"),
    [("20300331023000", "clocks go forward"), ("20301027023000", "clocks go back"), ("20301027033000", "")],
)
def test_tm_03_hours_that_the_day_has_never_or_twice(site: Site, start: str, says: str) -> None:
    """The worklist shows the local time that was sent; where it is odd the answer says so."""
    number, stored, answer = ordered(site, start)
    assert (answer["MSA"][0][1], stored) == ("AA", start)
    printed = worklist(site, number)
    assert f"[{start[:8]}]" in printed
    assert f"[{start[8:]}]" in printed
    findings = [(fields[2], fields[4], fields[8]) for fields in answer.get("ERR", [])]
    assert bool(findings) == bool(says)
    assert all(where == "ORC^1^7" and severity == "W" and says in told for where, severity, told in findings)


@pytest.mark.parametrize("start", ["20301027003000+0000", "20301027013000+0000"])
def test_tm_03_an_offset_does_not_help_who_sees_the_wall_clock_only(site: Site, start: str) -> None:
    _, stored, answer = ordered(site, start)
    assert stored == "20301027023000"
    assert "clocks go back" in answer["ERR"][0][8]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("20300312103015", "20300312103015"), ("20300312103015.1", "20300312103015.1"),
        ("20300312103015.123456", "20300312103015.123456"), ("203003121030", "20300312103000"),
        ("2030031210", "20300312100000"), ("20300312", "20300312000000"), ("20300312103000+0100", "20300312103000"),
        ("20300312103000+0000", "20300312113000"), ("20300312233000-0500", "20300313053000"),
        ("203003121030-0930", "20300312210000"),
    ],
)  # fmt: skip
def test_tm_06_precision_and_offsets(site: Site, sent: str, stored: str) -> None:
    _, start, answer = ordered(site, sent)
    assert (answer["MSA"][0][1], start) == ("AA", stored)
    assert "ERR" not in answer


@pytest.mark.parametrize("sent", ["203003", "2030"])
def test_tm_06_less_than_a_date_is_no_start_and_the_answer_says_so(site: Site, sent: str) -> None:
    _, start, answer = ordered(site, sent)
    assert answer["MSA"][0][1] == "AA"
    assert start[:4] != "2030"
    told = [error[3:5] for error in answer["ERR"]]
    assert told == [["102^Data type error^HL70357", "W"], ["101^Required field missing^HL70357", "W"]]


@pytest.mark.parametrize(
    "sent",
    [
        "20260230", "20300312250000", "203003121061", "20300312103060", "2030031210301", "tomorrow", "20300312T103000",
        "20300312103000+9900", "20300312103000+", "20300312103000.1234567", "2030-03-12",
    ],
)  # fmt: skip
def test_tm_06_what_is_no_time_is_refused_at_its_place(site: Site, sent: str) -> None:
    _, start, answer = ordered(site, sent)
    assert (answer["MSA"][0][1], start) == ("AE", "")
    assert answer["ERR"][0][2:5] == ["ORC^1^7", "102^Data type error^HL70357", "E"]


@pytest.mark.parametrize(
    ("birth", "kept"),
    [
        ("20240229", "20240229"), ("19000101", "19000101"), ("00010101", "00010101"), ("19000101235960", "19000101"),
        ("18991231000000+0100", "18991231"), ("00010101000000+1200", "00010101"), ("99991231", "99991231"),
    ],
)  # fmt: skip
def test_tm_07_dates_at_the_edge(site: Site, birth: str, kept: str) -> None:
    """A birth date is a calendar date: neither offset nor time of day moves it."""
    number, start, answer = ordered(site, "20320229235959", birth=birth)
    assert (answer["MSA"][0][1], start) == ("AA", "20320229235959")
    assert f"[{kept}]" in worklist(site, number, "0010,0030")


@pytest.mark.parametrize("start", ["20300312235960", "20310229103000", "00000101000000", "19000229"])
def test_tm_07_times_that_no_clock_has_are_refused(site: Site, start: str) -> None:
    assert ordered(site, start)[2]["MSA"][0][1] == "AE"


@pytest.mark.parametrize("start", ["00010101000000+1200", "99991231235959-1200", "00010101000000", "99991231235959"])
def test_tm_07_no_exception_at_the_ends_of_the_calendar(site: Site, start: str) -> None:
    assert ordered(site, start)[2]["MSA"][0][1] in {"AA", "AE"}
