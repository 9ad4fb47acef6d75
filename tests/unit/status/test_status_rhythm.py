"""Whether a sender is silent, by its own rhythm: a night is no failure, and a busy hour is soon missed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from broker.status.rhythm import HOUR, HOURS, Rhythm, counted, hour_of_week, silence

ZONE = ZoneInfo("Europe/Zurich")
MONDAY = datetime(2030, 3, 4, tzinfo=ZONE).timestamp()  # 00:00
DAY = 24 * HOUR


def usual(at: float) -> int:
    """Messages in an hour: 60 by day on weekdays, 6 on Saturdays, 1 in four hours at night."""
    local = datetime.fromtimestamp(at, ZONE)
    if 7 <= local.hour < 18:
        return 60 if local.weekday() < 5 else 6
    return int(local.hour % 4 == 0)


def learnt(begin: float = MONDAY - 21 * DAY, end: float = MONDAY) -> Rhythm:
    rhythm = Rhythm()
    for hour in range(int(begin // HOUR), int(end // HOUR)):
        if number := usual(hour * HOUR):
            rhythm = counted(rhythm, hour, number, ZONE)
    return rhythm


@pytest.mark.parametrize(
    ("last", "now", "silent"),
    [
        # hours after Monday 00:00
        (10.0, 10.2, False),  # twelve minutes
        (10.0, 10.3, True),  # eighteen minutes of a busy morning: about 18 messages
        (17.9, 30.9, False),  # a night
        (17.9, 31.5, True),  # half an hour after the day began
        (4 * 24 + 17.9, 7 * 24 + 6.9, True),  # from Friday evening to Monday morning, also on Saturday none of some
        (4 * 24 + 18.0, 5 * 24 + 8.0, False),  # from Friday evening to Saturday morning
        (5 * 24 + 8.0, 5 * 24 + 10.0, True),  # on Saturday it takes longer
        (5 * 24 + 8.0, 5 * 24 + 9.5, False),
    ],
)
def test_silence_is_what_usually_would_have_come(last: float, now: float, silent: bool) -> None:
    found = silence(learnt(), MONDAY + last * HOUR, MONDAY + now * HOUR, ZONE)
    assert found.silent is silent
    assert found.expected is not None


def test_a_sender_without_a_known_rhythm_is_not_called_silent() -> None:
    assert silence(Rhythm(), MONDAY, MONDAY + 100 * DAY, ZONE).expected is None
    young = learnt(MONDAY - 20 * HOUR)
    found = silence(young, MONDAY, MONDAY + DAY, ZONE)
    assert (found.expected, found.silent) == (None, False)


def test_after_some_days_the_same_hour_of_like_days_counts() -> None:
    """Monday to Wednesday are known: a silence on Thursday is noticed, none is expected on the first Saturday."""
    rhythm = learnt(MONDAY, MONDAY + 3 * DAY)
    assert silence(rhythm, MONDAY + 3 * DAY + 10 * HOUR, MONDAY + 3 * DAY + 11 * HOUR, ZONE).silent
    saturday = MONDAY + 5 * DAY
    assert silence(rhythm, saturday + 8 * HOUR, saturday + 12 * HOUR, ZONE).expected == 0


def test_the_newest_weeks_count_most() -> None:
    """A ward moved: the RIS sends a tenth of what it did. After some weeks that is usual."""
    rhythm = learnt()
    place = hour_of_week(int((MONDAY + 10 * HOUR) // HOUR), UTC)  # the clocks change on the way
    for week in range(10):
        rhythm = counted(rhythm, int((MONDAY + week * 7 * DAY + 10 * HOUR) // HOUR), 6, UTC)
        rhythm = counted(rhythm, int((MONDAY + week * 7 * DAY + 11 * HOUR) // HOUR), 6, UTC)
    assert rhythm.usual[place] == pytest.approx(6, abs=3)


def test_a_silence_of_years_costs_no_more_than_a_week() -> None:
    rhythm = counted(Rhythm(), 0, 5, UTC)
    rhythm = counted(rhythm, 4_000_000, 5, UTC)
    assert (rhythm.hour, rhythm.count) == (4_000_000, 5)
    assert silence(rhythm, 0.0, 1e10, UTC).silent is False


def test_a_clock_that_was_set_back_loses_no_message() -> None:
    rhythm = counted(counted(Rhythm(), 1000, 5, UTC), 990, 3, UTC)
    assert (rhythm.hour, rhythm.count) == (1000, 8)


@pytest.mark.parametrize("day", [datetime(2030, 3, 31, tzinfo=ZONE), datetime(2030, 10, 27, tzinfo=ZONE)])
def test_a_day_on_which_the_clocks_change_is_like_any_other(day: datetime) -> None:
    """The hours of the wall clock count: what is usual at eight o'clock is so on both sides of the change."""
    begin = int(day.timestamp() // HOUR)
    places = [hour_of_week(hour, ZONE) for hour in range(begin, begin + 30)]
    assert all(0 <= place < HOURS for place in places)
    assert hour_of_week(int(datetime(day.year, day.month, day.day, 8, tzinfo=ZONE).timestamp() // HOUR), ZONE) == 152
