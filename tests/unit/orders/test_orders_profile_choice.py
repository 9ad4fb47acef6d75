"""The profile that a message is tried by: one as TOML, one by its name, else that of the sender."""

from __future__ import annotations

import pytest

from broker.errors import ConfigurationError
from broker.orders.mapping.book import ProfileBook
from broker.orders.trying.profile_choice import ProfileChoice, choose

MESSAGE = b"MSH|^~\\&|RIS|SITE|B|R|||ORM^O01|1|P|2.5"
OWN = 'name = "own"\nextends = "base"\n[values.Modality]\nSPIRAL = "CT"\n'
BASE = 'name = "base"\nextends = "ihe"\n[values.Modality]\nQ = "MR"\n'


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (ProfileChoice(), "ihe-fr"),
        (ProfileChoice(name="legacy-23"), "legacy-23"),
        (ProfileChoice(name="legacy-23", toml=BASE), "base"),
    ],
)
def test_a_text_wins_over_a_name_and_a_name_over_the_sender(choice: ProfileChoice, name: str) -> None:
    assert choose(choice, ProfileBook({}), {}, MESSAGE, "ihe-fr").name == name
    assert choice.given == (choice != ProfileChoice())


def test_what_is_no_message_is_read_by_the_fallback() -> None:
    assert choose(ProfileChoice(), ProfileBook({}), {}, b"nothing", "ihe-fr").name == "ihe-fr"


def test_a_text_may_extend_a_profile_in_force() -> None:
    profile = choose(ProfileChoice(toml=OWN), ProfileBook({}), {"base": (3, BASE)})
    assert (profile.values["Modality"]["SPIRAL"], profile.values["Modality"]["Q"]) == ("CT", "MR")
    with pytest.raises(ConfigurationError):
        choose(ProfileChoice(toml=OWN), ProfileBook({}), {})
    with pytest.raises(ConfigurationError, match="no such profile"):
        choose(ProfileChoice(name="nobody"), ProfileBook({}), {})
