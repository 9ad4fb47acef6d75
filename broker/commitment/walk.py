"""Judges requests for storage commitment: a walk outside of the lanes, in short transactions (`store.db.pace`).

A request is looked at soon after it came, then less and less often, and at once when an archive has reported. Each look
goes over the objects that are not judged. Archives are asked for what they were sent, some hundred objects at a time.
Once all objects are judged, a job tells the modality.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from broker import telemetry
from broker.commitment.deciding import LONGEST_LOOK, Age, CommitmentTimes, ObjectCase, ObjectFinding, decide
from broker.dicom.dimse import status as st
from broker.errors import StoreUnavailable
from broker.site.tables.roles import Commitment
from broker.store.commitments import asks, judged, requests
from broker.store.commitments.asks import ArchiveAsk
from broker.store.commitments.judged import ObjectChange, ObjectRow
from broker.store.commitments.requests import OpenCommitment
from broker.store.commitments.states import COMMITTED, OPEN, AskState
from broker.store.db.pace import Pace
from broker.store.images.soundness import fault_of
from broker.store.queued import steering

AT_ONCE = 50  # requests that are looked at in one walk
PAGE = 200  # objects that are looked at together
ASKED_TOGETHER = 1_000  # objects of one request to an archive

_Asks = Mapping[str, Mapping[int, tuple[ArchiveAsk, int]]]  # by node and place of the object: the latest, and where


@dataclass(slots=True)
class _Look:
    """What one look at a request has found so far. `ask`: places by node and attempt."""

    asks: _Asks
    age: Age
    now: float
    ask: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    awaited: set[str] = field(default_factory=set)
    open: int = 0


class CommitmentWalk:
    """Walks in one process."""

    def __init__(
        self,
        pace: Pace,
        spool: Path,
        proofs: Callable[[], Mapping[str, Commitment]],
        accepted: Collection[str],
        wake: Callable[[], None],
        times: CommitmentTimes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`spool`: where the files of objects stand; `proofs`: `Directory.proofs`; `accepted`: SOP classes of objects.

        `wake` is called when there is work for the queue.
        """
        self._pace, self._spool, self._proofs, self._accepted = pace, spool, proofs, accepted
        self._wake = wake
        self._times = times or CommitmentTimes()
        self._clock = clock

    def run(self) -> int:
        """Look at what is due; how many requests. One that fails keeps no other. Raises StoreUnavailable."""
        rows = self._pace.read(requests.due, self._clock(), 2 * LONGEST_LOOK, AT_ONCE)
        for row in rows:
            if self._pace.stopped:
                break
            try:
                self._look(row)
            except StoreUnavailable:
                raise
            except Exception as error:
                telemetry.logger().error("commitment.not_judged", error=telemetry.describe(error))
        while not self._pace.stopped and (done := self._pace.read(judged.left, PAGE)):
            list(self._pace.write(judged.drop, done))
        return len(rows)

    def _look(self, row: int) -> None:
        request = self._pace.read(requests.load, row)
        if request is None:
            return
        self._file(request)
        now = self._clock()
        age = Age(now - request.received_at, request.looks)
        self._end_late(request, age, now)
        look = _Look(self._asks(request), age, now)
        for page in self._pages(request):
            self._judge(request, page, look)
        self._ask(request, look)
        if self._pace.stopped:
            return
        if look.open:
            self._pace.alone(requests.put_off, request, now + self._times.look(request.looks))
            return
        verdict = self._pace.read(judged.reasons, request.id)
        if self._pace.alone(requests.close, request.id, verdict, now):
            failed = sum(reason != COMMITTED for reason in verdict)
            note = telemetry.logger().warning if failed else telemetry.logger().info
            note("commitment.judged", node=request.node, count=len(verdict), failed=failed)
            self._wake()

    def _file(self, request: OpenCommitment) -> None:
        """Make rows of the objects of a request that have none yet."""

        def filed(connection: Connection, places: Sequence[int]) -> None:
            judged.file(connection, request.id, len(places), places[0])

        list(self._pace.write(filed, range(request.filed, len(request.references))))

    def _pages(self, request: OpenCommitment) -> Iterator[list[ObjectRow]]:
        after = -1
        while not self._pace.stopped and (page := self._pace.read(judged.page, request.id, after, PAGE)):
            yield page
            after = page[-1].position

    def _end_late(self, request: OpenCommitment, age: Age, now: float) -> None:
        """End requests to archives that were not answered in time."""
        for one in self._pace.read(asks.of_request, request.id):
            if one.state is AskState.ASKED and Age(now - one.asked_at, age.looks).over(self._times.answer):
                self._pace.alone(asks.end, one.id, AskState.UNANSWERED, now)
                telemetry.logger().warning("commitment.unanswered", node=one.node, count=len(one.positions))

    def _asks(self, request: OpenCommitment) -> _Asks:
        """The latest request to each node for each object."""
        found: dict[str, dict[int, tuple[ArchiveAsk, int]]] = {}
        for one in self._pace.read(asks.of_request, request.id):
            by_place = found.setdefault(one.node, {})
            by_place |= {position: (one, place) for place, position in enumerate(one.positions)}
        return found

    def _judge(self, request: OpenCommitment, page: Sequence[ObjectRow], look: _Look) -> None:
        """Decide about some objects, and write down what is found."""
        named = {row.position: request.references[row.position] for row in page}
        versions = self._pace.read(judged.versions, [one.sop_instance_uid for one in named.values()])
        sent = self._pace.read(judged.deliveries, [one.id for all_ in versions.values() for one in all_])
        proofs, findings, resend = self._proofs(), dict[int, ObjectFinding](), list[int]()
        newest = dict[int, int]()
        for position, reference in named.items():
            known = versions.get(reference.sop_instance_uid, [])
            newest[position] = known[0].id if known else 0
            case = ObjectCase(
                reference=reference,
                versions=known,
                sent=sent,
                asks={node: by_place[position] for node, by_place in look.asks.items() if position in by_place},
            )
            found = findings[position] = decide(case, proofs, self._accepted, look.age, look.now, self._times)
            for node, attempt in found.ask.items() if found.reason == OPEN else ():
                look.ask[node, attempt].append(position)
            look.awaited |= set(found.awaited)
            resend += [found.resend] if found.resend else []
        spoiled = self._spoiled([newest[p] for p, one in findings.items() if one.reason == COMMITTED])
        changes = [
            _change(row, newest[row.position], findings[row.position], spoiled)
            for row in page
            if findings[row.position].reason != OPEN or newest[row.position] != row.instance
        ]
        look.open += sum(one.reason == OPEN for one in findings.values())

        def settle(connection: Connection, some: Sequence[ObjectChange]) -> None:
            judged.settle(connection, request.id, some, look.now)

        list(self._pace.write(settle, changes))
        self._send_again(resend, look.now)

    def _spoiled(self, rows: Sequence[int]) -> set[int]:
        """Those of some versions (rows) whose bytes here are not those that were received: they are read again."""
        spoiled = set()
        for start in range(0, len(rows), PAGE // 4):
            for row, kept in self._pace.read(judged.kept_bytes, rows[start : start + PAGE // 4]).items():
                if fault := fault_of(self._spool, kept):
                    telemetry.logger().error("commitment.spoiled", reason=fault)
                    spoiled.add(row)
        return spoiled

    def _send_again(self, jobs: Sequence[int], now: float) -> None:
        """Begin deliveries anew that an archive says twice it has not got."""

        def again(connection: Connection, rows: Sequence[int]) -> int:
            return sum(steering.send_again(connection, row, now) for row in rows)

        if sum(self._pace.write(again, jobs)):
            telemetry.logger().warning("commitment.sent_again", count=len(jobs))
            self._wake()

    def _ask(self, request: OpenCommitment, look: _Look) -> None:
        """Let archives be asked: for all objects at once, if the others do not take too long."""
        for (node, attempt), positions in look.ask.items():
            if node in look.awaited and not look.age.over(self._times.together):
                continue
            for start in range(0, len(positions), ASKED_TOGETHER):
                part = positions[start : start + ASKED_TOGETHER]
                self._pace.alone(asks.add, request.id, node, attempt, part, look.now)
            self._wake()


def _change(row: ObjectRow, newest: int, found: ObjectFinding, spoiled: Collection[int]) -> ObjectChange:
    good = found.reason == COMMITTED and newest not in spoiled
    reason = st.PROCESSING_FAILURE if found.reason == COMMITTED and not good else found.reason
    return ObjectChange(position=row.position, instance=newest, reason=reason, committed=found.proven if good else ())
