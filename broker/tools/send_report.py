"""Counts the files that `broker send` found and sent, and why some failed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from broker.dicom.dimse import words

LISTED = 20  # failures kept with their reasons; the rest is counted


@dataclass(slots=True)
class SendReport:
    """What became of the files. `seconds` runs from the first connection to the last answer."""

    files: int = 0  # DICOM files found
    bytes: int = 0  # of their data sets
    not_dicom: int = 0
    sent: int = 0  # with success or a warning
    sent_bytes: int = 0
    moved: int = 0  # bytes written so far, for progress
    warnings: Counter[int] = field(default_factory=Counter)  # by status
    refused: Counter[int] = field(default_factory=Counter)  # by status
    no_context: int = 0
    failed: int = 0
    unsent: int = 0  # never tried, since the node was not to be reached any more
    trouble: str = ""  # why
    interrupted: bool = False
    failures: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    began: float = 0.0
    ended: float = 0.0

    @property
    def done(self) -> int:
        """Files that are settled one way or the other."""
        return self.sent + sum(self.refused.values()) + self.no_context + self.failed + self.unsent

    @property
    def good(self) -> bool:
        """There were files, and all have arrived."""
        return 0 < self.files == self.sent and not self.interrupted

    @property
    def seconds(self) -> float:
        """Time it took, or takes so far."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    def arrived(self, length: int, status: int) -> None:
        """The node took a file, with success or a warning."""
        self.sent += 1
        self.sent_bytes += length
        if status:
            self.warnings[status] += 1

    def refuse(self, path: str, status: int) -> None:
        """The node refused a file."""
        self.refused[status] += 1
        self._list(path, words.status(status))

    def lack_context(self, path: str) -> None:
        """The node does not take this SOP class in this transfer syntax."""
        self.no_context += 1
        self._list(path, "SOP class or transfer syntax not accepted")

    def fail(self, path: str, reason: str) -> None:
        """A file could not be read, or the association ended with it."""
        self.failed += 1
        self._list(path, reason)

    def _list(self, path: str, reason: str) -> None:
        if len(self.failures) < LISTED:
            self.failures.append((path, reason))

    def as_json(self) -> dict[str, Any]:
        """For scripts; statuses in hexadecimal."""
        return {
            "good": self.good,
            "files": self.files,
            "not_dicom": self.not_dicom,
            "sent": self.sent,
            "bytes": self.sent_bytes,
            "seconds": round(self.seconds, 3),
            "warnings": {f"{status:04X}": count for status, count in sorted(self.warnings.items())},
            "refused": {f"{status:04X}": count for status, count in sorted(self.refused.items())},
            "no_context": self.no_context,
            "failed": self.failed,
            "unsent": self.unsent,
            "interrupted": self.interrupted,
            "trouble": self.trouble,
            "failures": [{"path": path, "reason": reason} for path, reason in self.failures],
        }
