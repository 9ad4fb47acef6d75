"""Decides how the broker is: ok, degraded or down. Readiness, page, command and REST all tell this verdict.

“All well” is true only if nothing is down, waits too long, is held or full. This table is the whole policy, and each
row has a test (`tests/unit/status/test_status_judging.py`).

    What is the case                                                         Verdict
    -----------------------------------------------------------------------  --------
    a listener is closed; the worklist gives no answers                      down
    the database cannot be read, and no copy of the worklist answers         down
    the database cannot be read, and the copy answers                        degraded
    the database cannot be written, or is damaged                            degraded
    the database lacks rows that it had: deleted, emptied, or an old copy    degraded
    what waits is not known, as it cannot be counted                         degraded
    a worker is away                                                         degraded
    a disk has so little room that something is refused                      degraded
    a disk will be so full within SOON, and less than FEW of it is free      degraded
    a disk will be so full within LATER                                      ok, note
    a node cannot be reached                                                 degraded
    the objects of a node that is away go to another (`failover`)            ok, note
    work that could be done waits longer than WAIT                           degraded
    a node is paused by a person, or drains: its work waits                  degraded
    objects wait for the send window of their node                           ok, note
    the same, and none comes within a year                                   degraded
    jobs or objects are held                                                 degraded
    a performed step waits for a person longer than PERFORMED_WAIT           degraded
    a sender is silent (`rhythm.py`)                                         degraded
    more than REFUSED_SHARE of the messages of a quarter hour are refused    degraded
    a duty failed twice in a row                                             degraded
    a certificate of ours has ended                                          degraded
    a certificate of ours ends within CERTIFICATE                            ok, note
    the clock was set, or that of the disk differs                           ok, note

Unknown devices that knock, messages that were refused today and performed steps of today need a person too. They are
the daily business of a hospital, and do not make a broker unwell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.model.wording import Instant, Lasting, Sentence
from broker.status.facts import BrokerFacts, DiskFact, NeedCause, NeedFact
from broker.status.node_judging import StatusFinding, Weight, amount, node_findings
from broker.store.room import Room

PERFORMED_WAIT = 86_400.0
SOON, LATER, FEW = 12 * 3600.0, 48 * 3600.0, 0.3  # seconds until a disk is full; share of it that is free
REFUSED_SHARE, REFUSED_LEAST = 0.05, 5
FAILED = 2  # times in a row
CERTIFICATE = 30 * 86_400.0
BACKUP = 26 * 3600.0  # seconds after which a good backup is old: one is made each day

Health = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class StatusVerdict:
    """How the broker is, and why: the heaviest finding first."""

    health: Health
    findings: tuple[StatusFinding, ...]


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """What is known of the broker, and the verdict."""

    facts: BrokerFacts
    verdict: StatusVerdict


def judge(facts: BrokerFacts) -> StatusVerdict:
    """Decide by the table above."""
    found = [
        *_doors(facts),
        *_database(facts),
        *(StatusFinding(weight=Weight.DEGRADED, text=text) for text in facts.workers),
        *(finding for disk in facts.disks for finding in _disk(disk, facts.now)),
        *node_findings(facts),
        *_held(facts),
        *_senders(facts),
        *_upkeep(facts),
        *(StatusFinding(weight=Weight.NOTE, text=text) for text in facts.notes),
    ]
    found.sort(key=lambda finding: -finding.weight)
    heaviest = max((finding.weight for finding in found), default=Weight.NOTE)
    health: Sequence[Health] = ("ok", "degraded", "down")
    return StatusVerdict(health[heaviest], tuple(found))


def _doors(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for text in facts.doors:
        yield StatusFinding(weight=Weight.DOWN, text=text)


def _database(facts: BrokerFacts) -> Iterator[StatusFinding]:
    database = facts.database
    if database.damaged:
        yield _degraded(Sentence("the database is damaged: see “A damaged database” in config/operate.md"))
    if database.behind:
        yield _degraded(
            Sentence("the database has lost what it held before: see “A database that was lost” in config/operate.md")
        )
    if not database.reachable:
        if database.copy_age is None:
            yield StatusFinding(weight=Weight.DOWN, text=Sentence("the database cannot be read"))
        else:
            yield _degraded(
                Sentence(
                    "the database cannot be read: the worklist answers from a copy of %(age)s ago, all else is refused",
                    {"age": Lasting(database.copy_age)},
                )
            )
    elif not database.writable:
        yield _degraded(Sentence("the database cannot be written: orders and images are refused, the worklist answers"))
    if database.counted_at is None:
        yield _degraded(Sentence("what waits in the queue is not known: it could not be counted yet"))
    elif database.stale:
        yield _degraded(Sentence("the numbers are of %(age)s ago", {"age": Lasting(facts.now - database.counted_at)}))


def _disk(disk: DiskFact, now: float) -> Iterator[StatusFinding]:
    if disk.room is Room.NO_LARGE:
        yield _degraded(Sentence("the disk has little room: large images are refused"))
    elif disk.room is Room.NO_OBJECTS:
        yield _degraded(Sentence("the disk has little room: images are refused"))
    elif disk.room is Room.NOTHING:
        yield _degraded(Sentence("the disk has no room: images and orders are refused, the worklist answers"))
    elif (full_at := disk.forecast.full_at) is not None:
        few = disk.free < disk.size * FEW
        if full_at - now <= LATER:
            yield StatusFinding(
                weight=Weight.DEGRADED if few and full_at - now <= SOON else Weight.NOTE,
                text=Sentence(
                    "the disk of %(what)s will be full at %(at)s (in %(span)s) if it goes on so: images are refused"
                    " then",
                    {"what": ", ".join(disk.holds), "at": Instant(full_at), "span": Lasting(full_at - now)},
                ),
            )


def _held(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for need in facts.needs:
        late = need.oldest is not None and facts.now - need.oldest > PERFORMED_WAIT
        if need.cause in (NeedCause.HELD_JOBS, NeedCause.HELD_OBJECTS):
            text = _held_jobs(need) if need.cause is NeedCause.HELD_JOBS else _held_objects(need)
            yield StatusFinding(weight=Weight.DEGRADED, text=text, since=need.oldest, node=need.node)
        elif need.cause is NeedCause.PERFORMED and late:
            yield StatusFinding(
                weight=Weight.DEGRADED,
                text=Sentence(
                    "%(count)s performed step waits for a person for more than a day: %(what)s",
                    _amounts(need),
                    "%(count)s performed steps wait for a person for more than a day: %(what)s",
                ),
                since=need.oldest,
            )


def _held_jobs(need: NeedFact) -> Sentence:
    values, many = _amounts(need), "%(node)s: %(count)s deliveries are held: %(what)s"
    return Sentence("%(node)s: %(count)s delivery is held: %(what)s", values | {"node": need.node}, many)


def _held_objects(need: NeedFact) -> Sentence:
    many = "%(count)s objects are held: %(what)s"
    return Sentence("%(count)s object is held: %(what)s", _amounts(need), many)


def _amounts(need: NeedFact) -> dict[str, object]:
    """`n` chooses singular or plural, and `count` says the number as far as it is known."""
    return {"n": need.count, "count": amount(need.count, more=need.more), "what": need.what}


def _senders(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for sender in facts.senders:
        if sender.silent:
            yield StatusFinding(
                weight=Weight.DEGRADED,
                text=Sentence(
                    "%(sender)s is silent since %(at)s (%(span)s): about %(n)s message usually comes in that time",
                    {
                        "sender": sender.name,
                        "at": Instant(sender.last_at),
                        "span": Lasting(facts.now - sender.last_at),
                        "n": round(sender.expected or 0),
                    },
                    "%(sender)s is silent since %(at)s (%(span)s): about %(n)s messages usually come in that time",
                ),
                since=sender.last_at,
            )
    traffic = facts.traffic
    messages = traffic.accepted + traffic.refused
    if traffic.refused > REFUSED_LEAST and traffic.refused > REFUSED_SHARE * messages:
        yield _degraded(
            Sentence(
                "%(refused)s of %(all)s HL7 messages of the last 15 minutes were refused",
                {"refused": round(traffic.refused), "all": round(messages)},
            )
        )


def _upkeep(facts: BrokerFacts) -> Iterator[StatusFinding]:
    if (backup := facts.backup) is not None and backup.failed:
        told = {"code": backup.failed, "at": Instant(backup.failed_at)}
        yield _degraded(Sentence("the last backup, at %(at)s, failed (%(code)s)", told))
    elif backup is not None and facts.now - (backup.good_at or facts.started_at) > BACKUP:
        text = Sentence("there is no good backup yet")
        if backup.good_at:
            told = {"at": Instant(backup.good_at), "span": Lasting(facts.now - backup.good_at)}
            text = Sentence("the last good backup was made at %(at)s, %(span)s ago", told)
        yield StatusFinding(weight=Weight.DEGRADED if backup.daily else Weight.NOTE, text=text)
    for duty in facts.duties:
        if duty.failures >= FAILED:
            yield _degraded(
                Sentence(
                    "housekeeping fails: %(duty)s, %(count)s times in a row, the last time at %(at)s (%(error)s)",
                    {"duty": duty.name, "count": duty.failures, "at": Instant(duty.last_at), "error": duty.error},
                )
            )
    for certificate in facts.certificates:
        left = certificate.ends_at - facts.now
        if left <= 0:
            yield _degraded(
                Sentence(
                    "the certificate of %(place)s ended at %(at)s",
                    {"place": certificate.place, "at": Instant(certificate.ends_at)},
                )
            )
        elif left <= CERTIFICATE:
            yield StatusFinding(
                weight=Weight.NOTE,
                text=Sentence(
                    "the certificate of %(place)s ends in %(span)s", {"place": certificate.place, "span": Lasting(left)}
                ),
            )


def _degraded(text: Sentence) -> StatusFinding:
    return StatusFinding(weight=Weight.DEGRADED, text=text)
