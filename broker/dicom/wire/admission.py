"""Defines the question who may associate, and the answers of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker.dicom.wire.negotiation import AssociationRequest


@dataclass(frozen=True, slots=True)
class Rejection:
    """Parameters of an A-ASSOCIATE-RJ and a word for log and metrics."""

    result: int
    source: int
    reason: int
    code: str


_PERMANENT, _TRANSIENT = 1, 2  # results
_USER, _ACSE, _PRESENTATION = 1, 2, 3  # sources: service user; service provider, of ACSE or presentation related
CALLING_AE_UNKNOWN = Rejection(_PERMANENT, _USER, 3, "calling-ae-unknown")
CALLED_AE_UNKNOWN = Rejection(_PERMANENT, _USER, 7, "called-ae-unknown")
# a known AE title from elsewhere, or with another certificate
NOT_AUTHENTIC = Rejection(_PERMANENT, _USER, 3, "node-authentication")
# D.3.3.7 of PS3.7: a failed authorization is permanent and of the ACSE provider, which knows no better reason
IDENTITY_REFUSED = Rejection(_PERMANENT, _ACSE, 1, "user-identity")
# table 9-21 of PS3.8 knows no "disabled": it may be let in later, so it is transient and without a reason
NODE_DISABLED = Rejection(_TRANSIENT, _USER, 1, "node-disabled")
NODE_BLOCKED = Rejection(_PERMANENT, _USER, 3, "node-blocked")
APPLICATION_CONTEXT_UNKNOWN = Rejection(_PERMANENT, _USER, 2, "application-context")
TEMPORARY_CONGESTION = Rejection(_TRANSIENT, _PRESENTATION, 1, "congestion")
LOCAL_LIMIT = Rejection(_TRANSIENT, _PRESENTATION, 2, "local-limit")

# when each of them is answered, for the conformance statement
REJECTIONS: Mapping[Rejection, str] = {
    CALLED_AE_UNKNOWN: "The called AE title is not that of the broker.",
    CALLING_AE_UNKNOWN: "The calling AE title is empty, or no node has it.",
    NOT_AUTHENTIC: "A node has the calling AE title, but the address or the certificate is not that of the node.",
    IDENTITY_REFUSED: "The user identity is missing where one is needed, or is not that of the node.",
    NODE_DISABLED: "The node is disabled for now.",
    NODE_BLOCKED: "The node is blocked.",
    APPLICATION_CONTEXT_UNKNOWN: "The application context is not that of DICOM.",
    TEMPORARY_CONGESTION: "The address of a caller that is no node asks for too many associations per second.",
    LOCAL_LIMIT: "All associations are taken, or all that one address may have.",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """The peer may come in. A positive response is given only to a user identity that was checked (PS3.7 D.3.3.7)."""

    identity_checked: bool = False
    node: bool = False  # the caller is a system that the site names


@dataclass(frozen=True, slots=True)
class ConnectionOrigin:
    """The address of a connection and its certificate (DER), which the TLS handshake has verified."""

    address: str
    certificate: bytes | None = field(default=None, repr=False)


class Admission(Protocol):
    """Decides who may associate."""

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant | None:
        """Reject the request, or grant it; None grants it without an identity that was checked."""
        ...
