"""Names the DIMSE statuses and says what a class of them means (PS3.7 annex C; PS3.4 B.2.3, F.7.2, K.4.1.1.4)."""

from dataclasses import dataclass

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_WARNING = 0xFF01
CANCEL = 0xFE00
NOT_ALL_SUPPORTED = 0x0001  # of N-GET: requested optional attributes
NO_SUCH_ATTRIBUTE = 0x0105
INVALID_ATTRIBUTE_VALUE = 0x0106
ATTRIBUTE_LIST_ERROR = 0x0107
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115
VALUE_OUT_OF_RANGE = 0x0116
INVALID_SOP_INSTANCE = 0x0117
CLASS_INSTANCE_CONFLICT = 0x0119
MISSING_ATTRIBUTE = 0x0120
MISSING_ATTRIBUTE_VALUE = 0x0121
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION_TYPE = 0x0123
NOT_AUTHORIZED = 0x0124
DUPLICATE_TRANSACTION_UID = 0x0131  # a failure reason of storage commitment (PS3.3 C.14.1.1)
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700  # the class A7xx, see `is_out_of_resources`
SUB_OPERATIONS_FAILED = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DATASET_MISMATCH = 0xA900  # the class A9xx; of C-FIND: identifier does not match SOP class
COERCION_OF_ELEMENTS = 0xB000  # of C-STORE; the class Bxxx are warnings
SUB_OPERATIONS_WARNING = 0xB000  # of C-MOVE and C-GET
ELEMENTS_DISCARDED = 0xB006
DATASET_MISMATCH_WARNING = 0xB007
CANNOT_UNDERSTAND = 0xC000  # the class Cxxx
UNABLE_TO_PROCESS = 0xC001  # of C-FIND

NO_LONGER_UPDATABLE = 0xA710  # no status but an Error ID (0000,0903) beside 0110 (PS3.4 table F.7.2-2)


@dataclass(frozen=True, slots=True)
class AnsweredStatus:
    """A status that a door answers with, and when. `error_id`: the Error ID (0000,0903) beside it, 0 for none."""

    status: int
    when: str
    error_id: int = 0


def is_pending(status: int) -> bool:
    """More answers to the same request will follow."""
    return status in (PENDING, PENDING_WARNING)


def is_success_or_warning(status: int) -> bool:
    """The peer has taken the object: success, or a warning of class Bxxx or 0001/0107/0116."""
    warnings = (NOT_ALL_SUPPORTED, ATTRIBUTE_LIST_ERROR, VALUE_OUT_OF_RANGE)
    return status == SUCCESS or status & 0xF000 == COERCION_OF_ELEMENTS or status in warnings


def is_store_warning(status: int) -> bool:
    """The peer has taken the object, but not as it was sent: class Bxxx (PS3.4 table B.2-1)."""
    return status & 0xF000 == COERCION_OF_ELEMENTS


def is_failure(status: int) -> bool:
    """The peer has refused or failed: neither success, nor a warning, nor cancelled by who asked."""
    return not (is_success_or_warning(status) or is_pending(status) or status == CANCEL)


def is_out_of_resources(status: int) -> bool:
    """The peer has no room or no means at the moment: class A7xx."""
    return status & 0xFF00 == OUT_OF_RESOURCES
