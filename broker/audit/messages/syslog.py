"""Puts an audit message into a syslog message (RFC 5424), and that into a frame (RFC 5425, RFC 6587 3.4.1)."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

PRIORITY = 10 * 8 + 5  # security and authorization, notice: as IHE ITI-20 asks
APPLICATION = "worklist-broker"
LONGEST_DATAGRAM = 65_000  # bytes: what fits into UDP over IPv4 beside the headers
_BOM = b"\xef\xbb\xbf"
_NO_NAME = re.compile(r"[^!-~]+")


def syslog(message: bytes, at: float, host: str, message_id: str) -> bytes:
    """A syslog message around an audit message that was made for `at` (s since the epoch)."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = _NO_NAME.sub("-", host)[:255] or "-"
    head = f"<{PRIORITY}>1 {when} {name} {APPLICATION} {os.getpid()} {message_id} - "
    return head.encode("ascii") + _BOM + message


def framed(message: bytes) -> bytes:
    """A message as it goes over a stream: its length in bytes, a space, itself."""
    return str(len(message)).encode() + b" " + message
