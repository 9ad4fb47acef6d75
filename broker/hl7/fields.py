"""Names the fields of the segments that we write, by their numbers (HL7 2.5.1 chapters 2, 3, 4 and 7).

The values are numbers, so `segment.get(ORC.PLACER, 1)` and `writer.segment("ORC", {ORC.PLACER: …})` both take them.
"""

from __future__ import annotations

from enum import IntEnum


class MSH(IntEnum):
    """Message header (§2.15.9); BHS and FHS have the same fields 3 to 7."""

    SENDING_APPLICATION = 3
    SENDING_FACILITY = 4
    RECEIVING_APPLICATION = 5
    RECEIVING_FACILITY = 6
    TIME = 7
    MESSAGE_TYPE = 9
    CONTROL_ID = 10
    PROCESSING_ID = 11
    VERSION = 12
    ACCEPT_ACKNOWLEDGEMENT = 15
    APPLICATION_ACKNOWLEDGEMENT = 16
    CHARACTER_SET = 18
    CHARACTER_SET_SCHEME = 20


class BHS(IntEnum):
    """Batch header and file header (§2.15.2, §2.15.4), where they differ from MSH."""

    CONTROL_ID = 11
    REFERENCE = 12  # control id of the batch that is answered


class BTS(IntEnum):
    """Batch trailer and file trailer (§2.15.3, §2.15.5)."""

    COUNT = 1
    COMMENT = 2


class MSA(IntEnum):
    """Message acknowledgement (§2.15.8)."""

    CODE = 1
    CONTROL_ID = 2
    TEXT = 3  # not used from 2.5 on


class ERR(IntEnum):
    """Error (§2.15.5)."""

    CODE_AND_LOCATION = 1  # not used from 2.5 on
    LOCATION = 2
    CODE = 3
    SEVERITY = 4
    DIAGNOSTIC = 7
    USER_MESSAGE = 8


class PID(IntEnum):
    """Patient identification (§3.4.2)."""

    SET_ID = 1
    IDENTIFIERS = 3
    NAME = 5
    BIRTH_DATE = 7
    SEX = 8


class PV1(IntEnum):
    """Patient visit (§3.4.3)."""

    SET_ID = 1
    CLASS = 2
    VISIT_NUMBER = 19


class ORC(IntEnum):
    """Common order (§4.5.1)."""

    CONTROL = 1
    PLACER = 2
    FILLER = 3
    STATUS = 5
    PARENT = 8
    TIME = 9
    REASON = 16


class TQ1(IntEnum):
    """Timing (§4.5.4)."""

    SET_ID = 1
    START = 7
    END = 8
    PRIORITY = 9


class OBR(IntEnum):
    """Observation request (§4.5.3); 18 to 20 and 24 as in IHE RAD-4."""

    SET_ID = 1
    PLACER = 2
    FILLER = 3
    SERVICE = 4
    BEGAN = 7
    ENDED = 8
    ACCESSION = 18
    PROCEDURE_ID = 19
    STEP_ID = 20
    MODALITY = 24
    RESULT_STATUS = 25


class OBX(IntEnum):
    """Observation (§7.4.2)."""

    SET_ID = 1
    VALUE_TYPE = 2
    IDENTIFIER = 3
    SUB_ID = 4
    VALUE = 5
    STATUS = 11


class IPC(IntEnum):
    """Imaging procedure control (§4.5.6)."""

    ACCESSION = 1
    PROCEDURE_ID = 2
    STUDY_UID = 3
    STEP_ID = 4
    MODALITY = 5
    PROTOCOL = 6
    STATION_NAME = 7
    LOCATION = 8
    STATION_AE = 9


class ZDS(IntEnum):
    """Study Instance UID (IHE RAD TF-2 4.4.4.1.2.3)."""

    STUDY_UID = 1
