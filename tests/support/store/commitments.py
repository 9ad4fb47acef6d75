"""A database with objects, requests for storage commitment, and a walk over them with a clock of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, update

from broker.commitment.deciding import CommitmentTimes
from broker.commitment.walk import CommitmentWalk
from broker.model.lane import JobKind, JobState, Lane, LaneKind
from broker.site.tables.roles import Commitment
from broker.store import jobs
from broker.store.commitments import asks, requests
from broker.store.commitments.requests import NewCommitment, TakenRequest
from broker.store.commitments.states import ObjectReference
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.instances import InstanceState, NewInstance
from broker.store.schema import tables
from support.store.rows import all_of

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
TIMES = CommitmentTimes(unknown=0.1, delivery=1e6, together=0, answer=50, again=0.0)
CONTENT = b"the data set"


@dataclass
class CommitmentHouse:
    """A database with objects, a walk with a clock of its own, and the nodes that count."""

    database: Database
    folder: Path
    proofs: dict[str, Commitment] = field(default_factory=lambda: {"pacs": "delivered"})
    now: float = field(default_factory=time.time)
    woken: int = 0

    def write(self, work: Any, *args: Any) -> Any:
        return self.database.execute(work, *args)

    def read(self, work: Any, *args: Any) -> Any:
        return self.database.read(work, *args).result(10)

    def walk(self, times: CommitmentTimes = TIMES) -> None:
        """Look at all that is open, as if it were due."""

        def wake() -> None:
            self.woken += 1

        walk = CommitmentWalk(
            Pace(self.database), self.folder, lambda: self.proofs, {CT, MR}, wake, times, lambda: self.now
        )
        self.write(lambda c: c.execute(update(tables.commitment).values(due_at=0.0)))
        walk.run()

    def instance(self, uid: str, *, state: InstanceState = InstanceState.ROUTED, number: int = 1, data: bytes = CONTENT,
                 sop_class: str = CT, path: str = "", at: float = 1.0) -> int:  # fmt: skip
        """A received version of an object, with its bytes in the database; its row."""
        values: dict[str, Any] = dict.fromkeys(NewInstance.__slots__, "") | {"version": number, "data_offset": 0}
        values |= {"digest": sha256(data).digest(), "data_length": len(data), "received_at": at, "rules_version": 1}
        values |= {"discarded_at": 0.0, "sop_instance_uid": uid, "sop_class_uid": sop_class, "state": state.value}
        values |= {"path": path}
        del values["content"]

        def unit(connection: Connection) -> int:
            added = insert(tables.instance).values(values).returning(tables.instance.c.id)
            row = connection.execute(added).scalar_one()
            if not path and state is not InstanceState.PURGED:
                connection.execute(insert(tables.content).values(instance=row, data=data))
            return int(row)

        return int(self.write(unit))

    def sent(self, instance: int, node: str = "pacs", state: JobState = JobState.DONE, error: str = "") -> None:
        """A delivery of it."""
        lane = Lane(LaneKind.DELIVER, node).name
        new = jobs.NewJob(kind=JobKind.DELIVER, lane=lane, subject=instance, detail={})
        done = {"state": state, "last_error": error, "done_at": self.now if state is JobState.DONE else None}

        def unit(connection: Connection) -> None:
            jobs.enqueue(connection, [new], self.now)
            here = tables.job.c.lane == lane, tables.job.c.subject == instance
            connection.execute(update(tables.job).where(*here).values(done))

        self.write(unit)

    def ask(self, *uids: str, transaction: str = "2.25.1", node: str = "ct", sop_class: str = CT) -> TakenRequest:
        """A request of a modality."""
        new = NewCommitment(
            transaction_uid=transaction, node=node, calling_ae="CT", called_ae="BROKER", peer="127.0.0.1",
            received_at=self.now, references=[ObjectReference(sop_class, uid) for uid in uids],
        )  # fmt: skip
        taken: TakenRequest = self.write(requests.take, new)
        return taken

    def verdict(self, row: int) -> list[int] | None:
        """The result of a request; None while it is not judged."""
        found = self.read(requests.report, row)
        return list(found.verdict) if found is not None else None

    def questions(self) -> list[Any]:
        return list(self.read(all_of, tables.commitment_ask))

    def report(self, *results: int) -> None:
        """The archive answers the question that waits."""
        ask = self.questions()[-1].id
        self.write(asks.asked, ask, self.now)
        assert self.write(asks.answer, ask, results, self.now)

    def told(self) -> list[tuple[str, int]]:
        """Lanes and subjects of the jobs that tell modalities."""
        found = self.read(all_of, tables.job)
        return [(row.lane, row.subject) for row in found if row.kind == JobKind.COMMITMENT_REPORT]
