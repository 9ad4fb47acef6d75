"""Names the codes of HL7 tables that messages are answered with (HL7 2.5.1 appendix A)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class AckCode(StrEnum):
    """MSA-1 (table 0008): A.. of the application, C.. of the accept phase."""

    AA = "AA"  # accepted
    AE = "AE"  # refused for its content
    AR = "AR"  # rejected for its kind, or by trouble of the receiver
    CA = "CA"  # received and stored
    CE = "CE"
    CR = "CR"


class ErrorCode(StrEnum):
    """ERR-3 (table 0357); 200 to 203 are answered AR, the others AE."""

    ACCEPTED = "0"  # for warnings and information
    SEGMENT_SEQUENCE = "100"
    REQUIRED_FIELD_MISSING = "101"
    DATA_TYPE = "102"
    TABLE_VALUE_NOT_FOUND = "103"
    UNSUPPORTED_MESSAGE_TYPE = "200"
    UNSUPPORTED_EVENT = "201"
    UNSUPPORTED_PROCESSING_ID = "202"
    UNSUPPORTED_VERSION = "203"
    UNKNOWN_KEY = "204"
    DUPLICATE_KEY = "205"
    RECORD_LOCKED = "206"
    INTERNAL_ERROR = "207"


ERROR_TEXTS: Mapping[str, str] = {
    ErrorCode.ACCEPTED: "Message accepted",
    ErrorCode.SEGMENT_SEQUENCE: "Segment sequence error",
    ErrorCode.REQUIRED_FIELD_MISSING: "Required field missing",
    ErrorCode.DATA_TYPE: "Data type error",
    ErrorCode.TABLE_VALUE_NOT_FOUND: "Table value not found",
    ErrorCode.UNSUPPORTED_MESSAGE_TYPE: "Unsupported message type",
    ErrorCode.UNSUPPORTED_EVENT: "Unsupported event code",
    ErrorCode.UNSUPPORTED_PROCESSING_ID: "Unsupported processing id",
    ErrorCode.UNSUPPORTED_VERSION: "Unsupported version id",
    ErrorCode.UNKNOWN_KEY: "Unknown key identifier",
    ErrorCode.DUPLICATE_KEY: "Duplicate key identifier",
    ErrorCode.RECORD_LOCKED: "Application record locked",
    ErrorCode.INTERNAL_ERROR: "Application internal error",
}


class Severity(StrEnum):
    """ERR-4 (table 0516)."""

    ERROR = "E"
    WARNING = "W"
    INFORMATION = "I"
