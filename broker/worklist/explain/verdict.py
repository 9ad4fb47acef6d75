"""Judges whether a device shows a step: by who it is, what it asked last, and what each query comes to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from broker.site.device import Device
from broker.site.tables.roles import ACTIVE, State
from broker.store.knocks import Knock
from broker.worklist.device import adapt
from broker.worklist.explain import conditions, recall
from broker.worklist.explain.conditions import Check, ShownCondition
from broker.worklist.explain.recall import Recalled
from broker.worklist.explain.writing import written
from broker.worklist.query.attributes import STATIONS, STEP_SEQUENCE
from broker.worklist.query.keys import Query, SequenceKey, TextKey
from broker.worklist.query.matcher import Document
from broker.worklist.query.timezone import in_offset


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step as it is now. `came_at` and `changed_at` in s since the epoch."""

    row: int
    document: Document
    came_at: float
    changed_at: float


@dataclass(frozen=True, slots=True)
class Caller:
    """The device: `node` is empty for one that is none, `accepted` if it is let in all the same.

    `state`: of the node; one that is disabled or blocked is refused.
    `knocks` are its calls that are no node's, or from another address than its node's; the last first.
    """

    ae_title: str
    node: str
    accepted: bool
    profile: Device
    knocks: tuple[Knock, ...] = ()
    state: State = ACTIVE


@dataclass(frozen=True, slots=True)
class Asking:
    """A query: one that was made `times`, last `at`; or a supposed one (`at` None). None: it could not be read.

    `previous`: when it was made the time before the last.
    """

    recalled: Recalled | None
    at: float | None = None
    times: int = 0
    count: int = 0
    status: str = ""
    comment: str = ""
    previous: float | None = None

    def wanted(self) -> str:
        """What it asked for, in words, without a value of a patient."""
        if self.recalled is None:
            return "something that could not be read"
        keys = recall.keys(self.recalled).items()
        named = (f"{conditions.NAMES.get(key, key)} {value}" for key, value in keys)
        return ", ".join(named) or "everything (no key has a value)"


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """How many answers come `before` a step, or that at most so many do; -1 if the search does not find it."""

    before: int
    exact: bool = True

    def __str__(self) -> str:
        return str(self.before + 1) if self.exact else f"at most {self.before + 1}"


