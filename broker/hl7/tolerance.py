"""Says what a listener forgives its senders, and what it assumes where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The default takes what is seen in hospitals; each field is a key of `[hl7]`.

    `charset`: MSH-18 of messages without one, empty to guess. `replace`: text that is not in its character set is
    read with replacement characters and a warning instead of refused. `cr_only`: LF ends no segment. `strict`: that,
    and no blank segments and no bytes around a message. `version`: MSH-12 of messages without one, empty to have none.
    `override_charset` (repetitions joined by `~`) and `override_version` count instead of what MSH-18 and MSH-12 say.
    """

    charset: str = ""
    replace: bool = False
    cr_only: bool = False
    strict: bool = False
    version: str = ""
    override_charset: str = ""
    override_version: str = ""


USUAL = Tolerance()
