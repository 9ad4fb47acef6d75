"""What one HL7 listener takes, from whom, and how it answers when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from broker.hl7.header import Header
from broker.hl7.tolerance import USUAL, Tolerance
from broker.orders.profile.profile import Profile

KnownSender = Callable[[str, str], bool]  # sending application, sending facility
Profiles = Callable[[Header], Profile]  # the mapping profile for the sender of a message


@dataclass(frozen=True, slots=True)
class Interface:
    """One listener, by its name in logs and journal; the keys of `[hl7]` in `broker.toml`.

    `known` None admits every sender. `on_transient` is what is done while the database is away: close the
    connection, or answer AE or AR. Messages with another MSH-11 than `processing_ids` are refused, and so are those
    for others than `receiving`: `APPLICATION` or `APPLICATION|FACILITY` as in MSH-5 and MSH-6, empty for all.
    `profile` names the mapping profile of senders that no profile claims. `refuse_reused`: a control id with
    other bytes than before is refused instead of taken with a warning. `answers`
    is what orders are answered with: an acknowledgement, or an application answer that tells of the order.
    """

    name: str
    known: KnownSender | None = None
    on_transient: Literal["close", "AE", "AR"] = "close"
    processing_ids: frozenset[str] = frozenset({"P"})
    answers: Literal["ack", "order"] = "ack"
    profile: str = ""
    receiving: frozenset[str] = frozenset()
    optional_fields: frozenset[str] = frozenset({"MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7"})
    tolerance: Tolerance = USUAL
    refuse_reused: bool = False
