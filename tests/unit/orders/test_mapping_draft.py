"""All mistakes of a draft are told at once, each with its line, and its examples with what they came to."""

from __future__ import annotations

import pytest

from broker.orders.trying.draft import MOST, DraftCheck, check_draft

MESSAGE = """MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|1|P|2.5
PID|||1||DOE^J
ORC|NW|P1|||||^^^20260312100000
OBR|1|P1||CHEST^Chest||||||||||||||||||||TDM"""
GOOD = f"""name = "x"
extends = "ihe"
[senders]
match = [{{ application = "RIS" }}]
[values.Modality]
TDM = "CT"
[[example]]
name = "thorax"
message = '''
{MESSAGE}
'''
[example.expect]
Modality = "CT"
PatientName = "DOE^J"
"""


def lines(check: DraftCheck) -> list[tuple[int, str]]:
    return sorted((one.line, one.key) for one in check.wrong)


def test_a_good_draft_has_nothing_wrong() -> None:
    check = check_draft(GOOD, {})
    assert check.wrong == ()
    assert [(one.name, one.line, one.failures) for one in check.examples] == [("thorax", 7, ())]
    assert not check.unchanged
    assert check_draft(GOOD, {"x": (1, GOOD)}).unchanged


def test_all_mistakes_are_told_each_with_its_line() -> None:
    text = """name = "x"
extends = "ihe"
[step]
ScheduledStationAETitel = ["OBR-21.1"]
Modality = ["OBR-24", "nope"]
[values]
PatientSex = { K = 1.5 }
[[station]]
ae_title = "A"
[[station]]
when = { Modality = "CT" }
oops = 1
[policy]
start_missing = "never"
[defaults]
Modality = "CT"
"""
    check = check_draft(text, {})
    assert lines(check) == [
        (4, "step.ScheduledStationAETitel"), (5, "step.Modality"), (7, "values.PatientSex"), (12, "station"),
        (14, "policy"),
    ]  # fmt: skip
    assert str(check.wrong[0]).startswith("line ")


def test_what_has_no_effect_is_told_line_by_line() -> None:
    text = GOOD.replace('TDM = "CT"', 'TDM = "CT"\nQ = "NOPE"\nW = "ZZZ"')
    assert [(one.line, one.words) for one in check_draft(text, {}).wrong] == [
        (7, "Q: not a modality that is known"),
        (8, "W: not a modality that is known"),
    ]


def test_a_failing_example_is_told_where_it_expects() -> None:
    check = check_draft(GOOD.replace('Modality = "CT"\nPat', 'Modality = "MR"\nPat'), {})
    assert lines(check) == [(16, "example thorax")]
    assert check.wrong[0].words == "Modality: expected 'MR', got 'CT'"
    assert check.mistakes == ()


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('name = "x"\n[a\n', 2, ""),
        ("a = 1\n", 0, "name"),
        ('# x\nname = "not allowed"\n', 2, "name"),
        ('name = "x"\nextends = "nobody"\n', 2, "extends"),
        ('name = "x"\noddity = 1\n', 2, "oddity"),
        ('name = "x"\n[[example]]\nname = "no message"\n', 2, "example 1"),
        ("x" * (1024 * 1024 + 1), 0, ""),
    ],
)
def test_one_mistake_is_told_with_its_line(text: str, line: int, key: str) -> None:
    assert lines(check_draft(text, {})) == [(line, key)]


def test_the_page_of_one_profile_publishes_no_other() -> None:
    (mistake,) = check_draft(GOOD, {}, name="y").wrong
    assert (mistake.line, mistake.key) == (1, "name")


def test_a_sender_that_another_profile_has_is_shown_at_the_senders() -> None:
    others = {"a": (1, GOOD.replace('"x"', '"a"', 1)), "z": (1, 'name = "z"\nextends = "ihe"\n')}
    (mistake,) = check_draft(GOOD, others).wrong
    assert (mistake.line, mistake.key) == (3, "senders")
    assert "claimed by" in mistake.words


def test_examples_of_others_that_it_would_break_are_told() -> None:
    base = 'name = "base"\nextends = "ihe"\n[values.Modality]\nTDM = "CT"\n'
    other = GOOD.replace('extends = "ihe"', 'extends = "base"').replace('[values.Modality]\nTDM = "CT"\n', "")
    texts = {"base": (1, base), "x": (1, other)}
    assert check_draft(base, texts).wrong == ()
    (broken,) = check_draft(base.replace('"CT"', '"MR"'), texts).broken
    assert (broken.profile, broken.line) == ("x", 0)
    assert "expected 'CT', got 'MR'" in str(broken)


def test_no_more_mistakes_are_told_than_a_person_reads() -> None:
    wrong = "".join(f'Wrong{number} = ["PID-1"]\n' for number in range(100))
    assert len(check_draft(f'name = "x"\nextends = "ihe"\n[step]\n{wrong}', {}).wrong) == MOST
