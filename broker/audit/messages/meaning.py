"""Decides which audit message a row of the audit trail becomes: its event, type, action and outcome (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.model.audit import AuditRecord


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value (PS3.16)."""

    value: str
    meaning: str
    scheme: str = "DCM"


APPLICATION_ACTIVITY = Code("110100", "Application Activity")
AUDIT_LOG_USED = Code("110101", "Audit Log Used")
INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
ORDER_RECORD = Code("110109", "Order Record")
PATIENT_RECORD = Code("110110", "Patient Record")
PROCEDURE_RECORD = Code("110111", "Procedure Record")
QUERY = Code("110112", "Query")
SECURITY_ALERT = Code("110113", "Security Alert")
USER_AUTHENTICATION = Code("110114", "User Authentication")

APPLICATION_START = Code("110120", "Application Start")
APPLICATION_STOP = Code("110121", "Application Stop")
LOGIN = Code("110122", "Login")
LOGOUT = Code("110123", "Logout")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
NETWORK_CONFIGURATION = Code("110128", "Network Configuration")
SOFTWARE_CONFIGURATION = Code("110131", "Software Configuration")
USER_ATTRIBUTES_CHANGED = Code("110137", "User security Attributes Changed")


class EventOutcome(StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a row says in the terms of the standard. `action`: C, R, U, D or E."""

    event: Code
    action: str
    kind: Code | None = None  # EventTypeCode
    outcome: EventOutcome = EventOutcome.SUCCESS


_VERBS = {
    "C": ("created", "create", "added", "made", "parked", "invited"),
    "R": ("viewed", "explained", "compared", "tried", "replayed", "exported"),
    "D": ("canceled", "discarded", "purged", "thinned"),
    "E": ("listed", "queried"),
}
_ACTIONS = {verb: action for action, verbs in _VERBS.items() for verb in verbs}
_RECORDS = {
    "order": ORDER_RECORD,
    "tombstone": ORDER_RECORD,
    "import": ORDER_RECORD,
    "patient": PATIENT_RECORD,
    "visit": PATIENT_RECORD,
    "message": PATIENT_RECORD,
    "step": PROCEDURE_RECORD,
    "result": PROCEDURE_RECORD,
    "appointment": PROCEDURE_RECORD,
    "mpps": PROCEDURE_RECORD,
    "job": INSTANCES_ACCESSED,
    "objects": INSTANCES_ACCESSED,
    "study": INSTANCES_ACCESSED,
    "commitment": INSTANCES_ACCESSED,
}
_ALERTS = {
    "node": NETWORK_CONFIGURATION,
    "nodes": NETWORK_CONFIGURATION,
    "rules": SOFTWARE_CONFIGURATION,
    "mapping": SOFTWARE_CONFIGURATION,
    "token": USER_ATTRIBUTES_CHANGED,
    "user": USER_ATTRIBUTES_CHANGED,
}
_WHOLE = {
    "service.started": Meaning(APPLICATION_ACTIVITY, "E", APPLICATION_START),
    "service.stopped": Meaning(APPLICATION_ACTIVITY, "E", APPLICATION_STOP),
    "service.restored": Meaning(SECURITY_ALERT, "E", SOFTWARE_CONFIGURATION),
    "user.signed_in": Meaning(USER_AUTHENTICATION, "E", LOGIN),
    "user.signed_out": Meaning(USER_AUTHENTICATION, "E", LOGOUT),
    "user.sign_in_refused": Meaning(USER_AUTHENTICATION, "E", LOGIN, EventOutcome.SERIOUS_FAILURE),
    "device.refused": Meaning(SECURITY_ALERT, "E", NODE_AUTHENTICATION, EventOutcome.SERIOUS_FAILURE),
    "worklist.queried": Meaning(QUERY, "E"),
    "objects.received": Meaning(INSTANCES_TRANSFERRED, "C"),
    "objects.purged": Meaning(INSTANCES_ACCESSED, "D"),
    "objects.thinned": Meaning(INSTANCES_ACCESSED, "D"),
    "objects.sent": Meaning(INSTANCES_TRANSFERRED, "C"),
}


def known(action: str) -> bool:
    """An action is named by this table, and needs not be told as a change of the program."""
    first = action.partition(".")[0]
    return action in _WHOLE or first in _RECORDS or first in _ALERTS or first == "audit"


def meaning(record: AuditRecord) -> Meaning:
    """What a row says. An action that nobody foresaw is told as a security alert: nothing is left out."""
    first, _, verb = record.action.partition(".")
    outcome = EventOutcome.MINOR_FAILURE if verb == "refused" else EventOutcome.SUCCESS
    if record.action in _WHOLE:
        return _WHOLE[record.action]
    if first == "audit":
        return Meaning(AUDIT_LOG_USED, "R")
    if first in _RECORDS:
        action = _ACTIONS.get(verb, "U")
        return Meaning(QUERY if action == "E" else _RECORDS[first], action, outcome=outcome)
    return Meaning(SECURITY_ALERT, "E", _ALERTS.get(first, SOFTWARE_CONFIGURATION), outcome)
