"""Decides when a series or study is complete, and which late images of it go where. Pure: no clock, no database.

A study is complete when nothing of it has come for a quiet time. Other things complete it sooner (all that its
performed procedure steps list is here; its associations have ended), or keep it waiting (a step of the modality is not
over, a required series is not here), at most until the cap. After it was judged once, its quiet time alone counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from broker.dicom.dataset.folding import fold_text
from broker.wildcard import Wildcard

SETTLE = 2.0  # seconds without a new object, before what is expected counts as complete
ASK_AGAIN = 15.0  # seconds at least between two looks at an order
DAY = 86_400.0
Values = Mapping[str, Sequence[str | float]]


class Completed(StrEnum):
    """Says why a series or study counts as complete: the values of `study.complete`."""

    QUIET = "quiet"
    PERFORMED = "mpps"
    ASSOCIATION = "association"
    STUDY = "study"  # a series whose study is complete
    CAP = "cap"
    PERSON = "person"  # who let its objects be routed again


class Awaited(StrEnum):
    """Says what keeps a series or study from being complete."""

    QUIET = "quiet"
    PERFORMED = "mpps"
    ORDER = "order"
    REQUIRED = "required"


class AtMost(StrEnum):
    """Says what is done with what is not complete at the cap."""

    JUDGE = "judge"
    HOLD = "hold"


class LateImages(StrEnum):
    """Says what a destination gets of images that come after their series or study was judged."""

    ALL = "all"  # the whole series or study again
    UPDATES = "updates"  # new images, and other versions of those that it has
    NEW = "new"  # new images only
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionPolicy:
    """When a series or study is complete. Times in seconds; `most` counts from its first object.

    `expected`: `mpps` waits for what performed procedure steps list, `order` for the steps of its order.
    """

    quiet: float
    most: float
    at_most: AtMost = AtMost.JUDGE
    expected: frozenset[str] = frozenset()
    association_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredSeries:
    """What must be there of a study that has an object of `modality` and whose description fits `study` (patterns).

    Of `series` each pattern must fit a Series Description, of `modalities` each must be there.
    """

    modality: Wildcard | None = None
    study: Wildcard | None = None
    series: tuple[tuple[str, Wildcard], ...] = ()
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePolicy:
    """What a destination gets of late images, and for how long after the first judgement (seconds; None: always)."""

    send: LateImages = LateImages.UPDATES
    until: float | None = None

    def at(self, seconds: float) -> LateImages:
        """What counts so many seconds after the first judgement."""
        return LateImages.NEVER if self.until is not None and seconds > self.until else self.send


SERIES_USUAL = CompletionPolicy(quiet=60.0, most=3600.0)
STUDY_USUAL = CompletionPolicy(quiet=300.0, most=21_600.0)
LATE_USUAL = LatePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTable:
    """The table `completion` of a rule set. `late`: by destination."""

    series: CompletionPolicy = SERIES_USUAL
    study: CompletionPolicy = STUDY_USUAL
    required: tuple[RequiredSeries, ...] = ()
    late: Mapping[str, LatePolicy] = field(default_factory=dict)

    def late_of(self, node: str) -> LatePolicy:
        """What a destination gets of late images."""
        return self.late.get(node, LATE_USUAL)

    @property
    def again(self) -> bool:
        """Some destination gets the whole study again."""
        return any(policy.send == LateImages.ALL for policy in self.late.values())


USUAL = CompletionTable()


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedObjects:
    """What the performed procedure steps of a study say: how many are not over, list how many, lack how many."""

    open: int = 0
    listed: int = 0
    missing: int = 0


NOTHING_PERFORMED = PerformedObjects()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheringState:
    """How far a series or study is. Times in seconds since the epoch; `opened_at`: the first object of this round.

    `ended`: the association of its last object is over. `late`: it was judged before. `order_open`: a step of its
    order is not over.
    """

    opened_at: float
    last_at: float
    ended: bool = False
    late: bool = False
    performed: PerformedObjects = NOTHING_PERFORMED
    order_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionVerdict:
    """Why it is complete, or what it waits for and when to look again (s since the epoch)."""

    complete: Completed | None = None
    waits: str = ""
    due_at: float = 0.0


def look(policy: CompletionPolicy, state: GatheringState, now: float) -> CompletionVerdict:
    """Whether a series or study is complete at a time. A clock that was set back delays nothing beyond its quiet."""
    last, opened = min(state.last_at, now), min(state.opened_at, now)
    cap = opened + policy.most
    if now >= cap:
        return CompletionVerdict(complete=Completed.CAP)
    performed = state.performed
    if not state.late:
        if performed.open or performed.missing:
            return CompletionVerdict(waits=Awaited.PERFORMED, due_at=cap)
        if state.order_open:
            return CompletionVerdict(waits=Awaited.ORDER, due_at=min(cap, now + max(policy.quiet, ASK_AGAIN)))
        if performed.listed:
            if now - last >= SETTLE:
                return CompletionVerdict(complete=Completed.PERFORMED)
            return CompletionVerdict(waits=Awaited.PERFORMED, due_at=min(cap, last + SETTLE))
    if state.ended:
        return CompletionVerdict(complete=Completed.ASSOCIATION)
    if now - last >= policy.quiet:
        return CompletionVerdict(complete=Completed.QUIET)
    return CompletionVerdict(waits=Awaited.QUIET, due_at=min(cap, last + policy.quiet))


def lacking(required: Sequence[RequiredSeries], facts: Values) -> list[str]:
    """What is required of a study with these facts and is not there: patterns of series, and modalities."""
    here = [str(value) for value in facts.get("tag.Modality", ())]
    studies, series = (_folded(facts, f"tag.{level}Description") for level in ("Study", "Series"))
    missing: dict[str, None] = {}
    for entry in required:
        if entry.modality is not None and not any(entry.modality.matches(fold_text(one)) for one in here):
            continue
        if entry.study is not None and not any(map(entry.study.matches, studies)):
            continue
        missing |= dict.fromkeys(text for text, fits in entry.series if not any(map(fits.matches, series)))
        missing |= dict.fromkeys(one for one in entry.modalities if one not in here)
    return list(missing)


def _folded(facts: Values, name: str) -> list[str]:
    return [fold_text(str(value)) for value in facts.get(name, ())]
