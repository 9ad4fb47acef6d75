"""Reads the messages of performed procedure steps that are passed on to other systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from broker.model.performed import MessageKind
from broker.store.schema import tables

_mpps, _message = tables.mpps.c, tables.mpps_message.c


@dataclass(frozen=True, slots=True)
class PassedMessage:
    """An N-CREATE or N-SET: row of its MPPS, SOP Instance UID, and the data set as it came."""

    mpps: int
    sop_instance_uid: str
    kind: str
    transfer_syntax_uid: str
    data: bytes


_COLUMNS = (_message.mpps, _mpps.sop_instance_uid, _message.kind, _message.transfer_syntax_uid, _message.data)


def messages(connection: Connection, rows: Sequence[int]) -> dict[int, PassedMessage]:
    """Messages by row."""
    query = select(_message.id, *_COLUMNS).join_from(tables.mpps_message, tables.mpps).where(_message.id.in_(rows))
    return {row[0]: PassedMessage(*row[1:5], bytes(row[5])) for row in connection.execute(query)}


def creation(connection: Connection, mpps: int) -> PassedMessage | None:
    """The N-CREATE that made an MPPS (row)."""
    query = select(*_COLUMNS).join_from(tables.mpps_message, tables.mpps)
    query = query.where(_message.mpps == mpps, _message.kind == MessageKind.CREATE).order_by(_message.id).limit(1)
    row = connection.execute(query).first()
    return PassedMessage(*row[:4], bytes(row[4])) if row else None


def sop_instances(connection: Connection, rows: Sequence[int]) -> dict[int, str]:
    """SOP Instance UIDs of MPPS by row."""
    instances = connection.execute(select(_mpps.id, _mpps.sop_instance_uid).where(_mpps.id.in_(rows)))
    return {int(row): uid for row, uid in instances}
