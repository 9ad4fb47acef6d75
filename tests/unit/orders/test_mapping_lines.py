"""Keys and tables of a TOML text are found with their lines, whatever stands in their values."""

from __future__ import annotations

import pytest

from broker.orders.mapping.lines import line_of, line_of_syntax, places_of
from broker.orders.mapping.mistakes import ProfileMistake

TEXT = '''# [not.a.table]
name = "a # no comment"  # x = 1
a.b = 1
"quoted.key" = 'it''s' # 4

[senders]
match = [
  { application = "RIS*", facility = "A" },
  { application = "HIS" },
]
[values.Modality]
"re:M[RX]+" = "MR"
[[station]]
when = { Modality = "CT", "PV1-3.1" = ["URG", "[x]"] }
ae_title = """
[[station]]
no = "table"
"""
[[station]]
ae_title = "B"
[[example]]
message = \'\'\'
[senders]
x = 1\'\'\'
[example.expect]
"step[2].Modality" = "CT"
[[example]]
name = "second"
[example.expect]
A.B = 2
'''.replace("'it''s'", "'its'")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("a", "b"), 3),
        (("quoted.key",), 4),
        (("senders",), 6),
        (("senders", "match"), 7),
        (("senders", "match", 2, "application"), 9),
        (("values", "Modality", "re:M[RX]+"), 12),
        (("station", 1), 13),
        (("station", 1, "when", "PV1-3.1"), 14),
        (("station", 2), 19),
        (("station", 2, "ae_title"), 20),
        (("example", 1, "message"), 22),
        (("example", 1, "expect", "step[2].Modality"), 26),
        (("example", 2, "name"), 28),
        (("example", 2, "expect", "A", "B"), 30),
    ],
)
def test_a_key_is_found_where_it_stands(path: tuple[str | int, ...], line: int) -> None:
    assert places_of(TEXT)[path] == line


def test_what_is_not_there_is_shown_at_the_table_around_it() -> None:
    places = places_of(TEXT)
    assert line_of(places, ("station", 2, "location")) == 19
    assert line_of(places, ("step", "Modality")) == 0
    assert line_of(places, ()) == 0
    assert ("station", 3) not in places
    assert ("not", "a") not in places


@pytest.mark.parametrize(
    "text",
    ["", "[", "[[", "a = [", 'a = "', "a = '''", "= 1", "[a]]\nb", "a = {b = {c = [", "\n\n#", '"', "a=" + "[" * 500],
)
def test_a_text_that_is_no_toml_is_read_to_its_end(text: str) -> None:
    assert isinstance(places_of(text), dict)


def test_the_line_of_a_syntax_error_is_the_one_that_is_told() -> None:
    assert line_of_syntax("a\nb\n", "Expected '=' (at line 2, column 1)") == 2
    assert line_of_syntax("a = 1\nb = [\n\n", "Unclosed array (at end of document)") == 2


@pytest.mark.parametrize(
    ("key", "words", "path"),
    [
        ("values.Modality", "TDM: does not fit", ("values", "Modality", "TDM")),
        ("station", "3: when.PV1-3.1: a text, or a list of them", ("station", 3, "when", "PV1-3.1")),
        ("station", "2: unknown key oops", ("station", 2, "oops")),
        ("reading", "charset: no character set", ("reading", "charset")),
        ("example 4", "message: a text is needed", ("example", 4, "message")),
        ("senders", "claimed by 'other' too", ("senders",)),
        ("", "not valid TOML", ()),
    ],
)
def test_a_mistake_says_where_it_is(key: str, words: str, path: tuple[str | int, ...]) -> None:
    assert ProfileMistake("mapping profile 'x'", key, words).path == path
