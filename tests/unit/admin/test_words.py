"""Numbers, moments and spans of time as people of two languages read them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from broker.admin.web.words import Language, Sentence

ZONE = ZoneInfo("Europe/Zurich")
ENGLISH, FRENCH = Language("en", ZONE), Language("fr", ZONE)
MOMENT = 1_796_094_005.0  # 2026-12-01 03:00:05 UTC


def plain(text: str) -> str:
    """Without the spaces that keep a line together."""
    return text.replace("\xa0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("value", "english", "french"), [(0, "0", "0"), (12345, "12,345", "12 345"), (0.5, "0.5", "0,5")]
)
def test_numbers(value: float, english: str, french: str) -> None:
    assert (ENGLISH.number(value), plain(FRENCH.number(value))) == (english, french)


def test_moments_count_24_hours_in_the_zone_of_the_site() -> None:
    assert ENGLISH.moment(MOMENT + 43_200) == "1 Dec 2026, 16:00:05"
    assert FRENCH.moment(MOMENT + 43_200) == "1 déc. 2026, 16:00:05"
    assert ENGLISH.iso(MOMENT) == "2026-12-01T04:00:05+01:00"


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "just now", "à l’instant"),
        (59, "59 sec ago", "il y a 59 s"),
        (200, "3 min ago", "il y a 3 min"),
        (7300, "2 hr ago", "il y a 2 h"),
        (90_000, "1 day ago", "il y a 1 j"),
        (-3600, "in 1 hr", "dans 1 h"),
    ],
)
def test_how_long_ago(seconds: float, english: str, french: str) -> None:
    assert plain(ENGLISH.ago(MOMENT - seconds, MOMENT)) == english
    assert plain(FRENCH.ago(MOMENT - seconds, MOMENT)) == french


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "0 s", "0 s"),
        (61, "1 min", "1 min"),
        (93_784, "1 d 2 h", "1 j 2 h"),
        (3600, "1 h", "1 h"),
    ],
)
def test_spans(seconds: int, english: str, french: str) -> None:
    assert (ENGLISH.span(seconds), FRENCH.span(seconds)) == (english, french)


def test_sentences_have_values_and_plurals() -> None:
    assert ENGLISH.say(Sentence("100 %% of %(name)s", {"name": "50 %"})) == "100 % of 50 %"
    assert FRENCH.say(Sentence("Now")) == "Maintenant"
    told = [ENGLISH.say(Sentence("%(n)s row", {"n": n}, many="%(n)s rows")) for n in (0, 1, 2000)]
    assert told == ["0 rows", "1 row", "2,000 rows"]
