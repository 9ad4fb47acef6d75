"""Shares what requests to webhooks and DICOMweb services have in common."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from broker import __version__
from broker.tls import failure

LONGEST_WAIT = 86_400.0  # seconds that a node may ask for; the queue has a limit of its own
USER_AGENT = f"worklist-broker/{__version__}"


def retry_after(text: str, now: float) -> float:
    """Retry-After as seconds (RFC 9110 10.2.3); 0 for none, or for a text that is none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), LONGEST_WAIT)
    except (ValueError, OverflowError):
        return 0.0


def unreached(error: BaseException) -> str:
    """A code for why there was no connection."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return failure(cause)
    return "unreachable"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
