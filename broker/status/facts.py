"""Holds all that is known of the broker at one moment, as values without patient data. Times in s since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from broker.model.lane import Lane
from broker.model.wording import Sentence
from broker.status.forecast import Forecast
from broker.store.room import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerFact:
    """A door of the broker."""

    name: str
    address: str
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFact:
    """The database. `behind`: it lacks rows that it had.

    `copy_age`: seconds, of the worklist's copy that answers while it is away; None: there is none.

    `written_at`: its last write by this broker. `counted_at`: when what waits was counted last, None for never since
    the start; `stale`: newer numbers were asked for, and there are none.
    """

    kind: str
    reachable: bool
    writable: bool = True
    damaged: bool = False
    behind: bool = False
    copy_age: float | None = None
    size: int = 0
    written_at: float | None = None
    counted_at: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFact:
    """A file system and what stands on it. `mark`: free bytes below which images are refused."""

    holds: tuple[str, ...]
    size: int
    free: int
    mark: int
    room: Room
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFact:
    """The work of one kind for a node. `since`: when its failures began; `error`: the code of the last one."""

    lane: Lane
    waiting: int = 0
    held: int = 0
    oldest: float | None = None
    failures: int = 0
    since: float = 0.0
    next_try: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """A system of the site, the work for it, and its last contacts by what they were.

    `rests`: a person has made it `disabled` or `blocked`, else empty. `paused`: a person has made it `paused` or
    `draining`, since when; else empty. `closed_until`: no objects are sent to it until then (`math.inf`:
    within a year); None while it is open. `goes_to`: the destination that gets its
    objects, while it is away.
    """

    name: str
    kind: str
    title: str
    address: str
    roles: tuple[str, ...]
    lanes: tuple[LaneFact, ...] = ()
    last_in: float | None = None
    last_out: float | None = None
    contacts: Mapping[str, float] = field(default_factory=dict)
    rests: str = ""
    paused: str = ""
    paused_at: float | None = None
    closed_until: float | None = None
    goes_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderFact:
    """An application that sends HL7. `expected`: messages that usually come in such a time; None: not known yet."""

    name: str
    last_at: float
    messages: int
    expected: float | None
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFact:
    """A certificate of ours, by the place in the configuration that names it."""

    place: str
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyFact:
    """Periodic work: its last run, how long it took (s), and how often in a row it failed. `error`: where it failed.

    `deleted`: how many rows or files it deleted; None for what deletes none, and for a run that failed.
    """

    name: str
    last_at: float
    seconds: float
    failures: int = 0
    error: str = ""
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFact:
    """The last good backup, how long it took (s), where it is, and the code of one that failed since.

    `proven_at`: when it was read again and found good; `restored`: its database was also restored for a trial.
    `daily`: the broker makes one each day by itself. Times: 0 for never.
    """

    good_at: float
    seconds: float
    folder: str = ""
    proven_at: float = 0.0
    restored: bool = False
    failed_at: float = 0.0
    failed: str = ""
    daily: bool = False


class NeedCause(StrEnum):
    """Says for what a person is needed."""

    HELD_JOBS = "held-jobs"
    PAUSED = "paused"
    HELD_OBJECTS = "held-objects"
    PERFORMED = "performed"
    REFUSED = "refused"
    KNOCKING = "knocking"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedFact:
    """Things of one cause that wait for a person; `what` says why in words. `more`: there may be more than `count`.

    `oldest`: since when the first one waits; `latest`: when the last one came; as far as they are known.
    """

    cause: NeedCause
    count: int
    what: Sentence
    oldest: float | None = None
    latest: float | None = None
    code: str = ""  # of the reason, as it is stored
    lane: str = ""
    node: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFact:
    """What went through lately."""

    accepted: float  # HL7 messages of the last quarter of an hour
    refused: float
    stalls: float  # of the event loop in the last hour


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """Everything. `doors`: what is wrong with the listeners; `workers`: with the other processes; `notes`: what a
    person should know beside, such as that the clock was set.
    """

    now: float
    started_at: float
    version: str
    listeners: tuple[ListenerFact, ...]
    database: DatabaseFact
    doors: tuple[Sentence, ...] = ()
    workers: tuple[Sentence, ...] = ()
    notes: tuple[Sentence, ...] = ()
    backup: BackupFact | None = None
    disks: tuple[DiskFact, ...] = ()
    nodes: tuple[NodeFact, ...] = ()
    senders: tuple[SenderFact, ...] = ()
    certificates: tuple[CertificateFact, ...] = ()
    duties: tuple[DutyFact, ...] = ()
    needs: tuple[NeedFact, ...] = ()
    exams: Mapping[str, int] = field(default_factory=dict)
    traffic: TrafficFact = TrafficFact(accepted=0, refused=0, stalls=0)
