"""Makes a query ready to be answered, and decides which answers go out and with which status they end. Pure.

The door (`scp`) and who looks at a worklist in place of a device (`explain.sight`) drive it alike: both say the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from broker import telemetry
from broker.dicom.dataset.read import decode_data_set
from broker.dicom.dimse import status as st
from broker.site.device import Device
from broker.store.worklist.candidates import Found
from broker.worklist.answer.cache import Known, PreparedQuery
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.device import adapt
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches
from broker.worklist.query.negotiation import BASELINE, Agreed
from broker.worklist.query.parse import parse
from broker.worklist.query.timezone import in_offset

PAGE = 200  # candidates of one statement


def understood(data: bytes, transfer_syntax: str, options: Agreed = BASELINE) -> Query:
    """The query of an identifier. Raises BadContent: it cannot be read."""
    return parse(decode_data_set(data, transfer_syntax, passes_misfits=True), options)


def prepared(
    query: Query, device: Device, calling_ae: str, now: datetime, transfer_syntax: str, charset: str
) -> PreparedQuery:
    """A query as its device is served. `now` is the site's wall clock, `charset` that of answers which need one."""
    served = adapt(query, device, calling_ae, now)
    encoder = AnswerEncoder(served, transfer_syntax, charset, device.charset, device.max_lengths)
    return PreparedQuery(query, served, search_criteria(served), encoder)


def answers(candidates: Sequence[Found], query: Query, encoder: AnswerEncoder, zone: tzinfo) -> Known:
    """Encoded answers of the candidates that match, by step. `zone`: of the site.

    A step whose document cannot be used is left out with an error in the log: it must not hide all others.
    """
    made: Known = {}
    for candidate in candidates:
        try:
            document = in_offset(json.loads(candidate.answer), zone, query.offset)
            made[candidate.id] = (candidate.revision, encoder.encode(document) if matches(document, query) else None)
        except Exception as error:
            telemetry.logger().error("worklist.step_unusable", error=telemetry.describe(error), key=candidate.id)
    return made


@dataclass(slots=True)
class AnswerList:
    """What has gone out of one query. `most`: answers that its device is sent."""

    most: int
    count: int = 0
    comment: str = ""
    after: tuple[str, int] | None = None  # the place behind which the next candidates stand
    found: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def fresh(self, candidates: Sequence[Found]) -> list[Found]:
        """Those of the next candidates that were not answered yet: a step rescheduled meanwhile must not come twice."""
        self.found.extend(candidate.id for candidate in candidates)
        return [candidate for candidate in candidates if candidate.id not in self.seen]

    def due(self, made: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
        """Of the answers (step, identifier) those that there is room for."""
        return made[: self.most - self.count]

    def sent(self, gone: Sequence[tuple[int, bytes]]) -> None:
        """Note answers that went out."""
        self.count += len(gone)
        self.seen.update(step for step, _ in gone)

    def status(self, candidates: Sequence[Found], left: int) -> int | None:
        """The final status after some candidates of which `left` answers had no room; None: there is more to find."""
        if left:
            self.comment = f"more than {self.most} matches"
            return st.OUT_OF_RESOURCES
        if len(candidates) < PAGE:
            return st.SUCCESS
        self.after = (candidates[-1].start_at, candidates[-1].id)
        return None
