"""Shares what the pages of mapping profiles have in common: addresses, refusals, words for what a draft changes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from broker.admin.problems import Problem
from broker.admin.web.words import Sentence
from broker.errors import BrokerError
from broker.orders.mapping.provenance import OriginKind
from broker.orders.mapping_versions import ExamplesFailed
from broker.orders.trying.changes import DraftEffect, TrialEnd
from broker.orders.trying.draft import DraftCheck

NO_REASON = Sentence("Say why, in 3 to 500 characters.")
EFFECTS: Mapping[DraftEffect, tuple[str, Sentence]] = {  # tone and word
    DraftEffect.ACCEPTED: ("ok", Sentence("accepted, refused now")),
    DraftEffect.REFUSED: ("bad", Sentence("refused, accepted now")),
    DraftEffect.DIFFERS: ("warn", Sentence("other worklist entries")),
    DraftEffect.ONLY_NEW: ("", Sentence("new messages only")),
    DraftEffect.UNCHANGED: ("", Sentence("no change")),
    DraftEffect.OTHER: ("", Sentence("read by a profile that stays as it is")),
}
HOW: Mapping[OriginKind, Sentence] = {
    OriginKind.MESSAGE: Sentence("of the message"),
    OriginKind.TABLE: Sentence("by the value table of"),
    OriginKind.DEFAULT: Sentence("the default of the profile"),
    OriginKind.STATION: Sentence("by a station rule"),
    OriginKind.IDENTIFIERS: Sentence("made by the broker"),
}
ENDS: Mapping[TrialEnd, Sentence] = {
    TrialEnd.MESSAGES: Sentence("Older messages were left out: so many are looked at, and no more."),
    TrialEnd.TIME: Sentence("Older messages were left out: the time was over."),
}


def path_of(name: str) -> str:
    """The address of a profile's page."""
    return f"/mappings/{quote(name, safe='')}"


def missing() -> Problem:
    """The answer where there is no such profile, or no such version of it."""
    return Problem(404, "There is no such mapping profile, or no such version")


def refusal(error: BrokerError) -> Sentence:
    """Why a profile was not put in force."""
    if isinstance(error, ExamplesFailed):
        return Sentence("Nothing was changed: %(words)s", {"words": "; ".join(error.failures[:3])[:1000]})
    return Sentence("Nothing was changed: %(words)s", {"words": str(error)[:1000]})


def quoted(text: str, check: DraftCheck) -> Mapping[int, str]:
    """The lines of a draft that something is wrong with, by their numbers."""
    lines = text.split("\n")
    return {one.line: lines[one.line - 1][:300] for one in check.wrong if 0 < one.line <= len(lines)}
