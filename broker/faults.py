"""Named points at which tests make the broker die or fail.

Off unless the environment variable BROKER_FAULTS names a file. Each line of that file is
`point action`, the action being `kill` (SIGKILL to ourselves), `kill:N` (at the N-th passage) or the
name of an errno such as `ENOSPC`. The file is read at each passage, so a test repairs the disk by emptying it.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from pathlib import Path

_FILE = os.environ.get("BROKER_FAULTS", "")
_passages: Counter[str] = Counter()

POINTS = frozenset(
    {
        "spool.write",  # before bytes of an object go to the disk
        "spool.sync",  # before the file is fsynced
        "spool.synced",  # file and folder are on stable storage, no row yet
        "store.read",  # before a read of the database
        "store.commit",  # before the database commit
        "store.committed",  # after the commit, before anybody is told
        "dicom.answer",  # before a C-STORE response leaves
        "dicom.answered",  # after it left
        "hl7.answer",  # before an acknowledgement leaves
        "delivery.send",  # before an object goes to its destination
        "delivery.sent",  # the destination has answered, nothing recorded yet
        "mpps.send",  # before an N-CREATE, N-SET or N-EVENT-REPORT is passed on
        "mpps.sent",  # the receiver has answered, nothing recorded yet
        "commitment.send",  # before an archive is asked for storage commitment, or a modality told
        "commitment.sent",  # it has answered, nothing recorded yet
        "feedback.send",  # before a message goes to a RIS
        "feedback.sent",  # the RIS has answered, nothing recorded yet
    }
)


def point(name: str) -> None:
    """Die or raise OSError here if a test asked for it. Costs one comparison in production."""
    if _FILE:
        _obey(name)


def _obey(name: str) -> None:
    assert name in POINTS, name
    try:
        lines = Path(_FILE).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        where, _, action = line.strip().partition(" ")
        if where != name:
            continue
        if action.startswith("kill"):
            _passages[name] += 1
            if _passages[name] >= int(action.partition(":")[2] or 1):
                os.kill(os.getpid(), signal.SIGKILL)
        else:
            number = getattr(errno, action)
            raise OSError(number, os.strerror(number))
