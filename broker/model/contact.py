"""Names what a node last did with the broker, or the broker with it, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ContactKind(StrEnum):
    """What happened between a node and the broker. REFUSED is what the node tried in vain, FAILED what we did."""

    ASSOCIATION = "association"
    ECHO = "echo"
    QUERY = "query"
    PERFORMED = "performed step"
    IMAGE = "image"
    REQUEST = "commitment request"
    MESSAGE = "message"
    REFUSED = "refused"
    DELIVERY = "delivery"
    FEEDBACK = "feedback"
    PASSED_ON = "passed on"  # an MPPS message, or the event that one made
    NOTICE = "notice"  # that a rule acted
    COMMITMENT = "commitment"  # an archive was asked, or a modality told
    IMPORT = "import"
    FAILED = "failed"


_OUTWARD = frozenset(
    {
        ContactKind.DELIVERY,
        ContactKind.FEEDBACK,
        ContactKind.PASSED_ON,
        ContactKind.NOTICE,
        ContactKind.COMMITMENT,
        ContactKind.IMPORT,
        ContactKind.FAILED,
    }
)
_IN_VAIN = frozenset({ContactKind.REFUSED, ContactKind.FAILED})


@dataclass(frozen=True, slots=True)
class Contact:
    """The last contact of one kind with a node. `at` in s since the epoch; `detail`: a reason or status, no values."""

    node: str
    kind: ContactKind
    at: float
    detail: str = ""

    @property
    def inward(self) -> bool:
        """The node came to us."""
        return self.kind not in _OUTWARD

    @property
    def good(self) -> bool:
        """It was not in vain."""
        return self.kind not in _IN_VAIN


@dataclass(frozen=True, slots=True)
class NodeContacts:
    """The last contacts with one node, by kind."""

    by_kind: Mapping[ContactKind, Contact] = field(default_factory=dict)

    @property
    def last_in(self) -> Contact | None:
        """The last time the node came to us and was served, whatever it wanted."""
        return max((c for c in self.by_kind.values() if c.inward and c.good), key=_at, default=None)

    @property
    def last_out(self) -> Contact | None:
        """The last time we went to the node and something was done."""
        return max((c for c in self.by_kind.values() if not c.inward and c.good), key=_at, default=None)


def _at(contact: Contact) -> float:
    return contact.at
