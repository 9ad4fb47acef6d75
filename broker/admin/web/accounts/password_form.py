"""Judges a new password that is typed twice, and says in words what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection

from broker.accounts.password_rules import LONGEST, SHORTEST, PasswordFault, fault_of
from broker.admin.web.forms import FormFields
from broker.admin.web.words import Sentence

_WORDS = {
    PasswordFault.SHORT: Sentence("Take at least %(count)s characters. Several words are good.", {"count": SHORTEST}),
    PasswordFault.LONG: Sentence("Take at most %(count)s characters.", {"count": LONGEST}),
    PasswordFault.PATTERN: Sentence("This pattern is guessed first. Take several words that do not belong together."),
    PasswordFault.COMMON: Sentence("Many people take this password, also with something added. Take another one."),
    PasswordFault.OWN_WORDS: Sentence("It is made of your name or of words of this place. Take other words."),
}
_AGAIN = Sentence("The two passwords differ. Type the new one again.")


def password_errors(form: FormFields, words: Collection[str]) -> dict[str, Sentence]:
    """What is wrong with the fields `password` and `again`. `words`: names of the user."""
    fault = fault_of(form.typed("password"), words)
    if fault is not None:
        return {"password": _WORDS[fault]}
    return {} if form.typed("again") == form.typed("password") else {"again": _AGAIN}