@dataclass(frozen=True, slots=True)
class Ground:
    """What verdicts stand on: the site's clock and defaults, and the search of the database.

    `secret` keys the hashes of queries and `key` names it. `place(query, row, most)`: the place of a step among the
    answers, exact if it may not be among the first `most`; None if there are too many to count.
    """

    now: datetime
    zone: tzinfo
    max_answers: int
    charset: str
    secret: bytes
    key: str
    place: Callable[[Query, int, int], AnswerPlace | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one query comes to for one step now; `reason` is the first one."""

    asking: Asking
    shown: bool | None
    reason: str
    checks: tuple[Check, ...]


def supposed(ae_title: str) -> Asking:
    """What a device most likely asks that has never asked: all steps of its own AE title."""
    key = SequenceKey(STEP_SEQUENCE, (TextKey(STATIONS, "AE", frozenset({ae_title})),))
    return Asking(Recalled(Query(keys=(key,), named=(STATIONS,)), (), ""))


def judge(step: ExplainedStep, caller: Caller, asking: Asking, ground: Ground) -> Verdict:
    """What a query of the device would show of a step now."""
    if asking.recalled is None:
        return Verdict(asking, False, f"the query could not be read: {asking.comment}", ())
    recalled, profile = asking.recalled, caller.profile
    query = adapt(recalled.query, profile, caller.ae_title, ground.now)
    secret = ground.secret if recalled.key in ("", ground.key) else None
    document = in_offset(step.document, ground.zone, query.offset)
    loose = {"prefix_names": profile.prefix_names, "any_case": profile.ignore_case}
    results = list(conditions.checks(document, query, recalled.secrets, secret, **loose))
    if conditions.shown(results) and not recalled.secrets:
        most = profile.max_answers or ground.max_answers
        place = ground.place(query, step.row, most)
        if place is not None and place.before == -1:
            results.append(Check(ShownCondition.SEARCH, False))
        elif place is not None:
            results.append(Check(ShownCondition.CAP, place.before < most, str(most), str(place)))
    elif conditions.shown(results) is None:
        results = _found_nothing(results, step, asking)
    results.append(written(step.document, recalled.query.charset, profile.charset, ground.charset))
    return Verdict(asking, conditions.shown(results), conditions.sentence(results), tuple(results))


def _found_nothing(results: list[Check], step: ExplainedStep, asking: Asking) -> list[Check]:
    """The query found nothing since the step changed last: then the one condition that is not known was not met."""
    nothing = asking.status == "0000" and not asking.count and (asking.at or 0) > step.changed_at
    if not nothing or sum(check.passed is None for check in results) > 1:
        return results
    hint = "the query found nothing"
    return [replace(check, passed=False, hint=hint) if check.passed is None else check for check in results]


def conclude(
    step: ExplainedStep, caller: Caller, verdicts: Sequence[Verdict], ground: Ground
) -> tuple[bool | None, str]:
    """Whether the device shows the step, and why or why not, in one sentence. `verdicts`: the last query first.

    What a person sees on the device is the answer to its last query, so that one decides, with those it asks in turns.
    """
    who, last = caller.node or caller.ae_title, verdicts[0]
    if refused := refusal(caller, last.asking.at or 0, ground.zone):
        return False, refused
    best = _best(_in_turns(verdicts))
    if best.asking.at is None:
        if best.shown:
            return None, f"{who} has never asked; if it asks for the steps of {caller.ae_title}, this one is shown"
        return best.shown, f"{who} has never asked; if it asks for the steps of {caller.ae_title}: {best.reason}"
    asked = f"{who} asked at {clock(best.asking.at, ground.zone)}"
    if not best.shown:
        last_asked = f"{who} asked last at {clock(best.asking.at, ground.zone)} for {best.asking.wanted()}"
        return best.shown, f"{last_asked}: {best.reason}{_earlier(step, verdicts, ground.zone)}"
    if best.asking.at < step.came_at:
        return True, f"{asked}, before the step came at {clock(step.came_at, ground.zone)}; the same query now shows it"
    if best.asking.at < step.changed_at:
        changed = clock(step.changed_at, ground.zone)
        return True, f"{asked}, before the step changed at {changed}; the same query now shows it"
    if best.asking.status not in ("0000", ""):
        return (
            True,
            f"{asked} and was answered {best.asking.status} ({best.asking.comment}); the same query now shows it",
        )
    if best is last:
        return True, f"{asked}: the step is shown"
    return True, f"{asked} for {best.asking.wanted()}, in turns with other queries: the step is shown"


def refusal(caller: Caller, asked_at: float, zone: tzinfo) -> str:
    """Why the device is not let in; empty if it is. `asked_at`: when it asked last, in s since the epoch."""
    who = caller.node or caller.ae_title
    if not caller.node and not caller.accepted:
        return _outside(caller, zone)
    if caller.state != ACTIVE:
        return f"{who} is refused: its node is {caller.state}; `broker nodes enable {who}` lets it in"
    if not caller.accepted and caller.knocks and caller.knocks[0].last_at > asked_at:
        return _elsewhere(caller, zone)
    return ""


def _in_turns(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The last query, and those that the device asks in turns with it: what it shows may be all their answers together.

    Such a query was asked since the last one was asked the time before, and it comes about as often. One that a person
    typed in between is none.
    """
    last = verdicts[0].asking
    if last.at is None or last.previous is None:
        return [verdicts[0]]
    period = last.at - last.previous
    return [verdicts[0]] + [
        verdict
        for verdict in verdicts[1:]
        if (asking := verdict.asking).at is not None
        and asking.previous is not None
        and asking.at > last.previous
        and asking.at - asking.previous <= 2 * period
    ]


def _earlier(step: ExplainedStep, verdicts: Sequence[Verdict], zone: tzinfo) -> str:
    """That an earlier query shows the step, or would now; empty if none does."""
    for verdict in verdicts:
        asking = verdict.asking
        if verdict.shown and asking.at is not None:
            shows = "shows" if asking.at >= step.changed_at and asking.status in ("0000", "") else "would now show"
            return f"; an earlier query, at {clock(asking.at, zone)} for {asking.wanted()}, {shows} it"
    return ""


def _best(verdicts: Sequence[Verdict]) -> Verdict:
    """The query that comes nearest to showing the step, rather one for no single patient; of several the last one."""

    def distance(verdict: Verdict) -> tuple[int, int, int, int]:
        failed = sum(check.passed is False for check in verdict.checks)
        unknown = sum(check.passed is None for check in verdict.checks)
        secrets = len(verdict.asking.recalled.secrets) if verdict.asking.recalled is not None else 0
        return (verdict.asking.recalled is None, failed, unknown, secrets)

    return min(verdicts, key=distance)


def _outside(caller: Caller, zone: tzinfo) -> str:
    title = caller.ae_title
    if not caller.knocks:
        return f"{title} is no node of the site, and has never called"
    last = caller.knocks[0]
    calls = sum(knock.count for knock in caller.knocks)
    return (
        f"{title} is no node of the site and is refused: it called {calls} times, last at {clock(last.last_at, zone)} "
        f"from {last.address}; `broker nodes admit {title} {last.address}` lets it in"
    )


def _elsewhere(caller: Caller, zone: tzinfo) -> str:
    last = caller.knocks[0]
    calls = sum(knock.count for knock in caller.knocks)
    return (
        f"{caller.node} is refused since it calls from another address than its node has: {calls} times, "
        f"last at {clock(last.last_at, zone)} from {last.address}"
    )


def clock(at: float, zone: tzinfo) -> str:
    """A time (s since the epoch) on the site's clock."""
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")
