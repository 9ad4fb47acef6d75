"""Counts what became of the items of an import, and names those that a person should look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.model.imported import ImportNote
from broker.worklist.source.asking import ItemRefused, Offer

MAX_REASONS = 20
MAX_LEFT_OUT = 100  # attributes named
MAX_NAMED = 1000  # items
# items that are as the server says, or that somebody else decides about
IN_PLACE = frozenset({"created", "updated", "unchanged", "moved", "ours", "ended"})

_Texts = Iterable[tuple[str, str]]


@dataclass(slots=True)
class ImportAccount:
    """What became of an import. `complete`: the server told all it has; `error` is the code of what ended it.

    `named` are the items that were refused or left out, ended as they ended there, or were taken with findings;
    `in_place` are keys of those that were taken without. `left_out` counts attributes that orders do not keep.
    """

    node: str
    dry: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    named: list[ImportNote] = field(default_factory=list)
    in_place: set[str] = field(default_factory=set)
    complete: bool = False
    error: str = ""

    def note(self, outcome: str, reasons: Iterable[str] = ()) -> None:
        """One item; the texts hold no values."""
        self.counts[outcome] += 1
        for reason in reasons:
            if reason in self.reasons or len(self.reasons) < MAX_REASONS:
                self.reasons[reason] += 1

    def refuse(self, error: ItemRefused) -> None:
        """One item that cannot be used."""
        self.note("refused", (str(error),))
        self._name(error.key, error.accession, "refused", error.texts)

    def take(self, offer: Offer, outcome: str, reasons: tuple[str, ...] = ()) -> None:
        """One item that was offered."""
        told = [("", reason) for reason in reasons]
        if outcome not in ("ours", "ended"):
            told += [(finding.location, finding.text) for finding in offer.findings]
        self.note(outcome, dict.fromkeys(text for _, text in told))
        if outcome in IN_PLACE and not told:
            self.in_place.add(offer.key)
        else:
            state = "taken" if outcome in IN_PLACE else outcome
            self._name(offer.key, offer.accession, state, told)

    def keep_left_out(self, left_out: Counter[str]) -> None:
        """Attributes of one item that orders do not keep."""
        if len(self.left_out) < MAX_LEFT_OUT:
            self.left_out += left_out

    def _name(self, key: str, accession: str, outcome: str, texts: _Texts) -> None:
        if len(self.named) < MAX_NAMED:
            note = ImportNote(source=self.node, key=key, accession=accession, outcome=outcome, findings=tuple(texts))
            self.named.append(note)
