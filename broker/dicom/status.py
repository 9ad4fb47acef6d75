"""DIMSE status codes by name (PS3.7 Annex C, PS3.4 B.2.3, K.4.1.1.4)."""

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_WARNING = 0xFF01
CANCEL = 0xFE00
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
SOP_CLASS_NOT_SUPPORTED = 0x0122
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
SUB_OPERATIONS_FAILED = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DATASET_MISMATCH = 0xA900
SUB_OPERATIONS_WARNING = 0xB000
CANNOT_UNDERSTAND = 0xC000


def is_pending(status: int) -> bool:
    """More answers to the same request will follow."""
    return status in (PENDING, PENDING_WARNING)


def is_success_or_warning(status: int) -> bool:
    """The peer has taken the object: success, or a warning of class B000 or 0001/0107/0116."""
    return status == SUCCESS or status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116)
