"""Judges a new password that is typed twice, and says in words what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection

from broker import telemetry
from broker.accounts.breached import BreachedListUnreadable, BreachedPasswords
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
_BREACHED = Sentence("This password was stolen somewhere and is known to many. Take another one.")
_UNREADABLE = Sentence("The list of stolen passwords cannot be read. Nothing was saved: tell an administrator.")
_AGAIN = Sentence("The two passwords differ. Type the new one again.")


def password_errors(form: FormFields, words: Collection[str], breached: BreachedPasswords) -> dict[str, Sentence]:
    """What is wrong with the fields `password` and `again`. `words`: names of the user; `breached`: for nobody."""
    fault = fault_of(form.typed("password"), words)
    if fault is not None:
        return {"password": _WORDS[fault]}
    try:
        if breached.has(form.typed("password")):
            return {"password": _BREACHED}
    except BreachedListUnreadable as error:
        telemetry.logger().error("passwords.list-unreadable", reason=str(error))
        return {"password": _UNREADABLE}
    return {} if form.typed("again") == form.typed("password") else {"again": _AGAIN}
