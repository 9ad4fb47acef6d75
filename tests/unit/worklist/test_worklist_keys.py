"""Names, dates and times of queries, one table for each."""

from __future__ import annotations

import pytest

from broker.dicom.dataset.folding import fold_name
from broker.dicom.dataset.read import BadElement
from broker.worklist.query.date_ranges import Interval, date_interval, stored_date, stored_time, time_interval
from broker.worklist.query.names import FuzzyKey, NameKey, fuzzy_fits, name_fits, name_pattern, name_words


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("20300312", Interval("20300312", "20300312", single=True)),
        ("2030.03.12", Interval("20300312", "20300312", single=True)),
        ("20300312-", Interval("20300312", None)),
        ("-20300312", Interval(None, "20300312")),
        ("20300310 - 20300312", Interval("20300310", "20300312")),
        ("20320229", Interval("20320229", "20320229", single=True)),
    ],
)
def test_dates(text: str, interval: Interval) -> None:
    assert date_interval(text, "PatientBirthDate") == interval


@pytest.mark.parametrize("text", ["-", "20300229", "203003", "2030-03-12", "today", "٢٠٣٠٠٣١٢"])
def test_dates_that_are_none(text: str) -> None:
    with pytest.raises(BadElement) as refusal:
        date_interval(text, "PatientBirthDate")
    assert (refusal.value.code, refusal.value.tag) == ("bad-date", 0x00100030)
    assert text not in str(refusal.value) or text == "-"


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("10", Interval("100000000000", "105959999999", single=True)),
        ("1030", Interval("103000000000", "103059999999", single=True)),
        ("10:30:15", Interval("103015000000", "103015999999", single=True)),
        ("103015.5", Interval("103015500000", "103015599999", single=True)),
        ("235960", Interval("235959000000", "235959999999", single=True)),  # a leap second is kept as the one before
        ("090060.5-", Interval("090059500000", None)),
        ("0000-2400", Interval("000000000000", "235959999999")),
        ("000000-240000", Interval("000000000000", "235959999999")),
        (" 00:00 - 24:00:00 ", Interval("000000000000", "235959999999")),
        ("-2400", Interval(None, "235959999999")),
        ("-24", Interval(None, "235959999999")),
        ("2400-0600", Interval("000000000000", "060059999999")),
        ("240000.000-", Interval("000000000000", None)),
        ("2400", Interval("235959000000", "235959999999", single=True)),
        ("0800-1200", Interval("080000000000", "120059999999")),
        ("-12", Interval(None, "125959999999")),
        ("12-", Interval("120000000000", None)),
    ],
)
def test_times(text: str, interval: Interval) -> None:
    assert time_interval(text, "ScheduledProcedureStepStartTime") == interval


@pytest.mark.parametrize(
    "text",
    [
        "-",
        "25",
        "2401",
        "24:01",
        "240001",
        "240000.1",
        "1060",
        "103061",
        "1",
        "10:3",
        "1030.5",
        "103015.1234567",
        "noon",
    ],
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(BadElement) as refusal:
        time_interval(text, "ScheduledProcedureStepStartTime")
    assert (refusal.value.code, refusal.value.tag) == ("bad-time", 0x00400003)


def test_stored_values_are_compared_in_the_same_form() -> None:
    assert stored_date("2030.03.12 ") == "20300312"
    assert stored_time("10:30") == "103000000000"
    assert stored_time(" ") == ""


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("MÜLLER^Käthe^^^", "muller^kathe"),
        ("Doe ^ John", "doe^john"),
        ("Yamada^Tarou=山田^太郎=", "yamada^tarou=山田^太郎"),
        ("が", "が"),  # a voiced kana is another letter
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("WAŁĘSA^Lech", "walesa^lech"),
        ("Sørensen^Ægir", "sorensen^aegir"),
        ("Đoković^Þór", "dokovic^thor"),
        ("Ħaż-Żebbuġ^Œdipe", "haz-zebbug^oedipe"),
        ("Ǿ^Ǽ", "o^ae"),  # a stroke and an accent
        ("YILDIZ^Işıl İnci", "yildiz^isil inci"),
        ("Łódź=鈴木=ł", "lodz=鈴木=l"),
    ],
)
def test_folding_of_names(name: str, folded: str) -> None:
    assert fold_name(name) == folded


@pytest.mark.parametrize(
    ("asked", "stored", "fits"),
    [
        ("müller", "MULLER", True),
        ("MULLER^K*", "Müller^Käthe", True),
        ("MULLER", "Müller^Käthe", False),
        ("山田*", "Yamada^Tarou=山田^太郎", True),  # one group is tried against all groups
        ("=山田^太郎", "Yamada^Tarou=山田^太郎", True),
        ("Yamada*=鈴木*", "Yamada^Tarou=山田^太郎", False),
        ("DOE^JOHN^^^*", "DOE^JOHN", True),
        ("walesa*", "WAŁĘSA^Lech", True),
        ("WAŁĘSA^L*", "Walesa^Lech", True),
        ("s?rensen*", "SØRENSEN^Ægir", True),
        ("sorensen^aegir", "SØRENSEN^Ægir", True),
        ("sorensen*", "SORENSON^Ægir", False),
    ],
)
def test_literal_matching_of_names(asked: str, stored: str, fits: bool) -> None:
    assert name_fits(stored, NameKey("PatientName", (name_pattern(asked),))) is fits


@pytest.mark.parametrize(
    ("asked", "stored", "fits"),
    [
        ("john doe", "DOE^JOHN", True),  # in any order
        ("jo doe", "DOE^JOHN", True),  # the beginning of a word
        ("meier", "MEYER^ANNA", True),  # alike in sound
        ("jane doe", "DOE^JOHN", False),
        ("smith", "DOE^JOHN", False),
        ("lech walesa", "WAŁĘSA^Lech", True),
        ("sorenson", "SØRENSEN^Ægir", True),
    ],
)
def test_fuzzy_matching_of_names(asked: str, stored: str, fits: bool) -> None:
    literal = NameKey("PatientName", (name_pattern(asked),))
    assert fuzzy_fits(stored, FuzzyKey("PatientName", literal, (name_words(asked),))) is fits
