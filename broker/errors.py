"""One tree of errors. Each says whether the same thing is worth another try.

A door (HL7, DIMSE, HTTP) translates these into its protocol's negative answers; everything
that is not of this tree is a defect of ours and is answered as passing trouble, never as success.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Base of all errors the broker raises on purpose. `code` is for logs and metrics, never patient data."""

    retryable = False
    code = "error"

    def __init__(self, text: str = "", *, code: str | None = None) -> None:
        super().__init__(text or self.__class__.__doc__ or self.code)
        if code is not None:
            self.code = code


class ConfigurationError(BrokerError):
    """The configuration cannot be used; the text names the key."""

    code = "configuration"


class Unavailable(BrokerError):
    """Passing trouble of ours (database, disk): the peer keeps its copy and comes again."""

    retryable = True
    code = "unavailable"


class StoreUnavailable(Unavailable):
    """The database is away, locked or full."""

    code = "store-unavailable"


class StoreFull(StoreUnavailable):
    """The disk of the database has no room for it."""

    code = "disk-full"


class SpoolUnavailable(Unavailable):
    """The spool cannot be written (disk full, quota, I/O error)."""

    code = "spool-unavailable"


class BadContent(BrokerError):
    """What the peer sent cannot be used; sending it again unchanged is useless."""

    code = "bad-content"


class ProtocolViolation(BadContent):
    """The peer broke the rules of its wire protocol; the connection ends."""

    code = "protocol-violation"


class PeerFault(BrokerError):
    """The remote node is away or busy: every job for it waits, for `after` seconds at least."""

    retryable = True
    code = "peer-fault"
    after: float = 0


class PeerDoubtful(PeerFault):
    """The remote node is there, but it did not do what it was sent: by its own fault, or by that of the item."""

    code = "peer-doubtful"


class Refused(BrokerError):
    """The remote node refused this item for good: a person must look."""

    code = "refused"
