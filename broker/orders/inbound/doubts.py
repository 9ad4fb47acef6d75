"""Collects what is wrong with a message, and says of each text that a mapping reads what did not become of it.

A text that gives no value, or another value than it says, makes a warning at its place. Texts of findings go back to
the sender: they quote what says nothing about a patient, and only the reason of everything else.
"""

from __future__ import annotations

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.orders.mapping.data_types import EXACT

# what must be right for the order to be used; anything else unusable is left out with a warning
STRICT = EXACT | {"IssuerOfPatientID", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"}
_TELLABLE = frozenset(
    {
        "ScheduledProcedureStepID", "RequestedProcedureID", "StudyInstanceUID", "ScheduledStationAETitle",
        "ScheduledStationName", "Modality", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
        "ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime", "RequestedProcedurePriority",
        "RequestedProcedureCodeSequence", "ScheduledProtocolCodeSequence",
    }
)  # fmt: skip
_QUOTED = 32  # characters of a value that are told


class Findings:
    """Collects findings, each once."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}

    def add(self, location: str, code: ErrorCode, text: str, severity: Severity = Severity.ERROR) -> None:
        """Note a finding."""
        self._found.setdefault(Finding(location, code, text, severity))

    def all(self) -> tuple[Finding, ...]:
        """All of them, in the order found."""
        return tuple(self._found)


def quoted(keyword: str, text: str) -> str:
    """A value for the text of a finding, with a space in front; empty for what may say something about a patient."""
    if keyword not in _TELLABLE or not text.strip():
        return ""
    plain = "".join(c if " " <= c <= "~" and c != '"' else "?" for c in text.strip())
    return f' "{plain[:_QUOTED]}{"…" if len(plain) > _QUOTED else ""}"'


class Doubts:
    """Notes doubts about the texts that one reader reads. `told` says whether there was one since `begin`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._unknown: dict[tuple[str, str], Finding] = {}
        self._known: set[tuple[str, str]] = set()
        self.told = False

    def begin(self) -> None:
        """A further source is read."""
        self.told = False

    def note(self, location: str, text: str) -> None:
        """Something gave another value than it says, or none."""
        self.told = True
        self._findings.add(location, ErrorCode.DATA_TYPE, text, Severity.WARNING)

    def unusable(self, location: str, keyword: str, text: str, reason: object) -> None:
        """A value cannot be one of its attribute: the order is refused for it, or it is left out."""
        strict = keyword in STRICT
        what = "cannot be used" if strict else "cannot be used and is left out"
        self.told = True
        severity = Severity.ERROR if strict else Severity.WARNING
        self._findings.add(location, ErrorCode.DATA_TYPE, f"Value{quoted(keyword, text)} {what}: {reason}", severity)

    def unknown(self, location: str, keyword: str, text: str) -> None:
        """A value is not in the table of its attribute; one that another table has, as of PV1-15, is no doubt."""
        self.told = True
        told = f"Value{quoted(keyword, text)} is not in the table of the mapping and is left out"
        finding = Finding(location, ErrorCode.TABLE_VALUE_NOT_FOUND, told, Severity.WARNING)
        self._unknown.setdefault((location, text.upper()), finding)

    def known(self, location: str, text: str) -> None:
        """A value is in the table of an attribute."""
        self._known.add((location, text.upper()))

    def close(self) -> None:
        """All attributes of a section are read: tell of values that no table has."""
        for key, finding in self._unknown.items():
            if key not in self._known:
                self._findings.add(finding.location, ErrorCode.TABLE_VALUE_NOT_FOUND, finding.text, Severity.WARNING)
        self._unknown.clear()
